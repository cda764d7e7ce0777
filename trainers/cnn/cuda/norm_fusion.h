// Which batch norms are computed where their neighbours are, decided from a plan.
#pragma once

#include <vector>

#include "trainers/cnn/cuda/device_memory.h"

namespace brood::cnn::cuda {

// For each step: the pool or the sum that alone reads what it, a batch norm, writes; -1: none.
std::vector<int> pairs_of_norms(const Plan& plan, const Fusion& fusion);

// For each step. paired: what pairs_of_norms() says.
std::vector<NormFusion> fused_norms(const Plan& plan, const std::vector<int>& paired,
                                    Precision precision, const Fusion& fusion);

}  // namespace brood::cnn::cuda
