// The GPUs of this machine, and what a program must be told to see one of them alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace brood {

struct Device {
  std::string name;  // "cuda:0", counted among those that CUDA_VISIBLE_DEVICES leaves
  std::string model;
  std::string architecture;  // "sm_90"
  std::uint64_t bytes = 0;
  std::string uuid;  // tells whether two processes of a host mean the same one; empty: unknown
  std::uint64_t used = 0;  // bytes, by whoever, when it was looked at
};

// Are these GPUs, by name or {"auto"}? Not when empty, or the CPU.
inline bool are_gpus(const std::vector<std::string>& devices) {
  return !devices.empty() && devices.front() != "cpu";
}

// Which GPU it is, whatever a process calls it.
inline const std::string& identity_of(const Device& device) {
  return device.uuid.empty() ? device.name : device.uuid;
}

// What trials may have of a GPU with so many bytes, when nobody else uses it. Plans go by this, and
// a worker takes it: a tenth is left, and of a GPU of more than 2 GiB at least 1 GiB.
std::uint64_t memory_for_trials(std::uint64_t bytes);

struct Devices {
  std::vector<Device> found;
  std::string driver;    // its version; empty: there is none
  std::string why_none;  // one sentence; empty when some were found
};

// Asks NVIDIA's management library, which comes with the driver: no CUDA toolkit is needed, and
// nothing on a machine without a driver. Takes some 10 ms where there is one.
Devices find_devices(const std::string& library = "libnvidia-ml.so.1");

// "sm_90" of the numeric class "cuda/sm_90/bf16/2"; empty for one of CPUs.
std::string architecture_of(const std::string& numeric_class);

// "cuda:3" is 3; -1 for every other text.
int cuda_number(const std::string& device);

// The value of CUDA_VISIBLE_DEVICES with which a program sees this device alone: "cuda:1" is the
// second of those in `visible`, which is what the variable says now (nullptr: it is not set).
// Empty, which hides all: for "cpu" and for a number beyond the list.
std::string visible_alone(const std::string& device, const char* visible);

// What a machine with those devices lacks of what is wanted, in words; empty: nothing.
std::string missing_devices(const std::vector<std::string>& wanted,
                            const std::vector<Device>& found);

}  // namespace brood
