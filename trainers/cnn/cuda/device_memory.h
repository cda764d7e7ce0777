// Where everything of a trial lies in its slot of device memory, decided before anything runs.
//
// Activations are NHWC without halos. Weights lie in their logical order, [inputs][columns], so
// that arrays move to and from checkpoints as they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainers/cnn/cuda/launch.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn::cuda {

// A tensor of a batch; offset in bytes from the start of a slot, -1: there is none.
struct Tensor {
  std::int64_t offset = -1;
  std::int32_t height = 1, width = 1, channels = 1;
  std::int32_t pitch = 1;  // elements from pixel to pixel; those beyond the channels are zero
};

// An array of floats as a checkpoint names it.
struct DeviceArray {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0, count = 0;
  const Parameter* parameter = nullptr;  // of the plan; nullptr for moments and averages
};

// What is done of a batch norm where its neighbours are (column_sums.h, norm_pair_kernels.h). Where
// not all is, each step is by itself: pairs and reads to the same bits, sums to others.
struct Fusion {
  bool pairs = true;       // with a pool or a sum behind it
  bool reads = true;       // its values are made where they are read
  bool statistics = true;  // summed by the product before it
  bool slopes = true;      // summed by the input gradient that they are of
  // A residual's gradient goes past its body where it is added to the body's, without a copy; to
  // the same bits.
  bool skips = true;
};

// Of a batch norm: the steps whose products sum for it, -1: none does; and how many parts they
// leave. Whether its values are made where they are read, and never stored.
struct NormFusion {
  int statistics = -1, slopes = -1;
  int statistics_parts = 0, slopes_parts = 0;
  bool at_readers = false;
};

// All offsets in bytes from the start of a slot, multiples of 256 but inside the arrays of
// parameters and states, which are dense.
struct DeviceMemory {
  Precision precision = Precision::fp32;
  int moments = 0;
  bool averages = false;
  std::int64_t state = 0;     // SlotState
  std::int64_t dropouts = 0;  // SlotDropout of each dropout layer
  std::int64_t order = 0;     // uint32 [2][order_stride]: sample of each place of an epoch
  std::int64_t order_stride = 0;
  std::int64_t class_tallies = 0;  // int64 [validation, test][classes][samples, correct]
  std::int64_t parameters = 0, gradients = 0, moment[2] = {0, 0}, states = 0;
  std::int64_t average = 0, average_states = 0;  // only with averages
  std::int64_t parameter_count = 0, state_count = 0;
  std::vector<std::int64_t> parameter, state_array;  // each one's place, in floats
  // Of the plan's tensors; slopes: gradients of the loss. Without a place where they are never
  // stored.
  std::vector<Tensor> values, slopes;
  std::vector<std::int64_t> saved;  // of each step; -1: nothing
  std::int64_t draws = 0, labels = 0, partials = 0, losses = 0;
  std::int64_t partial_bytes = 0;
  // Of each step, the chunks' sums of the gradients of its weight and its bias (arguments.h); -1:
  // there are none. They lie where values lay that no backward pass from that step on reads.
  std::vector<std::int64_t> weight_partials, bias_partials;
  std::int64_t norm_partials = 0, norm_partial_bytes = 0;  // of batch norms alone
  // bf16 weights of each step as tensor cores read them, forward and for the input gradient; -1:
  // none.
  std::vector<std::int64_t> packed, packed_gradient;
  // Of each step: the pool or the sum that a batch norm is one with (norm_pair_kernels.h); -1:
  // none.
  std::vector<int> paired;
  std::vector<NormFusion> norms;  // of each step
  // Of each step: a batch norm's input where its pool has its maxima, where a product sums the
  // norm's slopes; -1: not kept.
  std::vector<std::int64_t> selected;
  // Of each step that is a residual's sum: the step whose input gradient adds the sum's gradient;
  // -1: a copy of it is added.
  std::vector<int> skips;
  std::int64_t slot_bytes = 0;
};

// Whether a step is computed on tensor cores.
bool uses_tensor_cores(const Step& step, Precision precision);

// Those with some parameter before them.
std::vector<bool> tensors_with_gradient(const Plan& plan);

// Without a place.
Tensor tensor_of(const Shape& shape, Precision precision);

DeviceMemory make_device_memory(const Plan& plan, int moments, bool averages, Precision precision,
                                const Fusion& fusion = {});

// In the order and with the names of Network::arrays(), so that checkpoints are interchangeable.
std::vector<DeviceArray> device_arrays(const Plan& plan, const DeviceMemory& memory,
                                       const OptimizerSpec& optimizer);

}  // namespace brood::cnn::cuda
