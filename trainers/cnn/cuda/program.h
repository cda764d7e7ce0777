// The launches of a training step and of an evaluation's batch, made from a plan.
//
// They never change: what varies lies in device memory, so that a runtime can capture them once and
// replay them for any trials at any steps. No reduction depends on how many trials a launch has:
// a trial's bits are the same alone, with any others, in any slot.
#pragma once

#include <cstdint>
#include <vector>

#include "trainers/cnn/cuda/device_memory.h"
#include "trainers/cnn/cuda/launch.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn::cuda {

// A part of a data set in device memory, shared by all trials.
struct DevicePart {
  const std::uint8_t* pixels = nullptr;    // (all images, height, width, channels)
  const std::uint16_t* labels = nullptr;   // of all images
  const std::uint32_t* samples = nullptr;  // which images belong to the part
  std::int64_t count = 0;                  // of samples
};

struct DeviceData {
  DevicePart train, validation, test;  // train.samples: what a mixup's partner is drawn from
};

struct Program {
  // A step of every trial. Before the first one of an epoch the host has written the epoch's order
  // (dataset.h's shuffled() of the split's training samples) into the trial's half of the order
  // array.
  std::vector<Launch> train;
  // A batch of every trial, with the averaged weights where the class has averages. After the last
  // batch of a part the position is 0 again and the tally stays until the next evaluation begins.
  std::vector<Launch> validate, test;  // empty for a part without samples
};

// Launches have no group yet: bind() each (launch.h).
Program make_program(const Plan& plan, const DeviceMemory& memory, const DeviceData& data);

void bind(std::vector<Launch>& launches, const Group& group, int trials);

}  // namespace brood::cnn::cuda
