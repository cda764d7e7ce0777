// Depthwise convolutions and pools. A gradient is gathered by the pixel that it belongs to, window
// by window in ascending order, so that nothing is added up by several threads.
#pragma once

#include "trainers/cnn/cuda/slot_access.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

// A thread for each element of y.
template <class T>
BROOD_KERNEL(kThreads)
depthwise_forward(const ProductArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = element_of(slot, args.y);
  if (!e.exists) return;
  float sum = 0.0F;
  if (e.channel < args.x.channels) {
    const PixelPlace p = pixel_of(e.pixel, args.y);
    const T* x = slot.at<T>(args.x);
    const float* weight = slot.at<float>(args.weight) + e.channel;
    if (args.bias >= 0) sum = slot.at<float>(args.bias)[e.channel];
    for (int i = 0; i < args.kernel_height; ++i) {
      const int row = p.y * args.stride_height + i * args.dilation_height - args.pad_top;
      if (row < 0 || row >= args.x.height) continue;
      for (int j = 0; j < args.kernel_width; ++j) {
        const int column = p.x * args.stride_width + j * args.dilation_width - args.pad_left;
        if (column < 0 || column >= args.x.width) continue;
        const int from = pixel_index(args.x, p.sample, row, column) * args.x.pitch + e.channel;
        sum = multiply_add(to_float(x[from]), weight[(i * args.kernel_width + j) * args.x.channels],
                           sum);
      }
    }
    if (args.relu && sum <= 0.0F) sum = 0.0F;
  }
  slot.at<T>(args.y)[e.index] = from_float<T>(sum);
}

// A thread for each element of dx.
template <class T>
BROOD_KERNEL(kThreads)
depthwise_input_gradient(const ProductArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = element_of(slot, args.x);
  if (!e.exists) return;
  float sum = 0.0F;
  const PixelPlace p = pixel_of(e.pixel, args.x);
  const T* dy = slot.at<T>(args.y);
  const float* weight = slot.at<float>(args.weight) + e.channel;
  for (int i = 0; i < args.kernel_height && e.channel < args.x.channels; ++i) {
    const int down = p.y + args.pad_top - i * args.dilation_height;
    const int row = down / args.stride_height;
    if (down < 0 || row * args.stride_height != down || row >= args.y.height) continue;
    for (int j = 0; j < args.kernel_width; ++j) {
      const int right = p.x + args.pad_left - j * args.dilation_width;
      const int column = right / args.stride_width;
      if (right < 0 || column * args.stride_width != right || column >= args.y.width) continue;
      const int from = pixel_index(args.y, p.sample, row, column) * args.y.pitch + e.channel;
      sum = multiply_add(to_float(dy[from]), weight[(i * args.kernel_width + j) * args.x.channels],
                         sum);
    }
  }
  put(slot.at<T>(args.x), e.index, sum, args.accumulate);
}

// Block x: kChannelLanes channels at one place of the kernel; block y: a chunk of images.
template <class T>
BROOD_KERNEL(kThreads)
depthwise_weight_gradient(const ProductArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const int groups = chunks_of(args.x.channels, kChannelLanes);
  const int place = block_x() / groups, i = place / args.kernel_width;
  const int j = place - i * args.kernel_width;
  const int channel = block_x() % groups * kChannelLanes + thread_index() % kChannelLanes;
  const int lane = thread_index() / kChannelLanes, pixels = image_pixels(args.y);
  const int first = block_y() * args.chunk * pixels;
  const int last = smaller(slot.samples() * pixels, first + args.chunk * pixels);
  const T* x = slot.at<T>(args.x);
  const T* dy = slot.at<T>(args.y);
  float sum = 0.0F;
  for (int k = first + lane; channel < args.x.channels && k < last; k += kPixelLanes) {
    const PixelPlace p = pixel_of(k, args.y);
    const int row = p.y * args.stride_height + i * args.dilation_height - args.pad_top;
    const int column = p.x * args.stride_width + j * args.dilation_width - args.pad_left;
    if (row < 0 || row >= args.x.height || column < 0 || column >= args.x.width) continue;
    const int from = pixel_index(args.x, p.sample, row, column) * args.x.pitch + channel;
    sum = multiply_add(to_float(x[from]), to_float(dy[k * args.y.pitch + channel]), sum);
  }
  const double total = sum_of_lanes(static_cast<double>(sum), 0);
  if (lane > 0 || channel >= args.x.channels || first >= last) return;
  const int count = args.kernel_height * args.kernel_width * args.x.channels;
  slot.at<float>(args.partials)[block_y() * count + place * args.x.channels + channel] =
      static_cast<float>(total);
}

// The part of a window that lies inside the image read.
struct WindowPart {
  int top, left, first_row, last_row, first_column, last_column;
};

BROOD_DEVICE WindowPart window_part(const PoolArguments& args, int y, int x) {
  WindowPart w;
  w.top = y * args.stride_height - args.pad_top;
  w.left = x * args.stride_width - args.pad_left;
  w.first_row = larger(0, -w.top);
  w.last_row = smaller(args.kernel_height, args.x.height - w.top);
  w.first_column = larger(0, -w.left);
  w.last_column = smaller(args.kernel_width, args.x.width - w.left);
  return w;
}

