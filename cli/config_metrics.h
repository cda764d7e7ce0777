// Whether a trainer reports the metric that a config names, and what to do where it does not.
#pragma once

#include <string>
#include <vector>

namespace brood {

// known: what the trainer reports at every point (trainers.h, reported_metrics), and what is known
// before training where that counts. Empty: nothing is wrong.
std::string metric_problem(const std::string& name, const std::vector<std::string>& known);

}  // namespace brood
