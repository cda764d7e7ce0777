// A trial as a config of its own, that trains its point once.
#pragma once

#include <string>

#include "engine/trial.h"
#include "store/layout.h"

namespace brood {

// The experiment's config (JSON text) with the trial's parameters as constants of its search space.
// What the trainer says of parameters that were inactive is removed with them; so is all that makes
// a search of it: stopper, budget, target, initial points.
std::string config_of(const std::string& experiment_config, const Layout& layout,
                      const Trial& trial);

}  // namespace brood
