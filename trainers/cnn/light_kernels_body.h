// The source of the light kernels of every set. Included once by each light_kernels_<set>.cpp,
// which defines BROOD_SET. As in kernels_body.h, nothing is shared with the rest of the program.
// Loops are plain; the compiler makes vectors of them. Depthwise convolution has a file of its own.
#include "trainers/cnn/light_kernels.h"
#include "trainers/cnn/light_kernels_depthwise.h"

namespace brood::cnn::BROOD_SET {
namespace {

// e^x, relative error below 2e-7; x is kept within the normal numbers. NaN stays NaN. The constants
// are those of expf in S. Moshier's Cephes library: ln 2 in two parts, a polynomial of degree 6.
inline float exponential(float x) {
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  const float shifted = x * 1.44269504F + kRounder;
  const float whole = shifted - kRounder;
  const float r = (x - whole * 0.693359375F) - whole * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const std::uint32_t bits = (__builtin_bit_cast(std::uint32_t, shifted) + 127U) << 23U;
  return p * __builtin_bit_cast(float, bits);
}

inline float sigmoid_of(float x) { return 1.0F / (1.0F + exponential(-x)); }

inline float tanh_of(float x) {
  const float s = x * x;
  // The first terms of the series, where the difference from 1 would lose them.
  const float small =
      x * (1.0F + s * (-1.0F / 3 + s * (2.0F / 15 + s * (-17.0F / 315 + s * (62.0F / 2835)))));
  const float large = 1.0F - 2.0F / (exponential(2.0F * x) + 1.0F);
  return s < 0.0625F ? small : large;
}

constexpr float kGelu = 1.5957691216F;  // 2 sqrt(2 / pi)
constexpr float kCube = 0.044715F;

inline float gelu_gate(float x) { return sigmoid_of(kGelu * (x + kCube * x * x * x)); }

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

inline float gelu_slope(float x) {
  // Beyond ten the gate is 0 or 1 and the squares need not be finite.
  x = x < -10.0F ? -10.0F : x;
  x = x > 10.0F ? 10.0F : x;
  const float s = gelu_gate(x);
  return s + x * s * (1.0F - s) * kGelu * (1.0F + 3.0F * kCube * x * x);
}

inline float silu_slope(float x) {
  const float s = sigmoid_of(x);
  return s + x * s * (1.0F - s);
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
