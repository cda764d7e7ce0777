// A network on one CPU core: executes a plan, forward, backward and the optimizer's update.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainers/cnn/kernels.h"
#include "trainers/cnn/layers.h"
#include "trainers/cnn/memory.h"
#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn {

// Over the samples of a batch.
struct BatchResult {
  double loss = 0.0;  // sum of the cross-entropies
  std::int64_t correct = 0;
};

// An array of a network in its logical order, as checkpoints hold it.
struct NamedArray {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

// Allocates everything when made and nothing later. One thread.
class Network {
 public:
  Network(Plan plan, const OptimizerSpec& optimizer, const Kernels& kernels);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // Starting weights, drawn by (seed, parameter, element).
  void initialise(std::uint64_t seed);

  // Puts an image (height, width, channels; 0..255) into place `sample` of the batch, scaled to
  // (x / 255 - 0.5) / 0.5.
  void set_image(int sample, const std::uint8_t* pixels);

  // Forward and backward; leaves the gradients of the mean loss for update().
  BatchResult train(std::span<const std::uint16_t> labels, std::uint64_t dropout_key,
                    std::uint64_t batch_index);
  BatchResult evaluate(std::span<const std::uint16_t> labels);

  // One step of the optimizer; update_index counts from 1.
  void update(double learning_rate, std::int64_t update_index);

  // All parameters, the optimizer's moments and the running statistics.
  std::vector<NamedArray> arrays() const;
  // Throws UserError when the arrays are not those of this network.
  void restore(const std::vector<NamedArray>& arrays);

  const Plan& plan() const { return plan_; }
  const Memory& memory() const { return memory_; }

  // For tests: a parameter's values or its gradient in logical order, and the logits.
  std::vector<float> parameter(int index) const;
  std::vector<float> gradient(int index) const;
  void set_parameter(int index, const std::vector<float>& values);
  std::vector<float> logits(int sample) const;

 private:
  struct Free {
    void operator()(void* block) const;
  };
  // One array as it lies in memory.
  struct Slot {
    const Parameter* parameter;
    std::string prefix;
    float* data;
  };

  void bind();
  std::vector<Slot> slots() const;
  float* block(std::int64_t offset) const { return floats_.get() + offset; }
  BatchResult loss(std::span<const std::uint16_t> labels, bool gradients);
  void forward(const Pass& pass);
  void clear_halos(int step, int batch);

  Plan plan_;
  OptimizerSpec optimizer_;
  const Kernels& kernels_;
  Memory memory_;
  std::unique_ptr<float[], Free> floats_;
  std::unique_ptr<std::uint8_t[], Free> bytes_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<bool> overwritten_;  // parameters whose gradient is written, not added to
  View image_, logits_, logits_gradient_;
  float scale_[256];              // of a pixel's value
  std::vector<double> exponent_;  // of one sample's classes
};

}  // namespace brood::cnn
