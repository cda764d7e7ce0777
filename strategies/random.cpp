// J. Bergstra and Y. Bengio: "Random search for hyper-parameter optimization", JMLR 13, 2012.
//
// Departs from it in that a point is not tried twice: a draw that was proposed before is drawn
// again. When a hundred draws in a row were, nearly all of a finite space has been tried; then the
// first untried point of the grid is taken, and when there is none the search ends. Tested by
// tests/strategies_test.cpp.
#include "strategies/random.h"

#include "strategies/grid_walk.h"

namespace brood {

namespace {

constexpr int kDrawsMax = 100;
constexpr std::int64_t kCountVisitsMax = 100000;

class Random final : public Strategy {
 public:
  explicit Random(SearchSpace space) : space_(std::move(space)), countable_(is_countable(space_)) {}

  TrialId horizon(TrialId) const override { return 0; }
  void tell(const Trial&) override {}

  std::optional<Suggestion> propose(TrialId k, Rng rng, const PointIndex& earlier) const override {
    ParamSet params = draw_new(space_, rng, earlier, kDrawsMax);
    if (countable_ && earlier.find(params)) {
      const ParamSet* untried = first_untried(k, earlier);
      if (untried == nullptr) return std::nullopt;
      params = *untried;
    }
    return Suggestion{.proposal = {.params = std::move(params), .epochs = {}, .parent = {}},
                      .lineage = {}};
  }

  std::optional<std::int64_t> total() const override {
    if (!total_) total_ = count_points(space_, kCountVisitsMax);
    return *total_;
  }

 private:
  // What was tried stays tried, so the walk goes on where it stopped, all calls together once over
  // the grid.
  const ParamSet* first_untried(TrialId k, const PointIndex& earlier) const {
    if (!walk_ || k < walked_at_) walk_.emplace(space_);
    walked_at_ = k;
    while (walk_->point() != nullptr && earlier.find(*walk_->point())) walk_->advance();
    return walk_->point();
  }

  const SearchSpace space_;
  const bool countable_;
  mutable std::optional<GridWalk> walk_;  // a cache: first_untried()
  mutable TrialId walked_at_ = 0;
  mutable std::optional<std::optional<std::int64_t>> total_;
};

}  // namespace

std::vector<Setting> random_settings() { return {}; }

std::unique_ptr<Strategy> make_random(const ExperimentSpec& spec) {
  return std::make_unique<Random>(spec.space);
}

ParamSet draw_new(const SearchSpace& space, Rng& rng, const PointIndex& earlier, int draws_max) {
  ParamSet params = space.mask(space.sample(rng));
  for (int i = 1; i < draws_max && earlier.find(params); ++i)
    params = space.mask(space.sample(rng));
  return params;
}

}  // namespace brood
