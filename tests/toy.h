// A trainer for simulations: a made-up learning curve, a pure function of (parameters, seed,
// epoch), with epochs of different length, checkpoints in real files, and failures where the point
// says so.
#pragma once

#include <memory>

#include "engine/trainer.h"

namespace brood {

struct ToyCrash {};  // thrown out of advance(): the simulated process dies of SIGSEGV

struct ToyOptions {
  double nan_share = 0.0;         // of the points: NaN at epoch 3
  double crash_share = 0.0;       // of the points: the process crashes at epoch 2, each time
  double throw_share = 0.0;       // of the points: an exception at epoch 2
  int steps_max = 4;              // turns that an epoch takes, at most
  bool nondeterministic = false;  // every attempt gives other metrics
};

// Reports "score" (greater is better; its value depends on all epochs before, so a wrong resume
// shows), "size" (1 to 4, of the point alone) and "seconds" (measured). A checkpoint is written
// in one turn and named in the next, so that a process can die between.
std::unique_ptr<Trainer> make_toy(ToyOptions options = {});

// Trains `epochs` epochs each; parameters: 1,000 times the size; bytes: 100 MiB where x is above
// 0.3, else 1 MiB.
std::unique_ptr<Planner> make_toy_planner(int epochs);

}  // namespace brood
