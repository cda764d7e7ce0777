#include "engine/rng.h"

#include <Random123/philox.h>

#include "engine/error.h"
#include "engine/exact_math.h"

namespace brood {

Rng::Rng(std::uint64_t seed, std::uint64_t trial, Purpose purpose) {
  // The purpose is folded into the key so that the counter has room for trial, part and block.
  const std::uint64_t mixed = seed ^ (static_cast<std::uint64_t>(purpose) * 0x9E3779B97F4A7C15U);
  key_ = {static_cast<std::uint32_t>(mixed), static_cast<std::uint32_t>(mixed >> 32)};
  counter_ = {0, 0, static_cast<std::uint32_t>(trial), static_cast<std::uint32_t>(trial >> 32)};
}

void Rng::refill() {
  r123::Philox4x32 philox;
  r123::Philox4x32::ctr_type counter = {{counter_[0], counter_[1], counter_[2], counter_[3]}};
  const auto out = philox(counter, {{key_[0], key_[1]}});
  block_ = {(static_cast<std::uint64_t>(out[1]) << 32) | out[0],
            (static_cast<std::uint64_t>(out[3]) << 32) | out[2]};
  ++counter_[0];
  used_ = 0;
}

std::uint64_t Rng::bits() {
  if (used_ == 2) refill();
  return block_[static_cast<std::size_t>(used_++)];
}

double Rng::uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

std::uint64_t Rng::below(std::uint64_t n) {
  CHECK(n > 0, "a draw from nothing");
  // Rejection of the incomplete last run: at most one retry in two on average, unbiased.
  const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % n + 1) % n;
  std::uint64_t drawn = bits();
  while (drawn > limit) drawn = bits();
  return drawn % n;
}

double Rng::normal() {
  // The centre of one of 2^53 cells of (0, 1): never 0 or 1.
  return exact::normal_quantile((static_cast<double>(bits() >> 11) + 0.5) * 0x1.0p-53);
}

Rng Rng::split(std::uint32_t index) const {
  Rng part = *this;
  part.counter_[0] = 0;
  part.counter_[1] = index + 1;
  part.used_ = 2;
  return part;
}

}  // namespace brood
