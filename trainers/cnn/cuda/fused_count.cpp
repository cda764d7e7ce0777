#include "trainers/cnn/cuda/fused_count.h"

#include <algorithm>
#include <iterator>

namespace brood::cnn::cuda {

void FusedCount::measured(int trials, std::int64_t images, double seconds) {
  if (settled_ || trials != wanted_) return;
  Work& now = work_[wanted_];
  if (now.turns++ == 0) return;  // a graph was made for it
  now.images += images;
  now.seconds += seconds;
  if (now.turns <= kTurns || now.seconds < kSeconds) return;
  const auto before = work_.lower_bound(wanted_);
  if (before != work_.begin()) {
    const auto& [fewer, work] = *std::prev(before);
    // The last step may be less than a doubling, and has less to gain.
    const double share = static_cast<double>(wanted_ - fewer) / static_cast<double>(fewer);
    if (now.rate() < (1.0 + (kGain - 1.0) * share) * work.rate()) {
      wanted_ = fewer;
      settled_ = true;
      return;
    }
  }
  settled_ = wanted_ == most_;
  wanted_ = std::min(2 * wanted_, most_);
}

}  // namespace brood::cnn::cuda
