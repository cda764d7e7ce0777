// Which batch norms and residuals are computed where their neighbours are, decided from a plan.
#pragma once

#include <vector>

#include "trainers/cnn/cuda/device_memory.h"

namespace brood::cnn::cuda {

// For each step: the pool or the sum that alone reads what it, a batch norm, writes; -1: none.
std::vector<int> pairs_of_norms(const Plan& plan, const Fusion& fusion);

// For each step. paired: what pairs_of_norms() says.
std::vector<NormFusion> fused_norms(const Plan& plan, const std::vector<int>& paired,
                                    Precision precision, const Fusion& fusion);

// Whether a sum's gradient is stored with nothing where the sum's ReLU has nothing: by the product
// that is the last to add to it, for the sake of a norm that is one with the sum.
bool is_masked(const Plan& plan, const DeviceMemory& memory, const Step& sum);

// For each step, as DeviceMemory has it; by its other members about norms.
std::vector<int> skips_of_sums(const Plan& plan, const DeviceMemory& memory, Precision precision,
                               const Fusion& fusion);

}  // namespace brood::cnn::cuda
