// A trainer for simulations: a made-up learning curve, a pure function of (parameters, seed,
// epoch), with epochs of different length and failures where the point says so.
#pragma once

#include <memory>

#include "engine/trainer.h"

namespace brood {

struct ToyCrash {};  // thrown out of advance(): the simulated process dies of SIGSEGV

struct ToyOptions {
  double nan_share = 0.0;    // of the points: NaN at epoch 3
  double crash_share = 0.0;  // of the points: the process crashes at epoch 2, each time
  double throw_share = 0.0;  // of the points: an exception at epoch 2
  int steps_max = 4;         // turns that an epoch takes, at most
};

std::unique_ptr<Trainer> make_toy(ToyOptions options = {});

// Trains `epochs` epochs each.
std::unique_ptr<Planner> make_toy_planner(int epochs);

// The curve itself: "score" after this epoch, greater is better.
double toy_score(const ParamSet& params, std::uint64_t seed, int epoch);

}  // namespace brood