// A thread for each element of y.
template <class T>
BROOD_KERNEL(kThreads)
max_pool_forward(const PoolArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = element_of(slot, args.y);
  if (!e.exists) return;
  const PixelPlace p = pixel_of(e.pixel, args.y);
  const WindowPart w = window_part(args, p.y, p.x);
  const T* x = slot.at<T>(args.x) + e.channel;
  float most = 0.0F;
  int where = -1;
  for (int i = w.first_row; i < w.last_row; ++i) {
    for (int j = w.first_column; j < w.last_column; ++j) {
      const float value =
          to_float(x[pixel_index(args.x, p.sample, w.top + i, w.left + j) * args.x.pitch]);
      // A NaN wins and stays: a diverged network must not look healthy.
      if (where >= 0 && (value <= most || most != most)) continue;
      most = value;
      where = i * args.kernel_width + j;
    }
  }
  slot.at<T>(args.y)[e.index] = from_float<T>(most);
  slot.at<std::uint8_t>(args.places)[e.index] = static_cast<std::uint8_t>(where);
}

BROOD_DEVICE int first_window(int at, int kernel, int stride) {
  return at < kernel ? 0 : (at - kernel) / stride + 1;
}

// A thread for each element of dx. A maximum's gradient is all for its place, an average's is
// shared alike.
template <class T, bool kMaximum>
BROOD_DEVICE void pool_gradient(const PoolArguments& args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = element_of(slot, args.x);
  if (!e.exists) return;
  const PixelPlace p = pixel_of(e.pixel, args.x);
  const T* dy = slot.at<T>(args.y);
  const int down = p.y + args.pad_top, right = p.x + args.pad_left;
  float sum = 0.0F;
  for (int i = first_window(down, args.kernel_height, args.stride_height);
       i < args.y.height && i * args.stride_height <= down; ++i) {
    for (int j = first_window(right, args.kernel_width, args.stride_width);
         j < args.y.width && j * args.stride_width <= right; ++j) {
      const int from = pixel_index(args.y, p.sample, i, j) * args.y.pitch + e.channel;
      if constexpr (kMaximum) {
        const int place =
            (down - i * args.stride_height) * args.kernel_width + right - j * args.stride_width;
        if (slot.at<std::uint8_t>(args.places)[from] == place) sum += to_float(dy[from]);
      } else {
        const WindowPart w = window_part(args, i, j);
        const int count = (w.last_row - w.first_row) * (w.last_column - w.first_column);
        sum += to_float(dy[from]) * (1.0F / static_cast<float>(count));
      }
    }
  }
  put(slot.at<T>(args.x), e.index, sum, args.accumulate);
}

template <class T>
BROOD_KERNEL(kThreads)
max_pool_gradient(const PoolArguments args) {
  pool_gradient<T, true>(args);
}

template <class T>
BROOD_KERNEL(kThreads)
average_pool_gradient(const PoolArguments args) {
  pool_gradient<T, false>(args);
}

// A thread for each element of y.
template <class T>
BROOD_KERNEL(kThreads)
average_pool_forward(const PoolArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const Element e = element_of(slot, args.y);
  if (!e.exists) return;
  const PixelPlace p = pixel_of(e.pixel, args.y);
  const WindowPart w = window_part(args, p.y, p.x);
  const T* x = slot.at<T>(args.x) + e.channel;
  float sum = 0.0F;
  for (int i = w.first_row; i < w.last_row; ++i)
    for (int j = w.first_column; j < w.last_column; ++j)
      sum += to_float(x[pixel_index(args.x, p.sample, w.top + i, w.left + j) * args.x.pitch]);
  const int count = (w.last_row - w.first_row) * (w.last_column - w.first_column);
  slot.at<T>(args.y)[e.index] = from_float<T>(sum * (1.0F / static_cast<float>(count)));
}

template <class Visit>
void visit_window_kernels(Visit& visit) {
  visit(KernelId::depthwise_forward, &depthwise_forward<float>, &depthwise_forward<Bf16>, false);
  visit(KernelId::depthwise_input_gradient, &depthwise_input_gradient<float>,
        &depthwise_input_gradient<Bf16>, false);
  visit(KernelId::depthwise_weight_gradient, &depthwise_weight_gradient<float>,
        &depthwise_weight_gradient<Bf16>, true);
  visit(KernelId::max_pool_forward, &max_pool_forward<float>, &max_pool_forward<Bf16>, false);
  visit(KernelId::max_pool_gradient, &max_pool_gradient<float>, &max_pool_gradient<Bf16>, false);
  visit(KernelId::average_pool_forward, &average_pool_forward<float>, &average_pool_forward<Bf16>,
        false);
  visit(KernelId::average_pool_gradient, &average_pool_gradient<float>,
        &average_pool_gradient<Bf16>, false);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
