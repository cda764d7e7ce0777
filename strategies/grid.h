// Grid search: every point of a finite space exactly once.
#pragma once

#include <memory>
#include <vector>

#include "engine/experiment.h"
#include "engine/strategy.h"
#include "strategies/settings.h"

namespace brood {

std::vector<Setting> grid_settings();
std::unique_ptr<Strategy> make_grid(const ExperimentSpec& spec);

}  // namespace brood
