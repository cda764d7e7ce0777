// Random search: independent uniform draws of the space.
#pragma once

#include <memory>
#include <vector>

#include "engine/experiment.h"
#include "engine/strategy.h"
#include "strategies/settings.h"

namespace brood {

std::vector<Setting> random_settings();
std::unique_ptr<Strategy> make_random(const ExperimentSpec& spec);

// A uniform draw that is not among the earlier points; the last one drawn when `draws_max` in a row
// are.
ParamSet draw_new(const SearchSpace& space, Rng& rng, const PointIndex& earlier, int draws_max);

}  // namespace brood
