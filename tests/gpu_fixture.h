// Trials of one class in host memory, whose launches run in the emulator.
#pragma once

#include <cstdint>
#include <vector>

#include "trainers/cnn/cuda/program.h"
#include "trainers/cnn/cuda/slot.h"

namespace brood::cnn::cuda {

// Images and labels drawn from a seed; the training part is its first images.
struct MadeUpData {
  MadeUpData(const DataShape& shape, std::uint64_t seed);
  DeviceData view() const;

  DataShape shape;
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint16_t> labels;
  std::vector<std::uint32_t> train, validation, test;  // samples
};

class FusedTrials {
 public:
  // All slots are filled with a pattern that no kernel writes.
  FusedTrials(const NetworkSpec& spec, const MadeUpData& data, int slots,
              Precision precision = Precision::fp32);

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
  const Program program;

 private:
  unsigned char* base(int slot) { return bytes_ + slot * memory.slot_bytes; }

  std::vector<unsigned char> block_;
  unsigned char* bytes_ = nullptr;
};

}  // namespace brood::cnn::cuda
