// The next grid point is the first that the record does not show yet: the walk moves on whenever
// the trial next in the record is the point it stands on. So points that people added (initial
// ones, `brood add`) shift nothing and none is left out. Tested by tests/strategies_test.cpp.
#include "strategies/grid.h"

#include "strategies/grid_walk.h"

namespace brood {

namespace {

// Beyond it the number of trials is not counted in advance: seconds of work.
constexpr std::int64_t kCountVisitsMax = 100000;

class Grid final : public Strategy {
 public:
  explicit Grid(SearchSpace space) : space_(std::move(space)), walk_(space_) {}

  TrialId horizon(TrialId) const override { return 0; }
  void tell(const Trial&) override {}

  std::optional<Suggestion> propose(TrialId k, Rng, const PointIndex& earlier) const override {
    if (k < seen_ || (seen_ > 0 && earlier[seen_ - 1] != last_seen_)) {
      walk_ = GridWalk(space_);
      seen_ = 0;
    }
    for (; seen_ < k; ++seen_)
      if (walk_.point() != nullptr && *walk_.point() == earlier[seen_]) walk_.advance();
    if (seen_ > 0) last_seen_ = earlier[seen_ - 1];
    if (walk_.point() == nullptr) return std::nullopt;
    return Suggestion{.proposal = {.params = *walk_.point(), .epochs = {}, .parent = {}},
                      .lineage = {}};
  }

  std::optional<std::int64_t> total() const override {
    if (!total_) total_ = count_points(space_, kCountVisitsMax);
    return *total_;
  }

 private:
  const SearchSpace space_;
  // A cache of what the record says: the walk after the first seen_ trials.
  mutable GridWalk walk_;
  mutable TrialId seen_ = 0;
  mutable ParamSet last_seen_;
  mutable std::optional<std::optional<std::int64_t>> total_;
};

}  // namespace

std::vector<Setting> grid_settings() { return {}; }

std::unique_ptr<Strategy> make_grid(const ExperimentSpec& spec) {
  return std::make_unique<Grid>(spec.space);
}

}  // namespace brood
