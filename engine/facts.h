// The event log's facts: what came from outside and changed the table, by the trial where it took
// effect. A resume reads them from its own record; another run can be made to repeat them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/interventions.h"
#include "engine/store.h"
#include "engine/trial.h"

namespace brood {

// A trial's training was ended by something other than itself and the verdicts: its charged
// attempts were used up, a deadline passed.
struct EarlyEnd {
  int after_epoch = 0;  // the last one that it reported; first_epoch - 1: none
  Cause cause = Cause::none;
  std::string why;
};

// The kinds of events, and the body of each, are listed in docs/database.md. An event is a fact
// when it names a trial and its kind is not one of the notes.
class Facts {
 public:
  // Returns whether it is a fact that was not known. Of two of one kind about one trial the first
  // stands. Throws UserError for a fact of a kind that this program does not know.
  bool add(const EventLogged& event);

  const EarlyEnd* early_end(TrialId trial) const;  // nullptr: none
  // How many trials were taken over from another experiment; nullopt: it was not begun.
  std::optional<std::int64_t> known_trials() const { return known_trials_; }
  // What commands did.
  const Interventions& interventions() const { return interventions_; }
  std::int64_t size() const { return size_; }

  // The run repeats the log of another: only what that log says may end a trial early. The number
  // of facts that the log had.
  std::optional<std::int64_t> replays() const { return replays_; }

 private:
  std::map<TrialId, EarlyEnd> ends_;
  Interventions interventions_;
  std::int64_t size_ = 0;
  std::optional<std::int64_t> replays_;
  std::optional<std::int64_t> known_trials_;
};

EventLogged end_event(TrialId trial, const EarlyEnd& end, std::int64_t at_us);
EventLogged known_trials_event(std::int64_t count, std::int64_t at_us);
EventLogged replay_event(std::int64_t facts, std::int64_t at_us);

}  // namespace brood
