// A batch norm and the maximum of 2x2 windows side by side behind it, in one: what the norm would
// write is never stored, nor its gradient. The bits are those of norm_kernels.h and
// window_kernels.h one after another.
#pragma once

#include "trainers/cnn/cuda/norm_kernels.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

// A thread for each Lanes of y, the maxima.
template <class T>
BROOD_KERNEL(kThreads)
norm_pool_forward(const NormPoolArguments args) {
  const NormArguments& norm = args.norm;
  const SlotAccess slot(norm.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, norm.y);
  if (!e.exists) return;
  constexpr int kCount = Lanes<T>::kCount;
  float scale[kCount], shift[kCount];
  BROOD_UNROLL for (int i = 0; i < kCount; ++i) {
    const bool exists = e.channel + i < norm.x.channels;
    scale[i] = exists ? norm_array(slot, norm, NormArray::scale)[e.channel + i] : 0.0F;
    shift[i] = exists ? norm_array(slot, norm, NormArray::shift)[e.channel + i] : 0.0F;
  }
  const PixelPlace p = pixel_of(e.pixel, norm.y);
  const T* x = slot.at<T>(norm.x) + e.channel;
  Lanes<T> most;
  int where[kCount];
  BROOD_UNROLL for (int place = 0; place < 4; ++place) {
    const int from = pixel_index(norm.x, p.sample, 2 * p.y + place / 2, 2 * p.x + place % 2);
    const Lanes<T> lanes = lanes_at(x, from * norm.x.pitch);
    BROOD_UNROLL for (int i = 0; i < kCount; ++i) {
      float value = lanes.value[i] * scale[i] + shift[i];
      if (norm.relu && value <= 0.0F) value = 0.0F;
      value = e.channel + i < norm.x.channels ? to_float(from_float<T>(value)) : 0.0F;
      // As max_pool_forward: a NaN wins and stays.
      if (place > 0 && (value <= most.value[i] || most.value[i] != most.value[i])) continue;
      most.value[i] = value;
      where[i] = place;
    }
  }
  put_lanes(slot.at<T>(norm.y), e.index, most, false);
  std::uint8_t* places = slot.at<std::uint8_t>(args.places) + e.index;
  BROOD_UNROLL for (int i = 0; i < kCount; ++i) places[i] = static_cast<std::uint8_t>(where[i]);
}

// The element of the maxima to whose window a pixel belongs; -1: to none.
BROOD_DEVICE int window_element(const Tensor& y, int sample, int row, int column) {
  if (row / 2 >= y.height || column / 2 >= y.width) return -1;
  return pixel_index(y, sample, row / 2, column / 2) * y.pitch;
}

// As norm_sums.
template <class T>
BROOD_KERNEL(kThreads)
norm_pool_sums(const NormPoolArguments args) {
  const NormArguments& norm = args.norm;
  const SlotAccess slot(norm.group);
  if (slot.idle()) return;
  const ChunkLane lane = chunk_lane(slot, norm.x);
  const bool exists = lane.has_channel && lane.first < lane.last;
  float total = 0.0F, correlated = 0.0F;
  if (exists) {
    const T* x = slot.at<T>(norm.x) + lane.channel;
    const T* dy = slot.at<T>(norm.dy) + lane.channel;
    const std::uint8_t* places = slot.at<std::uint8_t>(args.places) + lane.channel;
    const float mean = norm_array(slot, norm, NormArray::mean)[lane.channel];
    const float scale = norm_array(slot, norm, NormArray::scale)[lane.channel];
    const float shift = norm_array(slot, norm, NormArray::shift)[lane.channel];
    PixelPlace at = pixel_of(lane.first + lane.lane, norm.x);
    for (int p = lane.first + lane.lane; p < lane.last; p += kPixelLanes) {
      const float value = to_float(x[p * norm.x.pitch]);
      const int from = window_element(norm.dy, at.sample, at.y, at.x);
      float slope = 0.0F;
      if (from >= 0 && places[from] == at.y % 2 * 2 + at.x % 2) slope = to_float(dy[from]);
      if (norm.relu && !(value * scale + shift > 0.0F)) slope = 0.0F;
      total += slope;
      correlated = multiply_add(slope, value - mean, correlated);
      // Without a division.
      for (at.x += kPixelLanes; at.x >= norm.x.width; at.x -= norm.x.width)
        if (++at.y == norm.x.height) {
          at.y = 0;
          ++at.sample;
        }
    }
  }
  const double totals = sum_of_lanes(static_cast<double>(total), 0);
  const double products = sum_of_lanes(static_cast<double>(correlated), 1);
  if (!exists || lane.lane > 0) return;
  double* partial = slot.at<double>(norm.partials) + block_y() * 2 * norm.x.channels + lane.channel;
  partial[0] = totals;
  partial[norm.x.channels] = products;
}

// A thread for each Lanes of dx.
template <class T>
BROOD_KERNEL(kThreads)
norm_pool_gradient(const NormPoolArguments args) {
  const NormArguments& norm = args.norm;
  const SlotAccess slot(norm.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, norm.x);
  if (!e.exists) return;
  const PixelPlace at = pixel_of(e.pixel, norm.x);
  const int from = window_element(norm.dy, at.sample, at.y, at.x);
  Lanes<T> out;
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) out.value[i] = 0.0F;
  if (from >= 0) {
    out = lanes_at(slot.at<T>(norm.dy), from + e.channel);
    const std::uint8_t* places = slot.at<std::uint8_t>(args.places) + from + e.channel;
    BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount;
                      ++i) if (places[i] != at.y % 2 * 2 + at.x % 2) out.value[i] = 0.0F;
  }
  norm_gradient_lanes<T>(slot, norm, e, out);
}

template <class Visit>
void visit_norm_pool_kernels(Visit& visit) {
  visit(KernelId::norm_pool_forward, &norm_pool_forward<float>, &norm_pool_forward<Bf16>, false);
  visit(KernelId::norm_pool_sums, &norm_pool_sums<float>, &norm_pool_sums<Bf16>, true);
  visit(KernelId::norm_pool_gradient, &norm_pool_gradient<float>, &norm_pool_gradient<Bf16>, false);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
