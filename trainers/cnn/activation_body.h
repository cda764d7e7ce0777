// The curves of the activations and their slopes, for one number. Included by the light kernels of
// every set of the CPU and by the device's kernels, each inside a namespace of its own, so that all
// compute the same bits.
//
// Only + - * / and integer operations on bits are used. Nothing here may be compiled with
// contraction. Whoever includes it defines BROOD_ACTIVATION, what stands before a function, and
// includes <cstdint> before.

// e^x, relative error below 2e-7; x is kept within the normal numbers. NaN stays NaN. The constants
// are those of expf in S. Moshier's Cephes library: ln 2 in two parts, a polynomial of degree 6.
BROOD_ACTIVATION float exponential(float x) {
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

BROOD_ACTIVATION float sigmoid_of(float x) { return 1.0F / (1.0F + exponential(-x)); }

BROOD_ACTIVATION float tanh_of(float x) {
  const float s = x * x;
  // The first terms of the series, where the difference from 1 would lose them.
  const float small =
      x * (1.0F + s * (-1.0F / 3 + s * (2.0F / 15 + s * (-17.0F / 315 + s * (62.0F / 2835)))));
  const float large = 1.0F - 2.0F / (exponential(2.0F * x) + 1.0F);
  return s < 0.0625F ? small : large;
}

constexpr float kGelu = 1.5957691216F;  // 2 sqrt(2 / pi)
constexpr float kCube = 0.044715F;

BROOD_ACTIVATION float gelu_gate(float x) { return sigmoid_of(kGelu * (x + kCube * x * x * x)); }

BROOD_ACTIVATION float gelu_slope(float x) {
  // Beyond ten the gate is 0 or 1 and the squares need not be finite.
  x = x < -10.0F ? -10.0F : x;
  x = x > 10.0F ? 10.0F : x;
  const float s = gelu_gate(x);
  return s + x * s * (1.0F - s) * kGelu * (1.0F + 3.0F * kCube * x * x);
}

BROOD_ACTIVATION float silu_slope(float x) {
  const float s = sigmoid_of(x);
  return s + x * s * (1.0F - s);
}
