// What people see of a run while it goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/experiment.h"
#include "engine/trial.h"

namespace brood {

struct RunningTrial {
  TrialId trial = 0;
  int attempt = 1;
  int epoch = 0;  // last reported
  int last_epoch = 0;
  std::string executor;
};

constexpr std::size_t kRunningListed = 16;  // of ten thousand nobody reads the rest

struct Progress {
  std::int64_t proposed = 0;             // rows so far, duplicates included
  std::optional<std::int64_t> expected;  // trials of the whole search, when that is known
  std::int64_t completed = 0, stopped = 0, failed = 0, infeasible = 0, duplicates = 0,
               cancelled = 0, known = 0;
  std::int64_t retried = 0;         // attempts that were lost or charged, in this session
  std::int64_t epochs = 0;          // reported in this session
  std::int64_t epochs_dropped = 0;  // trained past a verdict to stop: the price of not waiting
  std::optional<TrialId> best;
  std::optional<double> best_objective;
  int executors = 0, busy = 0;
  double busy_share = 0.0;          // of the executors' time in this session, 0 .. 1
  Millis elapsed{0};                // in this session
  std::optional<Millis> remaining;  // estimated
  std::int64_t running_count = 0;
  std::vector<RunningTrial> running;  // the first kRunningListed of them, by trial
  std::string trouble;                // why nothing moves; empty: all is well
};

// Called from the controller's thread; must be quick and must not throw.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void progress(const Progress&) {}              // a few times a second
  virtual void trial_ended(const Trial&) {}              // in id order, once a trial
  virtual void note(const std::string& /*sentence*/) {}  // a retry, a lost host, a full disk
};

}  // namespace brood
