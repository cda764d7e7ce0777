// A batch norm and what is behind it, in one: the maximum of 2x2 windows side by side, or the sum
// of a residual. What the norm would write is never stored, nor its gradient. The bits are those of
// the two one after another (norm_kernels.h; window_kernels.h, element_kernels.h).
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
  Lanes<T> most, read;
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
      read.value[i] = lanes.value[i];
      where[i] = place;
    }
  }
  put_lanes(slot.at<T>(norm.y), e.index, most, false);
  if (args.selected >= 0) put_lanes(slot.at<T>(args.selected), e.index, read, false);
  std::uint8_t* places = slot.at<std::uint8_t>(args.places) + e.index;
  BROOD_UNROLL for (int i = 0; i < kCount; ++i) places[i] = static_cast<std::uint8_t>(where[i]);
}

// The element of the maxima to whose window a pixel belongs; -1: to none.
BROOD_DEVICE int window_element(const Tensor& y, int sample, int row, int column) {
  if (row / 2 >= y.height || column / 2 >= y.width) return -1;
  return pixel_index(y, sample, row / 2, column / 2) * y.pitch;
}

template <class T>
struct PooledSlopes {
  const T* dy;  // both from the lane's channel on
  const std::uint8_t* places;
  const Tensor *x, *y;
  PixelPlace at;

  BROOD_DEVICE float operator()(int) {
    const int from = window_element(*y, at.sample, at.y, at.x);
    float slope = 0.0F;
    if (from >= 0 && places[from] == at.y % 2 * 2 + at.x % 2) slope = to_float(dy[from]);
    // To the next pixel, without a division.
    for (at.x += kPixelLanes; at.x >= x->width; at.x -= x->width)
      if (++at.y == x->height) {
        at.y = 0;
        ++at.sample;
      }
    return slope;
  }
};

template <class T>
BROOD_KERNEL(kThreads)
norm_pool_sums(const NormPoolArguments args) {
  const NormArguments& norm = args.norm;
  const SlotAccess slot(norm.group);
  if (slot.idle()) return;
  const ChunkLane lane = chunk_lane(slot, norm.x);
  norm_sums_of<T>(slot, norm, lane,
                  PooledSlopes<T>{slot.at<T>(norm.dy) + lane.channel,
                                  slot.at<std::uint8_t>(args.places) + lane.channel, &norm.x,
                                  &norm.dy, pixel_of(lane.first + lane.lane, norm.x)});
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

// A thread for each Lanes of y, the sum.
template <class T>
BROOD_KERNEL(kThreads)
norm_add_forward(const NormAddArguments args) {
  const NormArguments& norm = args.norm;
  const SlotAccess slot(norm.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, norm.x);
  if (!e.exists) return;
  Lanes<T> lanes = lanes_at(slot.at<T>(norm.x), e.index);
  const Lanes<T> other = lanes_at(slot.at<T>(args.other), e.index);
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) {
    const float value = normalised(slot, norm, e.channel + i, lanes.value[i]);
    const float sum = to_float(from_float<T>(value)) + other.value[i];
    lanes.value[i] = args.relu && sum <= 0.0F ? 0.0F : sum;
  }
  put_lanes(slot.at<T>(norm.y), e.index, lanes, false);
}

// What the sum's ReLU lets through.
template <class T>
struct SumSlopes {
  const T *dy, *sum;  // from the lane's channel on
  int pitch;
  bool relu;
  BROOD_DEVICE float operator()(int p) const {
    return relu && !(to_float(sum[p * pitch]) > 0.0F) ? 0.0F : to_float(dy[p * pitch]);
  }
};

template <class T>
BROOD_KERNEL(kThreads)
norm_add_sums(const NormAddArguments args) {
  const NormArguments& norm = args.norm;
  const SlotAccess slot(norm.group);
  if (slot.idle()) return;
  const ChunkLane lane = chunk_lane(slot, norm.x);
  norm_sums_of<T>(slot, norm, lane,
                  SumSlopes<T>{slot.at<T>(norm.dy) + lane.channel,
                               slot.at<T>(norm.y) + lane.channel, norm.y.pitch, args.relu != 0});
}

// A thread for each Lanes of dx.
template <class T>
BROOD_KERNEL(kThreads)
norm_add_gradient(const NormAddArguments args) {
  const NormArguments& norm = args.norm;
  const SlotAccess slot(norm.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, norm.x);
  if (!e.exists) return;
  Lanes<T> out = lanes_at(slot.at<T>(norm.dy), e.index);
  const Lanes<T> sum = lanes_at(slot.at<T>(norm.y), e.index);
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) if (args.relu && !(sum.value[i] > 0.0F))
      out.value[i] = 0.0F;
  norm_gradient_lanes<T>(slot, norm, e, out);
}

template <class Visit>
void visit_norm_pair_kernels(Visit& visit) {
  visit(KernelId::norm_add_forward, &norm_add_forward<float>, &norm_add_forward<Bf16>, false);
  visit(KernelId::norm_add_sums, &norm_add_sums<float>, &norm_add_sums<Bf16>, true);
  visit(KernelId::norm_add_gradient, &norm_add_gradient<float>, &norm_add_gradient<Bf16>, false);
  visit(KernelId::norm_pool_forward, &norm_pool_forward<float>, &norm_pool_forward<Bf16>, false);
  visit(KernelId::norm_pool_sums, &norm_pool_sums<float>, &norm_pool_sums<Bf16>, true);
  visit(KernelId::norm_pool_gradient, &norm_pool_gradient<float>, &norm_pool_gradient<Bf16>, false);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
