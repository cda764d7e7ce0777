// The source of the light kernels of every set. Included once by each light_kernels_<set>.cpp,
// which defines BROOD_SET. As in kernels_body.h, nothing is shared with the rest of the program.
// Loops are plain; the compiler makes vectors of them. Depthwise convolution has a file of its own.
#include "trainers/cnn/light_kernels.h"
#include "trainers/cnn/light_kernels_depthwise.h"

namespace brood::cnn::BROOD_SET {
namespace {

#define BROOD_ACTIVATION inline
#include "trainers/cnn/activation_body.h"

void activate(Activation kind, float slope, const float* __restrict x, std::int64_t count,
              float* __restrict y) {
  switch (kind) {
    case Activation::none:
      for (std::int64_t i = 0; i < count; ++i) y[i] = x[i];
      break;
    case Activation::relu:
      for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] <= 0.0F ? 0.0F : x[i];
      break;
    case Activation::leaky_relu:
      for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] <= 0.0F ? slope * x[i] : x[i];
      break;
    case Activation::gelu:
      for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] * gelu_gate(x[i]);
      break;
    case Activation::silu:
      for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] * sigmoid_of(x[i]);
      break;
    case Activation::tanh:
      for (std::int64_t i = 0; i < count; ++i) y[i] = tanh_of(x[i]);
      break;
  }
}

// leaky_relu with slope 0 or more keeps the sign, so that y tells the side.
void activation_gradient(Activation kind, float slope, const float* __restrict x,
                         const float* __restrict y, const float* __restrict dy, std::int64_t count,
                         float* __restrict dx) {
  switch (kind) {
    case Activation::none:
      for (std::int64_t i = 0; i < count; ++i) dx[i] = dy[i];
      break;
    case Activation::relu:
      for (std::int64_t i = 0; i < count; ++i) dx[i] = y[i] > 0.0F ? dy[i] : 0.0F;
      break;
    case Activation::leaky_relu:
      for (std::int64_t i = 0; i < count; ++i) dx[i] = y[i] > 0.0F ? dy[i] : slope * dy[i];
      break;
    case Activation::gelu:
      for (std::int64_t i = 0; i < count; ++i) dx[i] = dy[i] * gelu_slope(x[i]);
      break;
    case Activation::silu:
      for (std::int64_t i = 0; i < count; ++i) dx[i] = dy[i] * silu_slope(x[i]);
      break;
    case Activation::tanh:
      for (std::int64_t i = 0; i < count; ++i) dx[i] = dy[i] * (1.0F - y[i] * y[i]);
      break;
  }
}

void add(const float* __restrict a, const float* __restrict b, std::int64_t count, bool relu,
         float* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float sum = a[i] + b[i];
    y[i] = relu && sum <= 0.0F ? 0.0F : sum;
  }
}

void accumulate(const float* __restrict x, std::int64_t count, float* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] += x[i];
}

void scale(float* x, std::int64_t count, float factor) {
  for (std::int64_t i = 0; i < count; ++i) x[i] *= factor;
}

double square_sum(const float* x, std::int64_t count) {
  constexpr int kSide = 16;
  double sum[kSide] = {};
  std::int64_t i = 0;
  for (; i + kSide <= count; i += kSide)
    for (int k = 0; k < kSide; ++k) {
      const auto value = static_cast<double>(x[i + k]);
      sum[k] += value * value;
    }
  for (; i < count; ++i) sum[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  double total = 0.0;
  for (const double part : sum) total += part;
  return total;
}

void average(const float* __restrict x, std::int64_t count, float decay, float* __restrict mean) {
  for (std::int64_t i = 0; i < count; ++i) mean[i] += (1.0F - decay) * (x[i] - mean[i]);
}

void sigmoid(const float* __restrict x, std::int64_t count, float* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = sigmoid_of(x[i]);
}

void gate(const float* __restrict x, const float* __restrict factor, std::int32_t pixels,
          std::int32_t channels, float* __restrict y) {
  for (std::int32_t p = 0; p < pixels; ++p, x += channels, y += channels)
    for (std::int32_t c = 0; c < channels; ++c) y[c] = x[c] * factor[c];
}

void gate_sums(const float* __restrict x, const float* __restrict dy, std::int32_t pixels,
               std::int32_t channels, float* __restrict sum) {
  for (std::int32_t p = 0; p < pixels; ++p, x += channels, dy += channels)
    for (std::int32_t c = 0; c < channels; ++c) sum[c] += x[c] * dy[c];
}

// Tieleman, Hinton, "Lecture 6.5: RMSProp", 2012; momentum and epsilon as in PyTorch.
void rmsprop(float* __restrict w, const float* __restrict gradient, float* __restrict square,
             float* __restrict velocity, std::int64_t count, const RmsProp& g) {
  const float rate = g.rate, alpha = g.alpha, epsilon = g.epsilon, momentum = g.momentum;
  const float decay = g.decay;
  for (std::int64_t i = 0; i < count; ++i) {
    const float slope = gradient[i] + decay * w[i];
    const float mean = alpha * square[i] + (1.0F - alpha) * slope * slope;
    square[i] = mean;
    float step = slope / (__builtin_sqrtf(mean) + epsilon);
    if (velocity) velocity[i] = step = momentum * velocity[i] + step;
    w[i] -= rate * step;
  }
}

}  // namespace

extern const LightKernels kLightKernels;
const LightKernels kLightKernels = {activate,
                                    activation_gradient,
                                    add,
                                    accumulate,
                                    scale,
                                    square_sum,
                                    average,
                                    sigmoid,
                                    gate,
                                    gate_sums,
                                    depthwise,
                                    depthwise_weights,
                                    depthwise_input,
                                    copy_channels,
                                    rmsprop};

}  // namespace brood::cnn::BROOD_SET
