// Batch normalisation, as norm_layer.cpp has it: statistics of chunks around their first pixel in
// single precision, put together in double.
#pragma once

#include "trainers/cnn/cuda/slot_access.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

constexpr double kNormMomentum = 0.1;

BROOD_DEVICE float* norm_array(const SlotAccess& slot, const NormArguments& args, NormArray which) {
  return slot.at<float>(args.saved) + norm_place(which, args.x.channels);
}

// Partials of a chunk: [sum, sum of squares of means, sum of squares within][channel].
template <class T>
BROOD_KERNEL(kThreads)
norm_statistics(const NormArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const ChunkLane lane = chunk_lane(slot, args.x);
  const T* x = slot.at<T>(args.x) + lane.channel;
  const bool exists = lane.has_channel && lane.first < lane.last;
  const float origin = exists ? to_float(x[lane.first * args.x.pitch]) : 0.0F;
  float sum = 0.0F, square = 0.0F;
  for (int p = lane.first + lane.lane; exists && p < lane.last; p += kPixelLanes) {
    const float distance = to_float(x[p * args.x.pitch]) - origin;
    sum += distance;
    square = multiply_add(distance, distance, square);
  }
  const double moved = sum_of_lanes(static_cast<double>(sum), 0);
  const double squares = sum_of_lanes(static_cast<double>(square), 1);
  if (!exists || lane.lane > 0) return;
  const double count = lane.last - lane.first;
  const double mean = static_cast<double>(origin) + moved / count;
  double* partial = slot.at<double>(args.partials) + block_y() * 3 * args.x.channels + lane.channel;
  partial[0] = mean * count;
  partial[args.x.channels] = mean * mean * count;
  partial[2 * args.x.channels] = squares - moved * moved / count;
}

BROOD_DEVICE float inverse_of(double variance) {
  return static_cast<float>(1.0 / square_root(variance + kNormEpsilon));
}

BROOD_DEVICE float follow(float running, double now) {
  return static_cast<float>((1 - kNormMomentum) * static_cast<double>(running) +
                            kNormMomentum * now);
}

// Sums of the kinds of partials, [part][kind][channel], for the block's kNormChannels channels; in
// its first threads. All threads call.
template <int kKinds>
BROOD_DEVICE void sum_parts(const SlotAccess& slot, const NormArguments& args,
                            double (&sums)[kKinds]) {
  constexpr int kLanes = kThreads / kNormChannels;
  const int lane = thread_index() / kNormChannels, channels = args.x.channels;
  const int channel = block_x() * kNormChannels + thread_index() % kNormChannels;
  const int parts =
      args.parts > 0 ? args.parts : chunks_of(slot.samples() * image_pixels(args.x), kChunkPixels);
  BROOD_UNROLL for (int kind = 0; kind < kKinds; ++kind) sums[kind] = 0.0;
  const double* partials = slot.at<double>(args.partials) + channel;
  for (int i = lane; channel < channels && i < parts; i += kLanes)
    BROOD_UNROLL for (int kind = 0; kind < kKinds; ++kind) sums[kind] +=
        partials[(i * kKinds + kind) * channels];
  double* shared = shared_memory<double>() + thread_index();
  BROOD_UNROLL for (int kind = 0; kind < kKinds; ++kind) shared[kind * kThreads] = sums[kind];
  for (int half = kLanes / 2; half > 0; half /= 2) {
    sync_threads();
    if (lane >= half) continue;
    BROOD_UNROLL for (int kind = 0; kind < kKinds; ++kind) {
      sums[kind] += shared[kind * kThreads + half * kNormChannels];
      shared[kind * kThreads] = sums[kind];
    }
  }
}

// Scale and shift: of the batch's statistics, which the running ones follow, or of those. A block
// for kNormChannels channels.
BROOD_KERNEL(kThreads) norm_prepare(const NormArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const int channel = block_x() * kNormChannels + thread_index();
  double sums[3] = {};
  if (args.train) sum_parts<3>(slot, args, sums);
  if (thread_index() >= kNormChannels || channel >= args.x.channels) return;
  float* running_mean = slot.at<float>(args.mean) + channel;
  float* running_variance = slot.at<float>(args.variance) + channel;
  float mean = *running_mean, inverse = inverse_of(static_cast<double>(*running_variance));
  if (args.train) {
    const double count = static_cast<double>(slot.samples()) * image_pixels(args.x);
    const double exact_mean = sums[0] / count;
    // The comparisons let a NaN through.
    const double spread = sums[1] - count * exact_mean * exact_mean;
    const double total = sums[2] + (spread < 0.0 ? 0.0 : spread);
    const double variance = (total < 0.0 ? 0.0 : total) / count;
    mean = static_cast<float>(exact_mean);
    inverse = inverse_of(variance);
    *running_mean = follow(*running_mean, exact_mean);
    *running_variance =
        follow(*running_variance, count > 1 ? variance * count / (count - 1) : variance);
  }
  const float scale = slot.at<float>(args.scale)[channel] * inverse;
  norm_array(slot, args, NormArray::mean)[channel] = mean;
  norm_array(slot, args, NormArray::inverse)[channel] = inverse;
  norm_array(slot, args, NormArray::scale)[channel] = scale;
  norm_array(slot, args, NormArray::shift)[channel] =
      slot.at<float>(args.shift)[channel] - mean * scale;
}

// 0 for lanes without a channel.
BROOD_DEVICE float normalised(const SlotAccess& slot, const NormArguments& args, int channel,
                              float x) {
  float value = 0.0F;
  if (channel < args.x.channels)
    value = x * norm_array(slot, args, NormArray::scale)[channel] +
            norm_array(slot, args, NormArray::shift)[channel];
  return args.relu && value <= 0.0F ? 0.0F : value;
}

