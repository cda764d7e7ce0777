#include "trainers/cnn/cuda/step_arguments.h"

#include <algorithm>

namespace brood::cnn::cuda {

ProductArguments product_arguments(const Step& step, const Tensor& x, const Tensor& y) {
  ProductArguments a{};
  a.x = x;
  a.y = y;
  a.bias = -1;
  // A dense layer's window is the whole image.
  const bool dense = step.op == Step::Op::dense;
  a.kernel_height = dense ? x.height : step.kernel_height;
  a.kernel_width = dense ? x.width : step.kernel_width;
  a.stride_height = step.stride_height;
  a.stride_width = step.stride_width;
  a.dilation_height = step.dilation_height;
  a.dilation_width = step.dilation_width;
  a.pad_top = step.pad_top;
  a.pad_left = step.pad_left;
  a.relu = step.relu;
  return a;
}

PoolArguments pool_arguments(const Step& step, const Tensor& x, const Tensor& y) {
  const bool global = step.op == Step::Op::global_avg_pool;
  PoolArguments a{};
  a.x = x;
  a.y = y;
  a.kernel_height = global ? x.height : step.kernel_height;
  a.kernel_width = global ? x.width : step.kernel_width;
  a.stride_height = global ? x.height : step.stride_height;
  a.stride_width = global ? x.width : step.stride_width;
  a.pad_top = step.pad_top;
  a.pad_left = step.pad_left;
  return a;
}

ElementArguments element_arguments(const Step& step) {
  ElementArguments a{};
  a.site = static_cast<std::int32_t>(step.stream) - 1;
  a.activation = static_cast<std::int32_t>(step.activation);
  a.relu = step.relu;
  a.slope = static_cast<float>(step.slope);
  return a;
}

TensorArguments tensor_arguments(const Step& step) {
  const bool dense = step.op == Step::Op::dense;
  TensorArguments a{};
  a.bias = -1;
  a.kernel_height = dense ? 1 : step.kernel_height;
  a.kernel_width = dense ? 1 : step.kernel_width;
  a.stride_height = step.stride_height;
  a.stride_width = step.stride_width;
  a.dilation_height = step.dilation_height;
  a.dilation_width = step.dilation_width;
  a.pad_top = step.pad_top;
  a.pad_left = step.pad_left;
  return a;
}

PackEntry pack_entry(const Step& step, const Tensor& x, const Tensor& y) {
  PackEntry out{};
  out.gradient = -1;
  out.dense = step.op == Step::Op::dense;
  out.taps = out.dense ? x.height * x.width : step.kernel_height * step.kernel_width;
  out.inputs = x.channels;
  out.columns = y.channels;
  out.input_pitch = x.pitch;
  out.column_pitch = y.pitch;
  return out;
}

std::int64_t pack_blocks(const PackEntry& entry) {
  const auto tiles = [](int lanes) { return (lanes + kPackTile - 1) / kPackTile; };
  return std::int64_t{entry.taps} * tiles(entry.input_pitch) * tiles(entry.column_pitch);
}

bool make_halo_shape(const Step& step, const Tensor& x, const Tensor& y, HaloShape& out) {
  const bool square = step.op == Step::Op::conv && step.kernel_height == 3 &&
                      step.kernel_width == 3 && step.stride_height == 1 && step.stride_width == 1 &&
                      step.dilation_height == 1 && step.dilation_width == 1;
  const bool same =
      x.height == y.height && x.width == y.width && step.pad_top == 1 && step.pad_left == 1;
  if (!square || !same || x.width > kTensorRows) return false;
  // Bands of equal height.
  const int rows = std::min(x.height, kTensorRows / x.width);
  const int bands = (x.height + rows - 1) / rows;
  out.rows = (x.height + bands - 1) / bands;
  out.images = bands > 1 ? 1 : kTensorRows / (x.height * x.width);
  return true;
}

Tensor as_pixel(const Step& step, Tensor tensor) {
  if (step.op != Step::Op::dense) return tensor;
  tensor.pitch *= tensor.height * tensor.width;
  tensor.channels = tensor.pitch;
  tensor.height = tensor.width = 1;
  return tensor;
}

}  // namespace brood::cnn::cuda
