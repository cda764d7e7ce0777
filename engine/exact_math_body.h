// The source of exact_math.h: included by exact_math.cpp, and by device code inside a namespace of
// its own, so that both compute the same bits.
//
// exp and log by reduction to a small interval and a Taylor series, the logarithm carried as an
// unevaluated sum of two doubles so that powers lose nothing (T. J. Dekker: "A floating-point
// technique for extending the available precision", 1971). The normal quantile is algorithm AS 241,
// PPND16 (M. J. Wichura: "The percentage points of the normal distribution", 1988).
//
// Only + - * / sqrt and integer operations on bits are used: IEEE 754 fixes their results. Nothing
// here may be compiled with contraction or -ffast-math. Tested by tests/exact_math_test.cpp.
//
// Whoever includes it defines BROOD_EXACT, what stands before a function, and includes <bit>,
// <cmath>, <cstdint> and <limits> before.

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// ln 2 in two parts; the first has 32 significant bits, so that its product with an exponent is
// exact.
constexpr double kLn2High = 0x1.62e42fee00000p-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kLog2E = 0x1.71547652b82fep+0;
constexpr double kSqrt2 = 0x1.6a09e667f3bcdp+0;

// high + low, where low is below half a unit in the last place of high.
struct Pair {
  double high = 0.0;
  double low = 0.0;
};

// Exact when |a| >= |b| or a is 0.
BROOD_EXACT Pair quick_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

// Exact unless a part overflows (|a| or |b| above 2^996) or the low part underflows.
BROOD_EXACT Pair product(double a, double b) {
  constexpr double kSplit = 134217729.0;  // 2^27 + 1
  const double a_scaled = kSplit * a;
  const double a_high = a_scaled - (a_scaled - a);
  const double a_low = a - a_high;
  const double b_scaled = kSplit * b;
  const double b_high = b_scaled - (b_scaled - b);
  const double b_low = b - b_high;
  const double high = a * b;
  return {high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low};
}

// 2^exponent for -1022 <= exponent <= 1023.
BROOD_EXACT double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

// exp(x + low) for |low| far below |x|, or x = 0.
BROOD_EXACT double exp_of_sum(double x, double low) {
  if (x > 709.8) return kInfinity;
  if (x < -745.2) return 0.0;
  const int k = static_cast<int>(x * kLog2E + (x < 0 ? -0.5 : 0.5));
  // r + rest = x + low - k ln 2, with |r| below 0.35.
  const double high = x - k * kLn2High;
  const double minus = k * kLn2Low - low;
  const double r = high - minus;
  const double rest = (high - r) - minus;
  double series = 0.0;  // (exp(r) - 1 - r) / r^2
  constexpr double kInverseFactorial[] = {1.0 / 2,
                                          1.0 / 6,
                                          1.0 / 24,
                                          1.0 / 120,
                                          1.0 / 720,
                                          1.0 / 5040,
                                          1.0 / 40320,
                                          1.0 / 362880,
                                          1.0 / 3628800,
                                          1.0 / 39916800,
                                          1.0 / 479001600,
                                          1.0 / 6227020800.0,
                                          1.0 / 87178291200.0};
  for (int i = 12; i >= 0; --i) series = series * r + kInverseFactorial[i];
  const double y = 1.0 + (r + (r * r * series + rest * (1.0 + r)));
  // In two steps, so that results below the normal range are rounded once.
  const int half = k / 2;
  return y * power_of_two(half) * power_of_two(k - half);
}

// log(x) for a positive, finite x, relative error about 2^-60.
BROOD_EXACT Pair log_pair(double x) {
  int k = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    k = -54;
  }
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  k += static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFFU) | 0x3FF0000000000000U);
  if (m > kSqrt2) {
    m *= 0.5;
    ++k;
  }
  // log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| below 0.172; s in two parts.
  const double numerator = m - 1.0;  // exact
  const Pair denominator = quick_sum(m < 1.0 ? 1.0 : m, m < 1.0 ? m : 1.0);
  const double s = numerator / denominator.high;
  const Pair back = product(s, denominator.high);
  const double s_low =
      (((numerator - back.high) - back.low) - s * denominator.low) / denominator.high;
  const double square = s * s;
  double series = 0.0;  // 1/3 + s^2/5 + s^4/7 + ...
  for (int i = 27; i >= 3; i -= 2) series = series * square + 1.0 / i;
  const double tail = 2.0 * s * square * series + 2.0 * s_low;
  // k ln 2 + 2 s + tail, largest first.
  if (k == 0) return quick_sum(2.0 * s, tail);
  const Pair sum = quick_sum(k * kLn2High, 2.0 * s);
  return quick_sum(sum.high, sum.low + (k * kLn2Low + tail));
}