// A thread for each Lanes.
template <class T>
BROOD_KERNEL(kThreads)
norm_forward(const NormArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, args.x);
  if (!e.exists) return;
  Lanes<T> lanes = lanes_at(slot.at<T>(args.x), e.index);
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) {
    lanes.value[i] = normalised(slot, args, e.channel + i, lanes.value[i]);
  }
  put_lanes(slot.at<T>(args.y), e.index, lanes, false);
}

// Partials of a chunk: [sum of dy, sum of dy * (x - mean)][channel], where a ReLU lets dy through.
// slopes(p): dy of the pixel; asked for pixels first, first + kPixelLanes, ...
template <class T, class Slopes>
BROOD_DEVICE void norm_sums_of(const SlotAccess& slot, const NormArguments& args,
                               const ChunkLane& lane, Slopes slopes) {
  const bool exists = lane.has_channel && lane.first < lane.last;
  float total = 0.0F, correlated = 0.0F;
  if (exists) {
    const T* x = slot.at<T>(args.x) + lane.channel;
    const float mean = norm_array(slot, args, NormArray::mean)[lane.channel];
    const float scale = norm_array(slot, args, NormArray::scale)[lane.channel];
    const float shift = norm_array(slot, args, NormArray::shift)[lane.channel];
    for (int p = lane.first + lane.lane; p < lane.last; p += kPixelLanes) {
      const float value = to_float(x[p * args.x.pitch]);
      float slope = slopes(p);
      if (args.relu && !(value * scale + shift > 0.0F)) slope = 0.0F;
      total += slope;
      correlated = multiply_add(slope, value - mean, correlated);
    }
  }
  const double totals = sum_of_lanes(static_cast<double>(total), 0);
  const double products = sum_of_lanes(static_cast<double>(correlated), 1);
  if (!exists || lane.lane > 0) return;
  double* partial = slot.at<double>(args.partials) + block_y() * 2 * args.x.channels + lane.channel;
  partial[0] = totals;
  partial[args.x.channels] = products;
}

template <class T>
struct PlainSlopes {
  const T* dy;
  int pitch;
  BROOD_DEVICE float operator()(int p) const { return to_float(dy[p * pitch]); }
};

template <class T>
BROOD_KERNEL(kThreads)
norm_sums(const NormArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const ChunkLane lane = chunk_lane(slot, args.x);
  norm_sums_of<T>(slot, args, lane,
                  PlainSlopes<T>{slot.at<T>(args.dy) + lane.channel, args.dy.pitch});
}

// The gradients of scale and shift, and what dx needs. A block for kNormChannels channels.
BROOD_KERNEL(kThreads) norm_slopes(const NormArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const int channel = block_x() * kNormChannels + thread_index();
  double sums[2];
  sum_parts<2>(slot, args, sums);
  if (thread_index() >= kNormChannels || channel >= args.x.channels) return;
  const double count = static_cast<double>(slot.samples()) * image_pixels(args.x);
  const float inverse = norm_array(slot, args, NormArray::inverse)[channel];
  const float scale = norm_array(slot, args, NormArray::scale)[channel];
  const double product = sums[1] * static_cast<double>(inverse);
  slot.at<float>(args.shift_gradient)[channel] = static_cast<float>(sums[0]);
  slot.at<float>(args.scale_gradient)[channel] = static_cast<float>(product);
  norm_array(slot, args, NormArray::constant)[channel] =
      scale * static_cast<float>(sums[0] / count);
  norm_array(slot, args, NormArray::linear)[channel] =
      scale * inverse * static_cast<float>(product / count);
}

// dx of a thread's lanes, from those of dy.
template <class T>
BROOD_DEVICE void norm_gradient_lanes(const SlotAccess& slot, const NormArguments& args,
                                      const Element& e, Lanes<T> out) {
  const Lanes<T> x = lanes_at(slot.at<T>(args.x), e.index);
  BROOD_UNROLL for (int i = 0; i < Lanes<T>::kCount; ++i) {
    const int channel = e.channel + i;
    if (channel >= args.x.channels) {
      out.value[i] = 0.0F;
      continue;
    }
    const float value = x.value[i], scale = norm_array(slot, args, NormArray::scale)[channel];
    float slope = out.value[i];
    if (args.relu && !(value * scale + norm_array(slot, args, NormArray::shift)[channel] > 0.0F))
      slope = 0.0F;
    out.value[i] = scale * slope - norm_array(slot, args, NormArray::constant)[channel] -
                   (value - norm_array(slot, args, NormArray::mean)[channel]) *
                       norm_array(slot, args, NormArray::linear)[channel];
  }
  put_lanes(slot.at<T>(args.dx), e.index, out, args.accumulate);
}

// A thread for each Lanes of dx.
template <class T>
BROOD_KERNEL(kThreads)
norm_gradient(const NormArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = lanes_of<T>(slot, args.x);
  if (e.exists) norm_gradient_lanes<T>(slot, args, e, lanes_at(slot.at<T>(args.dy), e.index));
}

template <class Visit>
void visit_norm_kernels(Visit& visit) {
  visit(KernelId::norm_statistics, &norm_statistics<float>, &norm_statistics<Bf16>, true);
  visit(KernelId::norm_prepare, &norm_prepare, &norm_prepare, true);
  visit(KernelId::norm_forward, &norm_forward<float>, &norm_forward<Bf16>, false);
  visit(KernelId::norm_sums, &norm_sums<float>, &norm_sums<Bf16>, true);
  visit(KernelId::norm_slopes, &norm_slopes, &norm_slopes, true);
  visit(KernelId::norm_gradient, &norm_gradient<float>, &norm_gradient<Bf16>, false);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
