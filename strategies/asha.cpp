// L. Li et al.: "A system for massively parallel hyperparameter tuning", MLSys 2020, in the
// stopping variant of Ray Tune and Syne Tune: trials are never paused; at epochs r, r eta, r eta^2,
// ... a trial goes on when it is among the best 1/eta of those that came that far, itself included.
//
// While a rung holds fewer than eta trials, only the best of it goes on. Tested by
// tests/stoppers_test.cpp.
#include "strategies/asha.h"

#include <algorithm>

namespace brood {

namespace {

class Asha final : public Stopper {
 public:
  explicit Asha(const Settings& settings)
      : min_epochs_(settings.whole("min_epochs")),
        reduction_factor_(settings.whole("reduction_factor")) {}

  bool judges(int epoch) const override {
    std::int64_t rung = min_epochs_;
    while (rung < epoch) rung *= reduction_factor_;
    return rung == epoch;
  }

  double score(const std::vector<double>& values) const override { return values.back(); }

  Verdict judge(const std::vector<double>& values, const Peers& peers) const override {
    const std::int64_t pass = std::max<std::int64_t>(1, (peers.size() + 1) / reduction_factor_);
    return peers.better_than(values.back()) < pass ? Verdict::proceed : Verdict::stop;
  }

 private:
  const int min_epochs_;
  const int reduction_factor_;
};

}  // namespace

std::vector<Setting> asha_settings() {
  return {{.path = "min_epochs", .fallback = 1, .min = 1, .max = 1000000},
          {.path = "reduction_factor", .fallback = 4, .min = 2, .max = 1000000}};
}

std::unique_ptr<Stopper> make_asha(const Settings& settings) {
  return std::make_unique<Asha>(settings);
}

}  // namespace brood
