// Where the trials of a run are trained: how many workers, on what, with how many trials each.
#pragma once

#include <optional>
#include <string>

#include "engine/experiment.h"
#include "engine/trainer.h"

namespace brood {

struct Places {
  int executors = 1;  // trials at a time, on one node
  int workers = 1;    // of a node, or of a device where devices are named
  int slots = 1;      // trials in each worker
  std::string from;   // what decided, in words
};

// asked: --executors. otherwise, and what that is called: where neither it nor the config says.
// Throws UserError when --executors has no effect.
Places places_of(const ExperimentSpec& spec, const TrainerSetup& setup, std::optional<int> asked,
                 int otherwise, const std::string& called);

// Does the config name GPUs?
bool names_gpus(const ExperimentSpec& spec);

// Throws UserError, with the reason, unless this machine has the GPUs that the config names.
void require_devices(const ExperimentSpec& spec);

}  // namespace brood
