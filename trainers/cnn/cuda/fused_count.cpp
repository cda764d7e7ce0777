#include "trainers/cnn/cuda/fused_count.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace brood::cnn::cuda {

namespace {

double median(std::vector<double> of) {
  const auto middle = of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2);
  std::nth_element(of.begin(), middle, of.end());
  return *middle;
}

}  // namespace

void FusedCount::measure(int trials) {
  wanted_ = trials;
  fresh_ = true;
  now_.clear();
  seconds_ = 0.0;
}

// Whether as many as are wanted do enough more than the next fewer.
bool FusedCount::pays(double rate) const {
  const auto at = rates_.lower_bound(wanted_);
  if (again_ || at == rates_.begin()) return true;
  const auto& [fewer, before] = *std::prev(at);
  // The last step may be less than a doubling, and has less to gain.
  const double share = static_cast<double>(wanted_ - fewer) / static_cast<double>(fewer);
  return rate >= (1.0 + (kGain - 1.0) * share) * before;
}

void FusedCount::measured(int trials, std::int64_t images, double seconds) {
  if (trials != wanted_ || (settled_ && wanted_ == most_)) return;
  if (settled_) {
    seconds_ += seconds;
    if (seconds_ < again_after_) return;
    again_after_ *= kAgainLonger;
    settled_ = false;
    again_ = true;
    return measure(wanted_);
  }
  if (std::exchange(fresh_, false)) return;  // a graph was made for it
  now_.push_back(static_cast<double>(images) / std::max(seconds, 1e-9));
  seconds_ += seconds;
  if (static_cast<int>(now_.size()) < kTurns || seconds_ < kSeconds) return;
  const double rate = median(now_);
  if (pays(rate)) {
    rates_[wanted_] = rate;
    again_ = false;
    settled_ = wanted_ == most_;
    return measure(std::min(2 * wanted_, most_));
  }
  settled_ = true;
  measure(std::prev(rates_.lower_bound(wanted_))->first);
}

}  // namespace brood::cnn::cuda