// x^n for 0 <= n: the product in two parts, so that what a double can hold comes out exact. NaN
// when a part overflows.
BROOD_EXACT double whole_power(double x, int n) {
  Pair power{1.0, 0.0};
  for (int i = 0; i < n; ++i) {
    const Pair next = product(power.high, x);
    power = quick_sum(next.high, next.low + power.low * x);
  }
  return power.high;
}

// Coefficients are given from the constant upwards.
template <int N>
BROOD_EXACT double polynomial(const double (&coefficients)[N], double x) {
  double sum = 0.0;
  for (int i = N - 1; i >= 0; --i) sum = sum * x + coefficients[i];
  return sum;
}

}  // namespace

BROOD_EXACT double exp(double x) { return x != x ? x : exp_of_sum(x, 0.0); }

BROOD_EXACT double log(double x) {
  if (x != x || x < 0) return kNaN;
  if (x == 0) return -kInfinity;
  if (x == kInfinity) return x;
  return log_pair(x).high;
}

BROOD_EXACT double pow(double x, double y) {
  if (y == 0 || x == 1) return 1.0;
  if (x != x || y != y || x < 0) return kNaN;
  const bool grows = (x > 1) == (y > 0);
  if (x == 0 || x == kInfinity || y == kInfinity || y == -kInfinity) return grows ? kInfinity : 0.0;
  if (y > -65 && y < 65 && y == static_cast<int>(y)) {
    const int n = static_cast<int>(y);
    const double power = whole_power(x, n < 0 ? -n : n);
    if (power > 1e-250 && power < 1e250) return n < 0 ? 1.0 / power : power;
  }
  const Pair logarithm = log_pair(x);
  if (y > 1e19 || y < -1e19) return grows ? kInfinity : 0.0;  // |log x| is above 1e-16
  const Pair exponent = product(logarithm.high, y);
  const Pair sum = quick_sum(exponent.high, exponent.low + logarithm.low * y);
  return exp_of_sum(sum.high, sum.low);
}

BROOD_EXACT double normal_quantile(double p) {
  if (p != p || p < 0 || p > 1) return kNaN;
  if (p == 0 || p == 1) return p == 0 ? -kInfinity : kInfinity;
  constexpr double kA[] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                           1.9715909503065514427e+3, 1.3731693765509461125e+4,
                           4.5921953931549871457e+4, 6.7265770927008700853e+4,
                           3.3430575583588128105e+4, 2.5090809287301226727e+3};
  constexpr double kB[] = {1.0,
                           4.2313330701600911252e+1,
                           6.8718700749205790830e+2,
                           5.3941960214247511077e+3,
                           2.1213794301586595867e+4,
                           3.9307895800092710610e+4,
                           2.8729085735721942674e+4,
                           5.2264952788528545610e+3};
  constexpr double kC[] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                           5.76949722146069140550e0,  3.64784832476320460504e0,
                           1.27045825245236838258e0,  2.41780725177450611770e-1,
                           2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr double kD[] = {1.0,
                           2.05319162663775882187e0,
                           1.67638483018380384940e0,
                           6.89767334985100004550e-1,
                           1.48103976427480074590e-1,
                           1.51986665636164571966e-2,
                           5.47593808499534494600e-4,
                           1.05075007164441684324e-9};
  constexpr double kE[] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                           1.78482653991729133580e0,  2.96560571828504891230e-1,
                           2.65321895265761230930e-2, 1.24266094738807843860e-3,
                           2.71155556874348757815e-5, 2.01033439929228813265e-7};
  constexpr double kF[] = {1.0,
                           5.99832206555887937690e-1,
                           1.36929880922735805310e-1,
                           1.48753612908506148525e-2,
                           7.86869131145613259100e-4,
                           1.84631831751005468180e-5,
                           1.42151175831644588870e-7,
                           2.04426310338993978564e-15};
  const double q = p - 0.5;
  if (q >= -0.425 && q <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * polynomial(kA, r) / polynomial(kB, r);
  }
  const double r = std::sqrt(-log(q < 0 ? p : 1.0 - p));
  const double quantile = r <= 5.0 ? polynomial(kC, r - 1.6) / polynomial(kD, r - 1.6)
                                   : polynomial(kE, r - 5.0) / polynomial(kF, r - 5.0);
  return q < 0 ? -quantile : quantile;
}
