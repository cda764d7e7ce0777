// GPUs for the cnn trainer: which it can use, what a trial takes of one, the trainer itself.
#pragma once

#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/trainer.h"
#include "trainers/cnn/cuda/fused.h"
#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"
#include "trainers/cnn/training.h"
#include "trainers/data/dataset.h"

namespace brood::cnn {

// Those of this machine that this build can train on, and why there are none. Emulated ones where
// the environment asks for them (cuda/emulated_gpus.h).
Devices usable_gpus();

// What people must know of them: that they are emulated. Empty: nothing.
std::string gpu_warning();

// The classes in which these GPUs compute, best first.
std::vector<std::string> gpu_numeric_classes(const std::vector<Device>& gpus);

// That of a trainer block, on GPUs.
cuda::Precision gpu_precision(const NetworkSpec& spec);
// "/bf16/" or "/fp32/": what the numeric classes of such a block contain; by its text, as it has to
// be the same at all points.
std::string gpu_precision_part(const std::string& block);

// Is this worker, or plan, one for a GPU?
bool wants_gpu(const TrainerSetup& setup);

// Fills in what a trial takes of a GPU, and whether it can run there.
void estimate_on_gpu(const NetworkSpec& spec, const data::Contents& data, const Plan& plan,
                     Estimate& out);

// Of the GPU that the setup names, or of the first that computes in its numeric class. Throws
// UserError, with the reason, when it cannot be had.
std::unique_ptr<Trainer> make_on_gpu(const TrainerSetup& setup, cuda::MakeInput make_input);

// One trial's training alone on that GPU, to the bits that it has in a run.
std::unique_ptr<Training> make_training_on_gpu(const TrainerSetup& setup, TrainingInput input,
                                               const Assignment& assignment);

}  // namespace brood::cnn
