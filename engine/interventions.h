// What people changed in a run while it went on, in a form in which it can be done again: each
// command with the trial at which it took effect. docs/database.md says the same in words.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/experiment.h"
#include "engine/store.h"

namespace brood {

// `brood cancel N`: the trial ends where it was.
struct Cancellation {
  TrialId trial = 0;
  int judged_epoch = 0;  // verdicts up to this epoch had been given; 0: none
  int epoch = 0;         // the last that other trials may have seen: judged_epoch or the next one
  std::string why;
  friend bool operator==(const Cancellation&, const Cancellation&) = default;
};

// `brood add`: this trial is the user's and not the strategy's.
struct Addition {
  TrialId trial = 0;
  ParamSet params;
  friend bool operator==(const Addition&, const Addition&) = default;
};

// The limits that may change while a run goes on and that decide how far the table reaches.
struct Limits {
  enum class Key : std::uint8_t { max_trials, max_failed_trials, target };
  std::optional<double> max_trials, max_failed_trials, target;

  std::optional<double>& operator[](Key key);
};

// `brood set`, or another value in the config of a resume.
struct LimitChange {
  int number = 0;  // 0, 1, 2, ... in the order of their effect
  // max_trials: holds once so many trials exist. The others: once those below it are settled.
  TrialId from = 0;
  Limits::Key key = Limits::Key::max_trials;
  std::optional<double> before, after;  // nullopt: no limit
  friend bool operator==(const LimitChange&, const LimitChange&) = default;
};

std::string_view to_text(Limits::Key key);
std::optional<Limits::Key> limit_key(std::string_view text);

Limits limits_of(const ExperimentSpec& spec);
// The same of a stored config (canonical JSON); what cannot be read there is no limit.
Limits limits_of(const std::string& config);

using Intervention = std::variant<Cancellation, Addition, LimitChange>;

EventLogged to_event(const Intervention& made, std::int64_t at_us);
// nullopt: an event of another kind. Throws UserError for one that to_event() cannot have made.
std::optional<Intervention> to_intervention(const EventLogged& event);

// All of one run: of its own log, of the log that it repeats, and those that come meanwhile.
class Interventions {
 public:
  // Returns whether it is new: there is one a trial, and one change of limits a number.
  bool add(Intervention made);

  // nullptr: there is none for this trial.
  const Cancellation* cancellation(TrialId trial) const;
  const Addition* addition(TrialId trial) const;
  const std::vector<LimitChange>& changes() const { return changes_; }  // by number

 private:
  std::map<TrialId, Cancellation> cancellations_;
  std::map<TrialId, Addition> additions_;
  std::vector<LimitChange> changes_;
};

}  // namespace brood
