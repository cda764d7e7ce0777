// The engine's random streams and exact functions (engine/rng.h, engine/exact_math.h) as device
// code: the same words and bits.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "trainers/cnn/cuda/device.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

#undef BROOD_EXACT
#define BROOD_EXACT BROOD_DEVICE

namespace exact {
#include "engine/exact_math_body.h"
}  // namespace exact

struct PhiloxBlock {
  std::uint32_t word[4];
};

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011).
BROOD_DEVICE PhiloxBlock philox(PhiloxBlock counter, std::uint64_t key) {
  auto key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32U);
  std::uint32_t a = counter.word[0], b = counter.word[1], c = counter.word[2], d = counter.word[3];
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p = std::uint64_t{0xD2511F53U} * a;
    const std::uint64_t q = std::uint64_t{0xCD9E8D57U} * c;
    a = static_cast<std::uint32_t>(q >> 32U) ^ b ^ key0;
    b = static_cast<std::uint32_t>(q);
    c = static_cast<std::uint32_t>(p >> 32U) ^ d ^ key1;
    d = static_cast<std::uint32_t>(p);
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return {{a, b, c, d}};
}

// As Rng of engine/rng.h, with the purposes as numbers.
class Stream {
 public:
  BROOD_DEVICE Stream(std::uint64_t seed, std::uint64_t trial, std::uint32_t purpose)
      : key_(seed ^ (std::uint64_t{purpose} * 0x9E3779B97F4A7C15U)), trial_(trial) {}

  BROOD_DEVICE Stream split(std::uint32_t index) const {
    Stream part = *this;
    part.block_ = 0;
    part.part_ = index + 1;
    part.used_ = 2;
    return part;
  }

  BROOD_DEVICE std::uint64_t bits() {
    if (used_ == 2) {
      words_ = philox({{block_, part_, static_cast<std::uint32_t>(trial_),
                        static_cast<std::uint32_t>(trial_ >> 32U)}},
                      key_);
      ++block_;
      used_ = 0;
    }
    const int first = 2 * used_++;
    return first == 0 ? pair(words_.word[1], words_.word[0]) : pair(words_.word[3], words_.word[2]);
  }

  BROOD_DEVICE double uniform() { return static_cast<double>(bits() >> 11U) * 0x1.0p-53; }

  BROOD_DEVICE std::uint64_t below(std::uint64_t n) {
    const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % n + 1) % n;
    std::uint64_t drawn = bits();
    while (drawn > limit) drawn = bits();
    return drawn % n;
  }

  BROOD_DEVICE double normal() {
    return exact::normal_quantile((static_cast<double>(bits() >> 11U) + 0.5) * 0x1.0p-53);
  }

 private:
  BROOD_DEVICE static std::uint64_t pair(std::uint32_t high, std::uint32_t low) {
    return (std::uint64_t{high} << 32U) | low;
  }

  std::uint64_t key_, trial_;
  std::uint32_t block_ = 0, part_ = 0;
  PhiloxBlock words_{};
  int used_ = 2;
};

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
