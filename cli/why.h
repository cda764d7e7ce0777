// Why a trial, or an experiment, is where it is: sentences for people.
#pragma once

#include <string>
#include <vector>

#include "cli/asked.h"

namespace brood {

std::vector<std::string> why_trial(Asked& asked, const Trial& trial);
std::vector<std::string> why_experiment(Asked& asked);

}  // namespace brood
