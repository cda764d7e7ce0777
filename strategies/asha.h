// Asynchronous successive halving: at rungs of growing length only the best part of the trials
// trains on.
#pragma once

#include <memory>
#include <vector>

#include "engine/experiment.h"
#include "engine/stopper.h"
#include "strategies/settings.h"

namespace brood {

std::vector<Setting> asha_settings();
std::unique_ptr<Stopper> make_asha(const Settings& settings);

}  // namespace brood
