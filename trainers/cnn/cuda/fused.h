// The trainer of a device: many trials in one process, fused.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/trainer.h"
#include "trainers/cnn/cuda/fused_engine.h"

namespace brood::cnn::cuda {

using MakeInput = std::function<TrainingInput(const Assignment&)>;

// offer: its device and slots; the rest is filled in. Events, checkpoints and failures are those of
// the CPU's trainer. A trial that finds no room in the device's memory waits in its slot. When the
// device is lost, DeviceLost comes out of advance(): the process must end.
std::unique_ptr<Trainer> make_fused(Offer offer, std::string objective, MakeInput make_input,
                                    std::unique_ptr<Runtime> runtime, FusedOptions options = {});

// One trial that has the device for itself, and trains while it is asked for its next report. It
// too waits for room.
std::unique_ptr<Training> make_lone_training(std::unique_ptr<Runtime> runtime, FusedOptions options,
                                             TrainingInput input, Assignment assignment);

}  // namespace brood::cnn::cuda
