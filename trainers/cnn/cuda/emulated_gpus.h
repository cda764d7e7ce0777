// GPUs that are not there: what BROOD_EMULATED_GPUS asks for, so that tests of the whole program,
// with its processes, train on the emulated runtime. Its numbers are a class of their own, and
// whoever uses it is told.
#pragma once

#include <string>
#include <vector>

#include "engine/device.h"
#include "trainers/cnn/cuda/runtime.h"

namespace brood::cnn::cuda {

// The environment variable. Its value is a JSON object; all keys but the first have defaults:
//   gpus           how many
//   architectures  of each, instead of "emulated"
//   bytes          of each (256 MiB)
//   sizes          a list of the bytes of each, instead of them
//   visible        a list of their numbers: all that this process sees, under new names
//   fault          illegal_address, hang or no_memory (none)
//   launch         the fault happens at this launch of a process ...
//   learning_rate  ... or when a trial with this learning rate ...
//   step           ... has done so many training batches (0)
//   held           bytes that other processes have of it
//   held_while     a file: they have them as long as it is there (always)
//   device         fault and held are of the GPU with this number alone
//   once           a file that the fault makes: where it is, nothing happens
constexpr const char* kEmulatedGpus = "BROOD_EMULATED_GPUS";

// Empty: the variable is not set. Throws UserError for a value that it cannot have.
std::vector<EmulatedDevice> emulated_gpus();

// As find_devices() describes real ones.
std::vector<Device> describe(const std::vector<EmulatedDevice>& gpus);

}  // namespace brood::cnn::cuda
