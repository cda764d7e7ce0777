// An append-only list of scores that answers: how many of the first n are strictly better than v?
#pragma once

#include <cstdint>
#include <vector>

namespace brood {

// Greater is better; NaN is worse than everything, also than minus infinity.
//
// Sorted copies of the list in runs of 16, 256, 4096, ...: a prefix is made of at most 15 runs of
// each length and at most 15 single scores. A query costs O(log^2 n), an append O(log^2 n) on
// average; a million scores take 48 MB.
class PrefixRank {
 public:
  void append(double score);
  std::int64_t size() const { return static_cast<std::int64_t>(scores_.size()); }

  // 0 <= first_n <= size().
  std::int64_t better_than(double score, std::int64_t first_n) const;

 private:
  std::vector<double> scores_;               // as appended
  std::vector<std::vector<double>> levels_;  // [i]: full runs of 16^(i+1), each best first
};

}  // namespace brood
