#include "trainers/cnn/winograd.h"

#include <algorithm>

#include "trainers/cnn/kernels.h"

namespace brood::cnn {

namespace {

constexpr int kTile = 4;
// Below these the transforms cost more than the products save (bench/train_step.cpp).
constexpr int kChannelsMin = 6;
constexpr double kSavingMin = 1.8;
// Floats of transformed inputs of a group: they stay in the second-level cache.
constexpr std::int64_t kGroupFloats = 48 * 1024;

int tiles_of(int outputs) { return (outputs + kTile - 1) / kTile; }

}  // namespace

bool uses_winograd(const Step& step, const Shape& in, const Shape& out) {
  const int kernel = step.kernel_height;
  if (step.direct || kernel != step.kernel_width || (kernel != 3 && kernel != 5)) return false;
  if (step.stride_height != 1 || step.stride_width != 1) return false;
  if (step.dilation_height != 1 || step.dilation_width != 1) return false;
  if (in.channels < kChannelsMin || out.channels < kChannelsMin) return false;
  const double direct = static_cast<double>(kernel) * kernel * out.height * out.width;
  const double transformed =
      static_cast<double>(kernel + 3) * (kernel + 3) * tiles_of(out.height) * tiles_of(out.width);
  return direct >= kSavingMin * transformed;
}

Winograd make_winograd(int kernel, int height, int width, int depth, int columns) {
  Winograd out;
  out.kernel = kernel;
  out.points = (kernel + 3) * (kernel + 3);
  out.across = tiles_of(width);
  out.down = tiles_of(height);
  // Multiples of 12 divide into whole register tiles of every kernel set.
  const std::int64_t fitting = kGroupFloats / (std::int64_t{out.points} * padded(depth)) / 12 * 12;
  out.group = static_cast<std::int32_t>(std::clamp<std::int64_t>(fitting, 24, 96));
  // One more cache line: planes a power of two apart would share cache sets.
  out.v_plane = (std::int64_t{out.group} * padded(depth) + 15) / 16 * 16 + 16;
  out.m_plane = std::int64_t{out.group} * kPanel + 16;
  out.u_floats = std::int64_t{out.points} * depth * kPanel * panels(columns);
  out.work = out.points * (out.v_plane + out.m_plane);
  return out;
}

std::int64_t winograd_scratch(const Step& step, const Shape& in, const Shape& out) {
  const int kernel = step.kernel_height;
  const Winograd forward = make_winograd(kernel, out.height, out.width, in.channels, out.channels);
  const Winograd back = make_winograd(kernel, in.height, in.width, out.channels, in.channels);
  // The transposed weights of a panel find room where the inputs lie later: 24 tiles take more.
  return forward.u_floats + back.u_floats + std::max(forward.work, back.work);
}

int winograd_after(int kernel, int outputs, int before, int size) {
  return std::max(0, tiles_of(outputs) * kTile + kernel - 1 - before - size);
}

}  // namespace brood::cnn
