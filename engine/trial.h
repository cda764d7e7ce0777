// A trial: one point, trained for some epochs, and what came of it.
//
//   waiting --> running --> completed   reached its last epoch
//      |           |------> stopped     the stopper gave up on it
//      |           |------> failed      the trainer said so, or its charged attempts are used up
//      |           '------> waiting     its worker or host was lost; it runs again
//      |------------------> infeasible  breaks a constraint or the memory limit
//      |------------------> duplicate   equal to an earlier trial; served from the record
//      |------------------> cancelled   by `brood cancel`, also while it runs
//      |------------------> known       not trained here: taken over from another experiment
//      '------------------> surplus     the target was met by a smaller id
//
// A trial that has ended never changes. A promotion, or a population-based copy, is a new trial
// with a parent; so the whole history is a forest of immutable rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/params.h"

namespace brood {

using TrialId = std::int64_t;  // 0, 1, 2, ... in the order of proposal

enum class TrialState : std::uint8_t {
  waiting,
  running,
  completed,
  stopped,
  failed,
  infeasible,
  duplicate,
  surplus,
  cancelled,
  known
};
std::string_view to_text(TrialState state);
TrialState trial_state(std::string_view text);  // throws UserError for an unknown word
inline bool ended(TrialState s) { return s != TrialState::waiting && s != TrialState::running; }

// initial: of the config; user: by `brood add`; warm: known from another experiment, not trained.
enum class Origin : std::uint8_t { strategy, initial, user, warm };
std::string_view to_text(Origin origin);
Origin origin(std::string_view text);

// Why a trial ended other than by completing. Stored as text.
enum class Cause : std::uint8_t {
  none,
  stopper,      // a verdict
  trainer,      // the trainer reported it: an exception, a bad config of this point
  nan,          // the objective became NaN
  exit_status,  // the user's program ended with a non-zero status
  signal,       // killed by its own signal
  memory,       // over its memory limit
  deadline,     // max_trial_time
  silence,      // no report within report_timeout
  protocol,     // a broken line
  constraint,   // a constraint of the config
  lost,         // worker, host or lease lost: never charged
  checkpoint,   // the checkpoint to resume from cannot be read: dropped, the trial starts over
  command,      // a command of the user
};
std::string_view to_text(Cause cause);
Cause cause(std::string_view text);

// What a strategy asks for.
struct Proposal {
  ParamSet params;
  std::optional<int> epochs;      // train up to and including it; nullopt: what the config says
  std::optional<TrialId> parent;  // start from that completed trial's checkpoint
};

struct Metric {
  std::string name;
  double value = 0.0;
  bool exact = true;  // part of the identity of a run; else measured (seconds, bytes)
  friend bool operator==(const Metric&, const Metric&) = default;
};

// What a trainer says after an epoch.
struct Report {
  int epoch = 0;  // 1, 2, 3, ...
  std::vector<Metric> metrics;

  // nullptr when there is none of that name.
  const Metric* find(std::string_view name) const;
  friend bool operator==(const Report&, const Report&) = default;
};

struct Trial {
  TrialId id = 0;
  TrialState state = TrialState::waiting;
  Origin origin = Origin::strategy;
  ParamSet params;
  std::optional<TrialId> parent;
  std::optional<TrialId> same_as;  // duplicate: the earlier trial
  std::vector<TrialId> lineage;    // whose genes it carries (genetic: one or two), for people
  std::uint64_t seed = 0;          // given to the trainer; does not contain the attempt
  int first_epoch = 1;
  int last_epoch = 1;
  int judged_epoch = 0;             // reports up to here are official; later ones are speculative
  std::vector<Report> reports;      // ascending, from first_epoch; may be dropped once it ended
  std::optional<double> objective;  // reduced over the official reports; absent without one or NaN
  std::optional<int> best_epoch;    // where the reduced value was reached
  Cause cause = Cause::none;
  std::string why;  // one sentence for people; empty when completed
};

}  // namespace brood
