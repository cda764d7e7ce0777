// A merge-sort tree of fan-out 16, kept as one array a level (J. L. Bentley and J. B. Saxe:
// "Decomposable searching problems I: static-to-dynamic transformation", 1980). The fan-out trades
// queries for memory: with 2 a million scores would take 160 MB. Tested by
// tests/prefix_rank_test.cpp.
#include "engine/prefix_rank.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "engine/error.h"

namespace brood {

namespace {

constexpr std::size_t kFanOut = 16;

bool better(double a, double b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

}  // namespace

void PrefixRank::append(double score) {
  scores_.push_back(score);
  std::size_t run = kFanOut;
  for (std::size_t level = 0; scores_.size() % run == 0; ++level, run *= kFanOut) {
    if (level == levels_.size()) levels_.emplace_back();
    std::vector<double>& sorted = levels_[level];
    const std::vector<double>& below = level == 0 ? scores_ : levels_[level - 1];
    const auto length = static_cast<std::ptrdiff_t>(run);
    sorted.insert(sorted.end(), below.end() - length, below.end());
    std::sort(sorted.end() - length, sorted.end(), better);
  }
}

std::int64_t PrefixRank::better_than(double score, std::int64_t first_n) const {
  CHECK(first_n >= 0 && first_n <= size(), "a prefix longer than the list");
  const auto is_better = [score](double other) { return better(other, score); };
  std::int64_t count = 0;
  std::int64_t begin = 0;  // of what is not counted yet
  std::int64_t run = 1;
  for (std::size_t i = 0; i < levels_.size(); ++i) run *= static_cast<std::int64_t>(kFanOut);
  for (std::size_t level = levels_.size(); level-- > 0; run /= static_cast<std::int64_t>(kFanOut)) {
    for (; begin + run <= first_n; begin += run) {
      const auto first = levels_[level].begin() + begin;
      count += std::partition_point(first, first + run, is_better) - first;
    }
  }
  return count + std::count_if(scores_.begin() + begin, scores_.begin() + first_n, is_better);
}

}  // namespace brood
