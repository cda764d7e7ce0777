// A made-up trainer for trying a search and for tests: known functions with a learning curve, no
// data, no training, and failures on request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/trainer.h"

namespace brood {

// The block:
//   function     sphere, rastrigin or branin (of the first two parameters); least value is best
//   point        list of coordinates; default: all active parameters (a label becomes a number in
//                [0, 1) made of its letters)
//   epochs, epoch_ms (time an epoch takes, 0), noise (0)
//   parameters, memory_bytes       what a plan shall claim (0)
//   slots        trials that share a worker process (1); the same at all points
//   fail         list of {how, epoch (1), trials, attempts, when}: in that epoch, of those trials
//                (default: all), in the first so many attempts (default: all), when the parameters
//                have these values. how: segfault, abort, exit (status 3), hang, allocate (without
//                end), nan, throw
// Metrics: loss, val_accuracy = 1 / (1 + loss), and the objective when it is neither.
// The setup's slots take turns.
std::unique_ptr<Trainer> make_synthetic(const TrainerSetup& setup);

// What the block says of slots; UserError unless it is a number.
int synthetic_slots(const TrainerSetup& setup);

std::unique_ptr<Planner> make_synthetic_planner(const TrainerSetup& setup);
std::vector<Problem> check_synthetic(const std::string& resolved_json);

}  // namespace brood
