// How busy the executors of a run will be, and how many epochs they train before a verdict on the
// epochs before is known: the run played through with made-up scores.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/stopper.h"
#include "engine/strategy.h"

namespace brood {

struct TrialCost {
  int epochs = 1;
  double epoch_cost = 1.0;  // any unit; only ratios matter but for the duration
};

struct Schedule {
  double duration = 0.0;     // in the unit of the costs
  double busy = 0.0;         // share of the executors' time, 0 to 1
  std::int64_t epochs = 0;   // trained
  std::int64_t blind = 0;    // of those, begun while an earlier verdict on the trial was open
  std::int64_t dropped = 0;  // of those, thrown away because that verdict was stop
  std::int64_t stopped = 0;  // trials
};

// Trial k costs costs[k % costs.size()]. The stopper may be null. The scores are those of trials
// that differ in quality and improve alike, with some noise: real ones will be stopped more or
// less.
Schedule simulate_schedule(const Strategy& strategy, const Stopper* stopper, int verdict_lag,
                           const std::vector<TrialCost>& costs, std::int64_t trials, int executors);

}  // namespace brood
