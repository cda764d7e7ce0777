// A trial as a config of its own, that trains its point once.
#pragma once

#include <string>

#include "engine/trial.h"
#include "store/layout.h"

namespace brood {

// The experiment's config (JSON text) with its trainer written out for the trial's parameters:
// without references, choices and repeats. Trainers that are given the parameters find them as
// constants of the search space. What makes a search of it is gone: stopper, budget, target,
// initial points, and the memory limit that a run works out for its machine.
std::string config_of(const std::string& experiment_config, const Layout& layout,
                      const Trial& trial);

}  // namespace brood
