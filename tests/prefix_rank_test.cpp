// PrefixRank against a naive count, over every prefix of random lists with ties, NaN and
// infinities.
#include "engine/prefix_rank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/rng.h"

namespace brood {
namespace {

std::int64_t naive(const std::vector<double>& scores, double score, std::int64_t n) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double other = scores[static_cast<std::size_t>(i)];
    if (!std::isnan(other) && (std::isnan(score) || other > score)) ++count;
  }
  return count;
}

double draw(Rng& rng) {
  switch (rng.below(12)) {
    case 0:
      return std::numeric_limits<double>::quiet_NaN();
    case 1:
      return std::numeric_limits<double>::infinity();
    case 2:
      return -std::numeric_limits<double>::infinity();
    default:
      return static_cast<double>(rng.below(20)) - 10.0;
  }
}

TEST(PrefixRank, AgreesWithANaiveCountOnEveryPrefix) {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    Rng rng(seed, 0, Purpose::simulate);
    PrefixRank ranks;
    std::vector<double> scores;
    for (int i = 0; i < 600; ++i) {
      scores.push_back(draw(rng));
      ranks.append(scores.back());
    }
    for (std::int64_t n = 0; n <= ranks.size(); ++n) {
      const double score = draw(rng);
      EXPECT_EQ(ranks.better_than(score, n), naive(scores, score, n)) << n << " " << score;
    }
  }
}

TEST(PrefixRank, AgreesWhileTheListGrowsPastEveryRunLength) {
  Rng rng(9, 0, Purpose::simulate);
  PrefixRank ranks;
  std::vector<double> scores;
  for (std::int64_t i = 1; i <= 70000; ++i) {
    scores.push_back(rng.uniform());
    ranks.append(scores.back());
    if (i % 997 != 0 && i != 65536 && i != 65537) continue;
    for (const std::int64_t back : {0, 1, 16, 300}) {
      const double score = rng.uniform();
      EXPECT_EQ(ranks.better_than(score, i - back), naive(scores, score, i - back)) << i;
    }
  }
}

TEST(PrefixRank, NothingIsBetterThanInfinityAndAnythingIsBetterThanNaN) {
  PrefixRank ranks;
  EXPECT_EQ(ranks.better_than(0.0, 0), 0);
  for (int i = 0; i < 20; ++i) ranks.append(-std::numeric_limits<double>::infinity());
  for (int i = 0; i < 20; ++i) ranks.append(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(ranks.better_than(std::numeric_limits<double>::quiet_NaN(), 40), 20);
  EXPECT_EQ(ranks.better_than(-std::numeric_limits<double>::infinity(), 40), 0);
  EXPECT_EQ(ranks.size(), 40);
}

}  // namespace
}  // namespace brood
