// One point of a search space, as --param NAME=VALUE chooses it.
#pragma once

#include <string>
#include <vector>

#include "engine/space.h"

namespace brood {

// words: "learning_rate=0.001". What has one value only need not be chosen. Throws UserError, with
// the remedy, for a name that is not of the space, a value that the field does not have, a
// parameter that is missing, or has no effect at this point.
ParamSet chosen_point(const SearchSpace& space, const std::vector<std::string>& words);

}  // namespace brood
