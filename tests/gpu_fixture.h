// Trials of one class, whose launches run in the emulator; or, in a build with CUDA and with
// BROOD_TEST_DEVICE=cuda in the environment, on the first GPU.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "trainers/cnn/cuda/program.h"
#include "trainers/cnn/cuda/slot.h"

namespace brood::cnn::cuda {

// Images and labels drawn from a seed; the training part is its first images.
struct MadeUpData {
  MadeUpData(const DataShape& shape, std::uint64_t seed);

  DataShape shape;
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint16_t> labels;
  std::vector<std::uint32_t> train, validation, test;  // samples
};

// Memory as the host sees it and as launches do, aligned to 256: the same where they run on the
// host.
struct Mirror {
  std::shared_ptr<unsigned char> host, device;
  std::size_t bytes = 0;
};

// Where launches run.
class Machine {
 public:
  virtual ~Machine() = default;
  virtual Mirror allocate(std::size_t bytes) = 0;
  virtual void push(const Mirror&) {}  // from the host to the device
  virtual void pull(const Mirror&) {}
  // All of them, to the end.
  virtual void run(const std::vector<Launch>& launches, emulator::Order order) = 0;
};

Machine& machine();

class FusedTrials {
 public:
  // All slots are filled with a pattern that no kernel writes. fusion: as make_device_memory has
  // it.
  FusedTrials(const NetworkSpec& spec, const MadeUpData& data, int slots,
              Precision precision = Precision::fp32, const Fusion& fusion = {});

  // A trial at step 0, with starting weights by its seed as Network::initialise draws them.
  void admit(int slot, const NetworkSpec& spec, std::uint64_t seed);
  // The order of an epoch: the samples of the training part as they lie, or shuffled.
  void write_order(int slot, std::int64_t epoch, bool shuffle);

  void run(std::vector<Launch> launches, const std::vector<std::int32_t>& active,
           emulator::Order order = emulator::Order::forward);
  void train(const std::vector<std::int32_t>& active,
             emulator::Order order = emulator::Order::forward) {
    run(program.train, active, order);
  }

  SlotState& state(int slot) { return *reinterpret_cast<SlotState*>(base(slot)); }
  float* floats(int slot, std::int64_t offset) {
    return reinterpret_cast<float*>(base(slot) + offset);
  }
  std::vector<float> parameter(int slot, std::size_t index);
  std::vector<float> gradient(int slot, std::size_t index);
  void set_parameter(int slot, std::size_t index, const std::vector<double>& values);
  // The bytes of a slot that outlive a step: progress, weights, moments, statistics.
  std::vector<unsigned char> kept(int slot);
  bool untouched(int slot);

  const MadeUpData& data;
  const Plan plan;
  const DeviceMemory memory;

 private:
  unsigned char* base(int slot) { return bytes_.host.get() + slot * memory.slot_bytes; }
  DeviceData shared_data();
  // A copy that launches see.
  template <class T>
  const T* shared(const std::vector<T>& values);

  std::vector<Mirror> arrays_;
  Mirror bytes_, active_;

 public:
  const Program program;
};

}  // namespace brood::cnn::cuda
