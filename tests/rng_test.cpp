// The generator's numbers are part of the numerics version: they are pinned here, against the known
// answers of Philox 4x32-10 too. Uniformity and independence of streams are checked with chi-square
// statistics under fixed seeds, so no test can fail by chance.
#include "engine/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace brood {
namespace {

TEST(Rng, GivesTheSameNumbersForEver) {
  Rng rng(42, 7, Purpose::propose);
  EXPECT_EQ(rng.bits(), 0x118e5b9f72537fa9U);
  EXPECT_EQ(rng.bits(), 0x66c66a0e7e7208d2U);
  EXPECT_EQ(rng.bits(), 0xee605103535b3f9bU);
}

// With the purpose's part of the key taken out, key, counter and block are 0: the first known
// answer of Random123's kat_vectors (philox4x32 10).
TEST(Rng, MatchesTheKnownAnswerOfPhilox) {
  Rng rng(static_cast<std::uint64_t>(Purpose::propose) * 0x9E3779B97F4A7C15U, 0, Purpose::propose);
  EXPECT_EQ(rng.bits(), 0xe169c58d6627e8d5U);
  EXPECT_EQ(rng.bits(), 0x9b00dbd8bc57ac4cU);
}

TEST(Rng, StreamsOfOtherSeedsTrialsPurposesAndPartsDiffer) {
  std::set<std::uint64_t> firsts;
  int streams = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    for (std::uint64_t trial : {0U, 1U, 2U, 1000000U})
      for (Purpose purpose : {Purpose::propose, Purpose::latent, Purpose::train}) {
        const Rng rng(seed, trial, purpose);
        Rng copy = rng;
        firsts.insert(copy.bits());
        ++streams;
        for (std::uint32_t part = 0; part < 4; ++part) {
          Rng split = rng.split(part);
          firsts.insert(split.bits());
          ++streams;
        }
      }
  EXPECT_EQ(firsts.size(), static_cast<std::size_t>(streams));
}

TEST(Rng, SplittingDoesNotDisturbTheStreamAndIsTheSameAtAnyTime) {
  Rng plain(1, 2, Purpose::propose);
  Rng used(1, 2, Purpose::propose);
  Rng early = used.split(3);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(used.bits(), plain.bits());
  Rng late = used.split(3);
  EXPECT_EQ(early.bits(), late.bits());
  EXPECT_EQ(used.bits(), plain.bits());
}

TEST(Rng, CopiesContinueIndependently) {
  Rng a(5, 6, Purpose::train);
  a.bits();
  Rng b = a;
  const std::uint64_t next = a.bits();
  EXPECT_EQ(b.bits(), next);
}

// Chi-square of `counts` against equal shares, in standard deviations from its mean.
double surprise(const std::vector<int>& counts) {
  double total = 0.0;
  for (int count : counts) total += count;
  const double share = total / static_cast<double>(counts.size());
  double chi = 0.0;
  for (int count : counts) chi += (count - share) * (count - share) / share;
  const double freedom = static_cast<double>(counts.size()) - 1.0;
  return (chi - freedom) / std::sqrt(2.0 * freedom);
}

TEST(Rng, UniformsFillTheUnitIntervalEvenly) {
  std::vector<int> counts(100);
  Rng rng(3, 0, Purpose::propose);
  for (int i = 0; i < 100000; ++i) {
    const double u = rng.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++counts[static_cast<std::size_t>(u * 100.0)];
  }
  EXPECT_LT(std::abs(surprise(counts)), 4.0);
}

TEST(Rng, FirstDrawsOfNeighbouringTrialsAreEvenAndPairwiseIndependent) {
  std::vector<int> pairs(100);
  double last = Rng(3, 99999, Purpose::propose).uniform();
  for (std::uint64_t trial = 100000; trial < 200000; ++trial) {
    const double u = Rng(3, trial, Purpose::propose).uniform();
    ++pairs[static_cast<std::size_t>(last * 10.0) * 10 + static_cast<std::size_t>(u * 10.0)];
    last = u;
  }
  EXPECT_LT(std::abs(surprise(pairs)), 4.0);
}

TEST(Rng, BelowIsEvenAndInRange) {
  for (const std::uint64_t n : {1U, 2U, 3U, 7U, 60U}) {
    std::vector<int> counts(n);
    Rng rng(n, 0, Purpose::shuffle);
    for (int i = 0; i < 60000; ++i) ++counts.at(rng.below(n));
    if (n > 1) {
      EXPECT_LT(std::abs(surprise(counts)), 4.0) << n;
    }
  }
  Rng rng(1, 1, Purpose::shuffle);
  const std::uint64_t large = (std::uint64_t{1} << 63) + 1;  // half of the draws are rejected
  for (int i = 0; i < 1000; ++i) EXPECT_LT(rng.below(large), large);
}

TEST(Rng, NormalsHaveTheMomentsOfANormal) {
  Rng rng(11, 0, Purpose::init);
  double sum = 0.0;
  double squares = 0.0;
  double fourths = 0.0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const double z = rng.normal();
    sum += z;
    squares += z * z;
    fourths += z * z * z * z;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.01);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.015);
  EXPECT_NEAR(fourths / kDraws, 3.0, 0.12);
}

TEST(Rng, ChanceIsNeverAtZeroAndAlwaysAtOne) {
  Rng rng(1, 0, Purpose::dropout);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(rng.chance(0.0));
    EXPECT_TRUE(rng.chance(1.0));
  }
}

}  // namespace
}  // namespace brood
