// A generational genetic search: tournament selection, crossover, mutation, elitism.
#pragma once

#include <memory>
#include <vector>

#include "engine/experiment.h"
#include "engine/strategy.h"
#include "strategies/settings.h"

namespace brood {

std::vector<Setting> genetic_settings();
std::unique_ptr<Strategy> make_genetic(const ExperimentSpec& spec);

// What only the settings together, or with the space, can get wrong. They have passed the table.
std::vector<Problem> check_genetic(const std::string& json, const SearchSpace& space);

}  // namespace brood
