// Makes the launches of one list, of training steps or of evaluations, step by step of a plan.
// program.cpp begins and ends the lists, program_forward.cpp and program_backward.cpp know the
// steps, program_arguments.cpp what their kernels are told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/launch_list.h"
#include "trainers/cnn/cuda/program.h"
#include "trainers/cnn/cuda/tensor_launch.h"

namespace brood::cnn::cuda {

class ProgramBuilder : private LaunchList {
 public:
  // What they refer to must outlive the builder.
  ProgramBuilder(const Plan& plan, const DeviceMemory& memory, const DeviceData& data, bool train);

  // One of both, once.
  std::vector<Launch> training();
  std::vector<Launch> evaluation(const DevicePart& part, int index);

 private:
  static std::size_t z(std::int64_t value) { return static_cast<std::size_t>(value); }

  // --- places ---

  const Tensor& value(int tensor) const { return memory_.values[z(tensor)]; }
  const Tensor& slope(int tensor) const { return memory_.slopes[z(tensor)]; }
  const Tensor& input(const Step& step) const { return value(step.inputs.front()); }
  const Tensor& output(const Step& step) const { return value(step.output); }
  std::int64_t weight(int parameter) const {
    return parameter < 0 ? -1 : weights_ + 4 * memory_.parameter[z(parameter)];
  }
  std::int64_t gradient(int parameter) const {
    return memory_.gradients + 4 * memory_.parameter[z(parameter)];
  }
  std::size_t index(const Step& step) const {
    return static_cast<std::size_t>(&step - plan_.steps.data());
  }
  std::int64_t saved(const Step& step) const { return memory_.saved[index(step)]; }
  bool wanted(int tensor) const { return needs_gradient_[z(tensor)]; }
  bool is_me(int step, const Step& me) const { return step == static_cast<int>(index(me)); }
  bool tensor(const Step& step) const { return uses_tensor_cores(step, memory_.precision); }
  // Whether a gradient is added to what another reader of the tensor has left.
  bool accumulate(int tensor) {
    const bool before = written_[z(tensor)];
    written_[z(tensor)] = true;
    return before;
  }

  // --- the frame: program.cpp ---

  std::int64_t tallies(int part) const;
  void gather(KernelId kernel, const DevicePart& part, int index);
  void loss(int part, std::int64_t samples);
  void update();
  // The weights of this batch as they are read there.
  void pack();
  void sum_gradients();

  // --- what kernels are told: program_arguments.cpp ---

  ProductArguments product_of(const Step& step, const Tensor& x, const Tensor& y) const;
  PoolArguments pool_of(const Step& step, const Tensor& x, const Tensor& y) const;
  ElementArguments element_of(const Step& step) const;
  // The batch norm whose values a step makes where it reads; nullptr: it reads what is stored.
  const Step* norm_read_by(const Step& step) const;
  const Tensor& read_by(const Step& step) const;
  NormRead read_of(const Step& step) const;
  NormArguments norm_arguments(const Step& step) const;
  // The pool or the sum that a batch norm is one with.
  const Step* pair_of(const Step& norm) const;
  // Whether a pool or a sum is one with a batch norm.
  bool is_paired(const Step& step) const;
  NormPoolArguments with_pool(const NormArguments& norm, const Step& pool,
                              std::int64_t selected) const;
  NormAddArguments with_sum(const NormArguments& norm, const Step& sum, bool backward) const;
  ColumnSumArguments slope_sums(const Step& norm) const;

  // --- steps, forward: program_forward.cpp ---

  template <class Arguments>
  void add_tensor(const TensorLaunch& launch, const Arguments& arguments) {
    add(launch.kernel, launch.x, launch.y, launch.threads, launch.shared_bytes, arguments);
  }
  void tensor_product(const Step& step, const TensorArguments& product, bool gradient);
  void norm_channels(KernelId kernel, const NormArguments& a);
  void forward(const Step& step);
  void tensor_forward(const Step& step);
  void norm_forward(const Step& step);
  void element_forward(const Step& step);
  void concat_forward(const Step& step);

  // --- steps, backward: program_backward.cpp ---

  void backward(const Step& step);
  // What a ReLU lets through, and the bias's gradient; there is no ReLU without a bias.
  void bias_backward(const Step& step);
  // Later: the sum of what a kernel leaves in chunks.
  void sum_weight(const Step& step, const ProductArguments& a);
  void product_backward(const Step& step);
  void tensor_weight_gradient(const Step& step, const ProductArguments& product, int parts);
  void tensor_input_gradient(const Step& step);
  void depthwise_backward(const Step& step);
  void norm_backward(const Step& step);
  void element_backward(const Step& step);
  void gate_backward(const Step& step);
  void concat_backward(const Step& step);

  const Plan& plan_;
  const DeviceMemory& memory_;
  const DeviceData& data_;
  const bool train_;
  const std::vector<bool> needs_gradient_;
  std::vector<SumEntry> sums_;  // of gradients, to be added up at the end
  std::vector<bool> written_;   // tensors whose gradient some reader has left
  std::int64_t weights_ = 0, states_ = 0;
};

}  // namespace brood::cnn::cuda
