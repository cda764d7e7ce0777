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

bool make_halo_arguments(const TensorArguments& product, bool turned, HaloArguments& out) {
  const Tensor &from = product.from, &to = product.to;
  const bool square = product.kernel_height == 3 && product.kernel_width == 3 &&
                      product.stride_height == 1 && product.stride_width == 1 &&
                      product.dilation_height == 1 && product.dilation_width == 1;
  const bool same = from.height == to.height && from.width == to.width && product.pad_top == 1 &&
                    product.pad_left == 1;
  if (!square || !same || (from.pitch != 16 && from.pitch != 32 && from.pitch != 64) ||
      from.width > kTensorRows)
    return false;
  out.product = product;
  out.turned = turned;
  out.tiles_per_block = kHaloTilesPerBlock;
  // Bands of equal height.
  const int rows = std::min(from.height, kTensorRows / from.width);
  const int bands = (from.height + rows - 1) / rows;
  out.tile_rows = (from.height + bands - 1) / bands;
  out.tile_images = bands > 1 ? 1 : kTensorRows / (from.height * from.width);
  return halo_shared_bytes(out) <= kSharedBytesMax;
}

int halo_shared_bytes(const HaloArguments& a) {
  return halo_shared_bytes(halo_pixels(a.tile_images, a.tile_rows, a.product.from.width),
                           a.product.from.pitch, halo_columns(a.product.to.pitch));
}

Tensor as_pixel(const Step& step, Tensor tensor) {
  if (step.op != Step::Op::dense) return tensor;
  tensor.pitch *= tensor.height * tensor.width;
  tensor.channels = tensor.pitch;
  tensor.height = tensor.width = 1;
  return tensor;
}

}  // namespace brood::cnn::cuda
