// D. Golovin et al.: "Google Vizier: a service for black-box optimization", KDD 2017, section
// 3.2.2: stop a trial at epoch e when its best value so far is strictly worse than the median of
// the other trials' running averages up to e.
//
// Of an even number of peers the worse of the two middle ones counts as the median. Tested by
// tests/stoppers_test.cpp.
#include "strategies/median.h"

#include <algorithm>
#include <limits>

namespace brood {

namespace {

class Median final : public Stopper {
 public:
  explicit Median(const Settings& settings)
      : min_epochs_(settings.whole("min_epochs")), min_trials_(settings.whole("min_trials")) {}

  bool judges(int epoch) const override { return epoch >= min_epochs_; }

  // The running average.
  double score(const std::vector<double>& values) const override {
    double sum = 0.0;
    for (double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  }

  Verdict judge(const std::vector<double>& values, const Peers& peers) const override {
    if (peers.size() < min_trials_) return Verdict::proceed;
    double best = -std::numeric_limits<double>::infinity();
    for (double value : values) best = std::max(best, value);  // passes over NaN
    return 2 * peers.better_than(best) > peers.size() ? Verdict::stop : Verdict::proceed;
  }

 private:
  const int min_epochs_;
  const int min_trials_;
};

}  // namespace

std::vector<Setting> median_settings() {
  return {{.path = "min_epochs", .fallback = 1, .min = 1, .max = 1000000},
          {.path = "min_trials", .fallback = 5, .min = 1, .max = 1000000}};
}

std::unique_ptr<Stopper> make_median(const Settings& settings) {
  return std::make_unique<Median>(settings);
}

}  // namespace brood
