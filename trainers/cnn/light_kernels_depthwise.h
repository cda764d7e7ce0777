// Depthwise convolution and copies of channels: a part of light_kernels_body.h.
//
// A run of output pixels side by side whose windows have the same part inside the image is done at
// once, so many channels at a time that a few vectors hold the sums of several pixels.
#pragma once

#include "trainers/cnn/light_kernels.h"

namespace brood::cnn::BROOD_SET {
namespace {

#if defined(__AVX512F__)
constexpr int kVector = 16;
#elif defined(__AVX__)
constexpr int kVector = 8;
#else
constexpr int kVector = 4;
#endif

template <int W>
struct DepthwiseVector {
  typedef float type __attribute__((vector_size(4 * W)));
  typedef float loose __attribute__((vector_size(4 * W), aligned(4), may_alias));
};

// C channels from c on, P pixels from p on.
template <int C, int P>
inline void depthwise_block(const DepthwiseRun& g, std::int32_t c, std::int32_t p, const float* w,
                            const float* bias, bool relu, float* y) {
  constexpr int W = kVector < C ? kVector : C, N = C / W;
  using V = typename DepthwiseVector<W>::type;
  using Loose = typename DepthwiseVector<W>::loose;
  const PoolWindow& window = g.window;
  V sum[P][N];
  for (int q = 0; q < P; ++q)
    for (int n = 0; n < N; ++n)
      sum[q][n] = bias ? *reinterpret_cast<const Loose*>(bias + c + n * W) : V{};
  for (std::int32_t i = window.first_row; i < window.last_row; ++i) {
    for (std::int32_t j = window.first_column; j < window.last_column; ++j) {
      const float* from = g.x + i * window.x_row + j * window.x_step + p * g.step + c;
      const float* factor = w + (i * window.size + j) * window.channels + c;
      for (int n = 0; n < N; ++n) {
        const V f = *reinterpret_cast<const Loose*>(factor + n * W);
        for (int q = 0; q < P; ++q)
          sum[q][n] += *reinterpret_cast<const Loose*>(from + q * g.step + n * W) * f;
      }
    }
  }
  for (int q = 0; q < P; ++q) {
    float* to = y + (p + q) * window.channels + c;
    for (int n = 0; n < N; ++n) {
      V value = sum[q][n];
      if (relu) value = value <= V{} ? V{} : value;
      *reinterpret_cast<Loose*>(to + n * W) = value;
    }
  }
}

template <int C>
inline void depthwise_channels(const DepthwiseRun& g, std::int32_t c, const float* w,
                               const float* bias, bool relu, float* y) {
  constexpr int kPixels = 4;
  std::int32_t p = 0;
  for (; p + kPixels <= g.pixels; p += kPixels)
    depthwise_block<C, kPixels>(g, c, p, w, bias, relu, y);
  for (; p < g.pixels; ++p) depthwise_block<C, 1>(g, c, p, w, bias, relu, y);
}

void depthwise(const DepthwiseRun& g, const float* w, const float* bias, bool relu, float* y) {
  std::int32_t c = 0;
  for (; c + kPanel <= g.window.channels; c += kPanel)
    depthwise_channels<kPanel>(g, c, w, bias, relu, y);
  if (c < g.window.channels) depthwise_channels<kLanes>(g, c, w, bias, relu, y);
}

// One place of the window: four sums hide the latency of an addition.
template <int C>
inline void depthwise_place(const float* from, std::int64_t step, const float* dy,
                            std::int64_t dy_step, std::int32_t pixels, float* dw) {
  constexpr int W = kVector < C ? kVector : C, N = C / W, kSums = 4;
  using V = typename DepthwiseVector<W>::type;
  using Loose = typename DepthwiseVector<W>::loose;
  V sum[kSums][N] = {};
  std::int32_t p = 0;
  for (; p + kSums <= pixels; p += kSums)
    for (int q = 0; q < kSums; ++q)
      for (int n = 0; n < N; ++n)
        sum[q][n] += *reinterpret_cast<const Loose*>(from + (p + q) * step + n * W) *
                     *reinterpret_cast<const Loose*>(dy + (p + q) * dy_step + n * W);
  for (; p < pixels; ++p)
    for (int n = 0; n < N; ++n)
      sum[0][n] += *reinterpret_cast<const Loose*>(from + p * step + n * W) *
                   *reinterpret_cast<const Loose*>(dy + p * dy_step + n * W);
  for (int n = 0; n < N; ++n) {
    const V all = (sum[0][n] + sum[1][n]) + (sum[2][n] + sum[3][n]);
    *reinterpret_cast<Loose*>(dw + n * W) = *reinterpret_cast<const Loose*>(dw + n * W) + all;
  }
}

void depthwise_weights(const DepthwiseRun& g, const float* dy, float* dw) {
  const PoolWindow& window = g.window;
  const std::int32_t channels = window.channels;
  for (std::int32_t i = window.first_row; i < window.last_row; ++i) {
    for (std::int32_t j = window.first_column; j < window.last_column; ++j) {
      const float* from = g.x + i * window.x_row + j * window.x_step;
      float* to = dw + (i * window.size + j) * channels;
      std::int32_t c = 0;
      for (; c + kPanel <= channels; c += kPanel)
        depthwise_place<kPanel>(from + c, g.step, dy + c, channels, g.pixels, to + c);
      if (c < channels)
        depthwise_place<kLanes>(from + c, g.step, dy + c, channels, g.pixels, to + c);
    }
  }
}

void depthwise_input(const float* __restrict dy, const PoolWindow& g, const float* w,
                     float* __restrict dx) {
  for (std::int32_t i = g.first_row; i < g.last_row; ++i) {
    for (std::int32_t j = g.first_column; j < g.last_column; ++j) {
      const float* factor = w + (i * g.size + j) * g.channels;
      float* to = dx + i * g.x_row + j * g.x_step;
      for (std::int32_t c = 0; c < g.channels; ++c) to[c] += dy[c] * factor[c];
    }
  }
}

// Vectors of lanes and a rest of single numbers: whole calls of memcpy would take longer.
void copy_channels(const float* x, std::int64_t x_pixel, std::int32_t pixels, std::int32_t channels,
                   float* y, std::int64_t y_pixel) {
  using Loose = DepthwiseVector < kVector<kLanes ? kVector : kLanes>::loose;
  constexpr int W = kVector < kLanes ? kVector : kLanes;
  for (std::int32_t p = 0; p < pixels; ++p, x += x_pixel, y += y_pixel) {
    std::int32_t c = 0;
    for (; c + W <= channels; c += W)
      *reinterpret_cast<Loose*>(y + c) = *reinterpret_cast<const Loose*>(x + c);
    for (int lane = 0; lane < W; ++lane)
      if (c + lane < channels) y[c + lane] = x[c + lane];
  }
}

}  // namespace
}  // namespace brood::cnn::BROOD_SET
