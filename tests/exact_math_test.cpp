// exp, log, pow and the normal quantile against values computed with 80 decimal digits (Python's
// decimal module: its exp and ln; the quantile by Newton steps on the series and the continued
// fraction of the distribution function), and loosely against the long double C library on many
// random arguments. Errors are counted in units in the last place.
#include "engine/exact_math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "engine/rng.h"

namespace brood {
namespace {

// Doubles in order, so that neighbours differ by 1.
std::int64_t place(double x) {
  const auto bits = std::bit_cast<std::int64_t>(x);
  return bits < 0 ? std::numeric_limits<std::int64_t>::min() - bits : bits;
}

double ulps(double a, double b) {
  const std::int64_t apart = place(a) - place(b);  // results of like sign: no overflow
  return static_cast<double>(apart < 0 ? -apart : apart);
}

struct Row {
  double x, y;
};
struct PowRow {
  double x, y, power;
};

constexpr Row kExp[] = {
    {0x0.0p+0, 0x1.0000000000000p+0},
    {0x1.0000000000000p+0, 0x1.5bf0a8b145769p+1},
    {-0x1.0000000000000p+0, 0x1.78b56362cef38p-2},
    {0x1.0000000000000p-1, 0x1.a61298e1e069cp+0},
    {0x1.56e1fc2f8f359p-997, 0x1.0000000000000p+0},
    {0x1.b7cdfd9d7bdbbp-34, 0x1.000000006df38p+0},
    {-0x1.70ef54646d497p-57, 0x1.0000000000000p+0},
    {0x1.62e42fefa39efp-2, 0x1.6a09e667f3bccp+0},
    {0x1.62e42fefa39f0p-2, 0x1.6a09e667f3bcdp+0},
    {-0x1.6666666666666p-2, 0x1.68cce09671f71p-1},
    {0x1.0000000000000p+1, 0x1.d8e64b8d4ddaep+2},
    {0x1.4000000000000p+3, 0x1.5829dcf950560p+14},
    {-0x1.4000000000000p+3, 0x1.7cd79b5647c9bp-15},
    {0x1.0a66666666666p+5, 0x1.078401f5a3ec8p+48},
    {-0x1.0a66666666666p+5, 0x1.f165bb9b59d94p-49},
    {0x1.9100000000000p+6, 0x1.8c39b9134bac4p+144},
    {-0x1.9100000000000p+6, 0x1.4acd31e167ebbp-145},
    {0x1.f41999999999ap+8, 0x1.67fbf757a9d27p+721},
    {-0x1.f41999999999ap+8, 0x1.6c1ad5dabd5b0p-722},
    {0x1.62e3d70a3d70ap+9, 0x1.fe9ce5c4c52b4p+1023},
    {0x1.6280000000000p+9, 0x1.d422d2be5dc9bp+1022},
    {-0x1.6200000000000p+9, 0x1.7c8ab2288c9abp-1022},
    {-0x1.6340000000000p+9, 0x0.1f3c9d0fbe022p-1022},
    {-0x1.7220000000000p+9, 0x0.0000000000042p-1022},
    {-0x1.7480000000000p+9, 0x0.0000000000001p-1022},
};
constexpr Row kLog[] = {
    {0x1.0000000000000p+0, 0x0.0p+0},
    {0x1.0000000000000p+1, 0x1.62e42fefa39efp-1},
    {0x1.0000000000000p-1, -0x1.62e42fefa39efp-1},
    {0x1.4000000000000p+3, 0x1.26bb1bbb55516p+1},
    {0x1.999999999999ap-4, -0x1.26bb1bbb55515p+1},
    {0x1.8000000000000p+1, 0x1.193ea7aad030bp+0},
    {0x1.0000000000001p+0, 0x1.fffffffffffffp-53},
    {0x1.fffffffffffffp-1, -0x1.0000000000000p-53},
    {0x1.fae147ae147aep-1, -0x1.495453e6fd4bcp-7},
    {0x1.028f5c28f5c29p+0, 0x1.460d6ccca367cp-7},
    {0x1.6a09e667f3bcdp+0, 0x1.62e42fefa39f0p-2},
    {0x1.6a09e667f3bccp+0, 0x1.62e42fefa39eep-2},
    {0x1.6a09e667f3bccp-1, -0x1.62e42fefa39f1p-2},
    {0x1.6a09e667f3bccp-1, -0x1.62e42fefa39f1p-2},
    {0x1.4f8b588e368f1p-17, -0x1.7069e2aa2aa5bp+3},
    {0x1.3a92a30553261p-12, -0x1.039346c5fb4b4p+3},
    {0x1.3333333333333p-2, -0x1.34378fcbda721p+0},
    {0x1.7e43c8800759cp+996, 0x1.5963447f87fb5p+9},
    {0x1.56e1fc2f8f359p-997, -0x1.5963447f87fb5p+9},
    {0x0.0000000000001p-1022, -0x1.74385446d71c3p+9},
    {0x0.02e055c9a3f6cp-1022, -0x1.64714a9115cd0p+9},
    {0x1.fffffffffffffp+1023, 0x1.62e42fefa39efp+9},
    {0x1.e240c9fbe76c9p+16, 0x1.77281cad8a844p+3},
    {0x1.fde9f10a8d361p+78, 0x1.b6094e92cca28p+5},
};
constexpr PowRow kPow[] = {
    {0x1.4000000000000p+3, 0x1.8000000000000p+1, 0x1.f400000000000p+9},
    {0x1.0000000000000p+1, 0x1.4000000000000p+3, 0x1.0000000000000p+10},
    {0x1.8000000000000p+1, 0x1.e000000000000p+4, 0x1.76838794f1720p+47},
    {0x1.4000000000000p+3, 0x1.6000000000000p+4, 0x1.0f0cf064dd592p+73},
    {0x1.4000000000000p+3, -0x1.4000000000000p+2, 0x1.4f8b588e368f1p-17},
    {0x1.0000000000000p-1, 0x1.0000000000000p-1, 0x1.6a09e667f3bcdp-1},
    {0x1.0000000000000p+1, 0x1.0000000000000p-1, 0x1.6a09e667f3bcdp+0},
    {0x1.199999999999ap+0, 0x1.9000000000000p+6, 0x1.aea4e6126bb95p+13},
    {0x1.ccccccccccccdp-1, 0x1.f400000000000p+9, 0x1.fee7413dac341p-153},
    {0x1.0624dd2f1a9fcp-10, 0x1.5555555555555p-2, 0x1.999999999999bp-4},
    {0x1.86a0000000000p+16, 0x1.ea66666666666p+5, 0x1.2034f7a0b6274p+1018},
    {0x1.d000000000000p+2, -0x1.2cb3333333333p+8, 0x1.8566cb12c15b1p-860},
    {0x1.ffffde7210be9p-1, 0x1.e240800000000p+16, 0x1.c4894d6679db1p-1},
    {0x1.000001ad7f29bp+0, -0x1.dcd6500000000p+29, 0x1.a8c27add6c55dp-145},
    {0x1.2c00000000000p+8, 0x1.0000000000000p+6, 0x1.902655e88ed79p+526},
    {0x1.87e92154ef7acp-665, 0x1.8000000000000p+0, 0x1.56e1fc2f8f359p-997},
    {0x1.4e718d7d7625ap+664, 0x1.8000000000000p+0, 0x1.7e43c8800759bp+996},
    {0x1.edd2f1a9fbe77p+6, 0x1.c000000000000p+2, 0x1.8d8b5a7ac60bep+48},
    {0x1.47ae147ae147bp-7, 0x1.f800000000000p+5, 0x1.5a956e225d67ap-419},
};
constexpr Row kQuantile[] = {
    {0x1.0000000000000p-1, 0x0.0p+0},
    {0x1.0000000000000p-2, -0x1.5956b87528a49p-1},
    {0x1.8000000000000p-1, 0x1.5956b87528a49p-1},
    {0x1.3333333333333p-4, -0x1.7085226d3e524p+0},
    {0x1.33334e0b25cdfp-4, -0x1.708516931eed3p+0},
    {0x1.d99999999999ap-1, 0x1.7085226d3e525p+0},
    {0x1.47ae147ae147bp-7, -0x1.29c5c4630ff0fp+1},
    {0x1.fae147ae147aep-1, 0x1.29c5c4630ff0ep+1},
    {0x1.0624dd2f1a9fcp-10, -0x1.8b8cbb7204471p+1},
    {0x1.4f8b588e368f1p-17, -0x1.10f3f8843a3d9p+2},
    {0x1.3333333333333p-2, -0x1.0c7e39582c5fbp-1},
    {0x1.3333333333333p-1, 0x1.036d6c4a04b59p-2},
    {0x1.ffffde7210be9p-1, 0x1.30381a97985efp+2},
    {0x1.b7cdfd9d7bdbbp-34, -0x1.97203597a2155p+2},
    {0x1.c965971ea9c5cp-37, -0x1.aaba256709820p+2},
    {0x1.ec94ca210599ep-37, -0x1.aa07c04a264fbp+2},
    {0x1.79ca10c924223p-67, -0x1.2865170b43a4cp+3},
    {0x1.bff2ee48e0530p-333, -0x1.546010d755221p+4},
    {0x1.56e1fc2f8f359p-997, -0x1.286074064c26ep+5},
    {0x1.0000000000000p-54, -0x1.095b059d67c4cp+3},
    {0x1.fffffffffffffp-1, 0x1.06b48528cea52p+3},
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(ExactMath, ExpIsWithinOneUlpOfTheHighPrecisionTable) {
  for (const Row& row : kExp) EXPECT_LE(ulps(exact::exp(row.x), row.y), 1.0) << row.x;
}

TEST(ExactMath, LogIsWithinOneUlpOfTheHighPrecisionTable) {
  for (const Row& row : kLog) EXPECT_LE(ulps(exact::log(row.x), row.y), 1.0) << row.x;
}

TEST(ExactMath, PowIsWithinAFewUlpsOfTheHighPrecisionTable) {
  for (const PowRow& row : kPow)
    EXPECT_LE(ulps(exact::pow(row.x, row.y), row.power), 4.0) << row.x << " ^ " << row.y;
}

TEST(ExactMath, QuantileIsWithinItsRelativeErrorOfTheTable) {
  for (const Row& row : kQuantile)
    EXPECT_LE(std::abs(exact::normal_quantile(row.x) - row.y), 4e-15 * std::abs(row.y)) << row.x;
}

TEST(ExactMath, AgreesWithLongDoubleOnRandomArguments) {
  Rng rng(1, 0, Purpose::simulate);
  double worst_exp = 0.0;
  double worst_log = 0.0;
  double worst_pow = 0.0;
  for (int i = 0; i < 200000; ++i) {
    const double x = -700.0 + 1400.0 * rng.uniform();
    worst_exp = std::max(
        worst_exp, ulps(exact::exp(x), static_cast<double>(std::exp(static_cast<long double>(x)))));
    const double positive = std::ldexp(1.0 + rng.uniform(), static_cast<int>(rng.below(600)) - 300);
    worst_log = std::max(worst_log,
                         ulps(exact::log(positive),
                              static_cast<double>(std::log(static_cast<long double>(positive)))));
    const double base = 3.0 * rng.uniform();
    const double power = -20.0 + 40.0 * rng.uniform();
    worst_pow =
        std::max(worst_pow, ulps(exact::pow(base, power),
                                 static_cast<double>(std::pow(static_cast<long double>(base),
                                                              static_cast<long double>(power)))));
  }
  EXPECT_LE(worst_exp, 1.0);
  EXPECT_LE(worst_log, 1.0);
  EXPECT_LE(worst_pow, 2.0);
}

TEST(ExactMath, SmallWholePowersThatADoubleHoldsAreExact) {
  EXPECT_EQ(exact::pow(10.0, 22.0), 1e22);
  EXPECT_EQ(exact::pow(3.0, 33.0), 5559060566555523.0);
  EXPECT_EQ(exact::pow(2.0, 1000.0), 0x1p1000);
  EXPECT_EQ(exact::pow(2.0, -1074.0), 0x1p-1074);
  EXPECT_EQ(exact::pow(0.1, 1.0), 0.1);
  EXPECT_EQ(exact::pow(1.5, -2.0), 1.0 / 2.25);
}

TEST(ExactMath, TheEdgesAreThoseOfTheCLibrary) {
  EXPECT_EQ(exact::exp(0.0), 1.0);
  EXPECT_EQ(exact::exp(800.0), kInfinity);
  EXPECT_EQ(exact::exp(kInfinity), kInfinity);
  EXPECT_EQ(exact::exp(-800.0), 0.0);
  EXPECT_EQ(exact::exp(-kInfinity), 0.0);
  EXPECT_EQ(exact::log(1.0), 0.0);
  EXPECT_EQ(exact::log(0.0), -kInfinity);
  EXPECT_EQ(exact::log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(exact::log(-1.0)));
  EXPECT_TRUE(std::isnan(exact::exp(std::nan(""))));
  EXPECT_EQ(exact::pow(0.0, 0.0), 1.0);
  EXPECT_EQ(exact::pow(0.0, 2.0), 0.0);
  EXPECT_EQ(exact::pow(0.0, -2.0), kInfinity);
  EXPECT_EQ(exact::pow(2.0, 1e300), kInfinity);
  EXPECT_EQ(exact::pow(0.5, 1e300), 0.0);
  EXPECT_EQ(exact::pow(10.0, 400.0), kInfinity);
  EXPECT_EQ(exact::pow(0.5, kInfinity), 0.0);
  EXPECT_TRUE(std::isnan(exact::pow(-2.0, 2.0)));
  EXPECT_EQ(exact::normal_quantile(0.0), -kInfinity);
  EXPECT_EQ(exact::normal_quantile(1.0), kInfinity);
  EXPECT_TRUE(std::isnan(exact::normal_quantile(1.5)));
}

TEST(ExactMath, TheQuantileGrowsAndIsOdd) {
  double before = -kInfinity;
  for (int i = 1; i < 4096; ++i) {
    const double p = i / 4096.0;  // 1 - p is exact
    const double z = exact::normal_quantile(p);
    EXPECT_GT(z, before);
    EXPECT_EQ(z, -exact::normal_quantile(1.0 - p));
    before = z;
  }
}

}  // namespace
}  // namespace brood
