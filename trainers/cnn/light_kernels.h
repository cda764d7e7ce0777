// The loops that memory limits more than arithmetic: activations, sums, gates, depthwise
// convolution, and what optimizers do besides their step. One table per kernel set of kernels.h,
// under the same rules. exp is our own: no bits depend on the C library.
#pragma once

#include <cstdint>

#include "trainers/cnn/kernels.h"
#include "trainers/cnn/network_spec.h"

namespace brood::cnn {

struct RmsProp {
  float rate, alpha, epsilon, momentum;
  float decay;  // added to the gradient: weight_decay * w
};

// Output pixels side by side, whose windows begin `step` floats apart in x.
struct DepthwiseRun {
  const float* x;  // where the first window begins, which may be outside the image
  PoolWindow window;
  std::int64_t step;
  std::int32_t pixels;
};

struct LightKernels {
  // slope: of leaky_relu. The gradient needs x for gelu and silu, y for the rest.
  void (*activate)(Activation kind, float slope, const float* x, std::int64_t count, float* y);
  void (*activation_gradient)(Activation kind, float slope, const float* x, const float* y,
                              const float* dy, std::int64_t count, float* dx);

  void (*add)(const float* a, const float* b, std::int64_t count, bool relu, float* y);
  void (*accumulate)(const float* x, std::int64_t count, float* y);  // y += x
  void (*scale)(float* x, std::int64_t count, float factor);
  double (*square_sum)(const float* x, std::int64_t count);
  // mean = decay * mean + (1 - decay) * x
  void (*average)(const float* x, std::int64_t count, float decay, float* mean);

  // Of runs of pixels with one factor per channel.
  void (*sigmoid)(const float* x, std::int64_t count, float* y);
  void (*gate)(const float* x, const float* factor, std::int32_t pixels, std::int32_t channels,
               float* y);
  void (*gate_sums)(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
                    float* sum);  // sum += x * dy

  // Weights are [place of the window][channels]; y and dy pixels lie side by side.
  void (*depthwise)(const DepthwiseRun&, const float* w, const float* bias, bool relu, float* y);
  void (*depthwise_weights)(const DepthwiseRun&, const float* dy, float* dw);  // dw += x * dy
  // One pixel: dx += dy * w.
  void (*depthwise_input)(const float* dy, const PoolWindow&, const float* w, float* dx);

  // So many channels of a run of pixels.
  void (*copy_channels)(const float* x, std::int64_t x_pixel, std::int32_t pixels,
                        std::int32_t channels, float* y, std::int64_t y_pixel);

  // velocity: nullptr without momentum.
  void (*rmsprop)(float* w, const float* gradient, float* square, float* velocity,
                  std::int64_t count, const RmsProp&);
};

// The table of the same set.
const LightKernels& light_kernels_of(const Kernels& kernels);

}  // namespace brood::cnn
