// The experiment of the benches of the engine: four parameters, an empty objective.
#pragma once

#include <cstdint>
#include <string>

#include "engine/experiment.h"
#include "engine/trainer.h"

namespace brood {

// search: random, genetic, grid, asha (random search with that stopper) or median. Its trials train
// `epochs` epochs. Floats, but for the grid: whole numbers from 1 to 32.
ExperimentSpec empty_search(const std::string& search, std::int64_t trials,
                            const std::string& database);

class EmptyPlanner final : public Planner {
 public:
  explicit EmptyPlanner(int epochs, std::uint64_t bytes = 0) : epochs_(epochs), bytes_(bytes) {}
  Estimate estimate(const ParamSet&) const override {
    Estimate out;
    out.epochs = epochs_;
    out.bytes = bytes_;
    return out;
  }

 private:
  int epochs_;
  std::uint64_t bytes_;
};

}  // namespace brood
