// A network on one CPU core: executes a plan, forward, backward and the optimizer's update.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/rng.h"
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

// What the samples of a batch are mixed with: `share` is that of the label given first.
struct Mixing {
  std::span<const std::uint16_t> labels;
  std::span<const double> shares;
};

// Of an array, drawn from its part of the trial's stream: part i for the i-th of the arrays that a
// network trains or keeps as statistics.
std::vector<float> starting_values(const Parameter& parameter, Rng rng);

// Allocates everything when made and nothing later. One thread.
class Network {
 public:
  Network(Plan plan, const OptimizerSpec& optimizer, const Kernels& kernels,
          double label_smoothing = 0.0);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // Starting weights, drawn by (seed, parameter, element).
  void initialise(std::uint64_t seed);

  // Puts an image (height, width, channels; 0..255) into place `sample` of the batch, scaled to
  // (x / 255 - 0.5) / 0.5.
  void set_image(int sample, const std::uint8_t* pixels);
  void set_mixed_image(int sample, const std::uint8_t* pixels, const std::uint8_t* other,
                       double share);

  // Forward and backward; leaves the gradients of the mean loss for update(). The loss is that of
  // the smoothed and mixed targets; a sample counts as correct by its own label.
  BatchResult train(std::span<const std::uint16_t> labels, std::uint64_t dropout_key,
                    std::uint64_t batch_index, const Mixing* mixing = nullptr);
  // Plain cross-entropy.
  BatchResult evaluate(std::span<const std::uint16_t> labels);
  // Of the last batch: 1 where the class was right.
  const std::vector<std::uint8_t>& hits() const { return hits_; }

  // One step of the optimizer; update_index counts from 1.
  void update(double learning_rate, std::int64_t update_index);

  // Puts the averaged weights and statistics in the place of the trained ones for evaluations, or
  // back. Without an average nothing happens.
  void use_average(bool wanted);

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

  // Of a step: the input whose gradient goes into the spare place and is added to `sum` after.
  struct Spare {
    int input = -1;
    View spare, sum;
  };

  void bind();
  Binding binding(std::size_t step);
  void find_later_readers();
  void backward(const Pass& pass);
  std::vector<Slot> slots() const;
  float* block(std::int64_t offset) const { return floats_.get() + offset; }
  void step(double learning_rate, std::int64_t update_index);
  void clip_gradients();
  void follow_average(std::int64_t update_index);
  // What the outputs of a sample should be; label: of the sample.
  void aim(std::size_t sample, std::size_t label, bool train, const Mixing* mixing);
  BatchResult loss(std::span<const std::uint16_t> labels, bool train, const Mixing* mixing);
  void forward(const Pass& pass);
  void clear_halos(int step, int batch);

  Plan plan_;
  OptimizerSpec optimizer_;
  const Kernels& kernels_;
  const LightKernels& light_;
  Memory memory_;
  std::unique_ptr<float[], Free> floats_;
  std::unique_ptr<std::uint8_t[], Free> bytes_;
  std::vector<std::unique_ptr<Layer>> layers_;  // nullptr: the layer before computes it too
  std::vector<Spare> spares_;                   // of each layer
  std::vector<bool> overwritten_;  // parameters whose gradient is written, not added to
  View image_, logits_, logits_gradient_;
  float scale_[256];  // of a pixel's value
  const double label_smoothing_;
  std::vector<double> exponent_, target_;  // of one sample's classes
  std::vector<std::uint8_t> hits_;         // of the batch's samples
  bool averaged_ = false;                  // the average lies where the trained weights belong
};

}  // namespace brood::cnn
