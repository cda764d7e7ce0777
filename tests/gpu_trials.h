// Small trials of three shapes, trained together on a device.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "trainers/cnn/cuda/fused_engine.h"
#include "trainers/cnn/cuda/runtime.h"

namespace brood::cnn::cuda {

constexpr int kSmallEpochs = 2;

// The shape goes by the number of the trial, modulo 3.
TrainingInput small_input(int trial);

using Reports = std::map<int, std::vector<Metric>>;  // exact metrics by trial

// To their ends, each admitted as soon as it is taken.
Reports train_small(const std::vector<int>& wanted, FusedOptions options,
                    std::unique_ptr<Runtime> runtime);

}  // namespace brood::cnn::cuda
