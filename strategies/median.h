// Median stopping: give up on a trial that is worse than the others were on average.
#pragma once

#include <memory>
#include <vector>

#include "engine/experiment.h"
#include "engine/stopper.h"
#include "strategies/settings.h"

namespace brood {

std::vector<Setting> median_settings();
std::unique_ptr<Stopper> make_median(const Settings& settings);

}  // namespace brood
