#include "trainers/cnn/cuda/tensor_launch.h"

#include <algorithm>

#include "trainers/cnn/cuda/launch_list.h"
#include "trainers/cnn/cuda/step_arguments.h"

namespace brood::cnn::cuda {

namespace {

KernelId after(KernelId first, int count) {
  return static_cast<KernelId>(static_cast<int>(first) + count);
}

// Where there is a halo kernel for it.
bool halo_launch(const Step& step, const TensorArguments& product, int batch, TensorLaunch& out) {
  HaloShape shape;
  const int depth = product.from.pitch, columns = halo_columns(product.to.pitch);
  if (!make_halo_shape(step, product.from, product.to, shape)) return false;
  const int bytes = halo_shared_bytes(halo_pixels(shape, product.from.width), depth, columns);
  if ((depth != 16 && depth != 32 && depth != 64) || bytes > kSharedBytesMax) return false;
  const std::int64_t tiles =
      std::int64_t{1} * blocks(batch, shape.images) * blocks(product.from.height, shape.rows);
  out.kernel = after(KernelId::halo_16_16, (depth == 16 ? 0 : depth == 32 ? 2 : 4) + columns / 32);
  out.x = blocks(tiles, kHaloTilesPerBlock);
  out.y = blocks(product.to.pitch, columns);
  out.threads = kHaloThreads;
  out.shared_bytes = std::max(bytes, column_sum_bytes(columns, kHaloThreads));
  out.halo = shape;
  return true;
}

// Tiles of pixels, which an input gradient has by the remainders of their places.
std::int64_t tiles_of(const TensorArguments& product, int batch, bool gradient) {
  const int down = gradient ? product.stride_height : 1;
  const int across = gradient ? product.stride_width : 1;
  std::int64_t out = 0;
  for (int row = 0; row < down; ++row)
    for (int column = 0; column < across; ++column)
      out += blocks(std::int64_t{1} * batch * blocks(product.to.height - row, down) *
                        blocks(product.to.width - column, across),
                    kTensorRows);
  return out;
}

}  // namespace

TensorLaunch tensor_launch(const Step& step, const TensorArguments& product, int batch,
                           bool gradient) {
  TensorLaunch out;
  if (halo_launch(step, product, batch, out)) return out;
  const int columns = tensor_columns(product.to.pitch);
  out.kernel = after(gradient ? KernelId::tensor_input_gradient_16 : KernelId::tensor_forward_16,
                     columns == 16   ? 0
                     : columns == 32 ? 1
                                     : 2);
  out.x = static_cast<int>(tiles_of(product, batch, gradient));
  out.y = blocks(product.to.pitch, columns);
  out.threads = tensor_threads(columns);
  out.shared_bytes = tensor_shared_bytes(columns, product.kernel_height * product.kernel_width);
  return out;
}

TensorLaunch tensor_gradient_launch(const Step& step, const ProductArguments& product, int parts) {
  TensorLaunch out;
  out.y = parts;
  HaloShape shape;
  const int inputs = halo_columns(product.x.pitch), outputs = halo_columns(product.y.pitch);
  if (make_halo_shape(step, product.x, product.y, shape)) {
    const int bytes = halo_gradient_bytes(halo_pixels(shape, product.x.width), inputs, outputs);
    if (bytes <= kSharedBytesMax) {
      out.kernel = after(KernelId::halo_gradient_16_16, inputs / 32 * 2 + outputs / 32);
      out.x = blocks(product.x.pitch, inputs) * blocks(product.y.pitch, outputs);
      out.threads = halo_gradient_threads(inputs, outputs);
      out.shared_bytes = bytes;
      out.halo = shape;
      return out;
    }
  }
  const int columns = gradient_columns(product.y.channels);
  const std::int64_t rows =
      std::int64_t{1} * product.kernel_height * product.kernel_width * product.x.pitch;
  out.kernel =
      columns == 32 ? KernelId::tensor_weight_gradient_32 : KernelId::tensor_weight_gradient_64;
  out.x = blocks(rows, kGradientRows) * blocks(product.y.channels, columns);
  out.threads = kGradientThreads;
  out.shared_bytes = gradient_shared_bytes(columns);
  return out;
}

}  // namespace brood::cnn::cuda
