// The trials that an experiment takes over from another (`warm_start` in the config).
#pragma once

#include <vector>

#include "engine/experiment.h"

namespace brood {

// In the order of their numbers there; each with its parameters as this space has them, its epochs,
// its objective and the metrics of the last epoch that counts. Throws UserError when the other
// experiment has another objective or a point outside the space, and says what to do.
std::vector<Trial> known_trials(const ExperimentSpec& spec);

// Those that a run of this experiment took over already, from its database.
std::vector<Trial> known_trials_of(const std::string& database, const std::string& experiment);

}  // namespace brood
