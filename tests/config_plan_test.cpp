// Goal: a plan says what will happen, and its play of a run is right. Method: exact trials against
// the strategy, infeasible points with their reason, schedules small enough to work out by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/config.h"
#include "cli/plan.h"
#include "cli/plan_schedule.h"

namespace brood {
namespace {

using testing::HasSubstr;

ExperimentSpec synthetic(const std::vector<std::string>& overrides) {
  return read_config_text(R"({
    "version": 1, "experiment": {"name": "e"},
    "objective": {"metric": "loss", "goal": "minimize"},
    "search_space": {"x": [1, 2, 3], "y": [10, 20]},
    "search": {"algorithm": "grid"},
    "trainer": {"name": "synthetic", "epochs": 4, "parameters": {"$expr": "x * y"}}
  })",
                          "e.json", overrides);
}

TEST(Plan, ListsTheTrialsOfAGridInOrder) {
  const RunPlan plan = make_plan(synthetic({}), 2);
  EXPECT_TRUE(plan.exact);
  EXPECT_EQ(plan.trials, 6);
  ASSERT_EQ(plan.points.size(), 6U);
  EXPECT_EQ(to_text(plan.points[1].params), "x=1 y=20");
  EXPECT_EQ(plan.points[1].estimate.parameters, 20);
  EXPECT_EQ(plan.points[1].estimate.epochs, 4);
}

TEST(Plan, NamesInfeasiblePointsWithTheReason) {
  const ExperimentSpec spec = synthetic({R"(constraints=[{"metric": "parameters", "max": 40}])"});
  const RunPlan plan = make_plan(spec, 2);
  EXPECT_EQ(plan.points[5].infeasible, "parameters is 60, the constraint allows at most 40");
  EXPECT_EQ(plan.points[3].infeasible, "");
  std::ostringstream out;
  print_plan(spec, plan, out);
  EXPECT_THAT(out.str(), HasSubstr("Infeasible  1 of 6 trials, 17 %"));
  EXPECT_THAT(out.str(), HasSubstr("trial 5 at x=3 y=20"));
  EXPECT_THAT(plan_json(spec, plan), HasSubstr("\"infeasible\": 1"));
}

// The built-in network: its architectures are judged without any training.
ExperimentSpec pools(const std::vector<std::string>& overrides) {
  return read_config_text(R"({
    "version": 1, "experiment": {"name": "e"},
    "objective": {"metric": "val_loss", "goal": "minimize"},
    "search_space": {"size": [2, 3, 4, 5, 6, 7], "pools": [1, 2, 3, 4, 5, 6]},
    "search": {"algorithm": "grid"},
    "trainer": {"name": "cnn", "dataset": {"synthetic": {"size": 12}}, "epochs": 2,
      "optimizer": {"name": "sgd", "learning_rate": 0.1},
      "layers": [{"repeat": {"count": {"$param": "pools"}, "body": [
        {"max_pool": {"size": {"$param": "size"}}}]}}]}
  })",
                          "e.json", overrides);
}

TEST(Plan, ListsEveryImpossibleArchitectureOfAGrid) {
  const ExperimentSpec spec = pools({});
  const RunPlan plan = make_plan(spec, 1);
  std::ostringstream out;
  print_plan(spec, plan, out);
  EXPECT_THAT(out.str(), HasSubstr("Infeasible  27 of 36 trials, 75 %"));
  int listed = 0;
  for (std::size_t trial = 0; trial < plan.points.size(); ++trial) {
    const std::string line =
        "    trial " + std::to_string(trial) + " at " + to_text(plan.points[trial].params) + "\n";
    const bool impossible = !plan.points[trial].infeasible.empty();
    EXPECT_EQ(out.str().find(line) != std::string::npos, impossible) << line;
    listed += impossible;
  }
  EXPECT_EQ(listed, 27);
}

TEST(Plan, TellsTheShareOfImpossibleArchitecturesInASampledSpace) {
  const ExperimentSpec spec =
      pools({"search.algorithm=genetic", "search.settings.population_size=4",
             "search.settings.generations=3"});
  const RunPlan plan = make_plan(spec, 1);
  ASSERT_FALSE(plan.exact);
  std::ostringstream out;
  print_plan(spec, plan, out);
  EXPECT_THAT(out.str(), testing::ContainsRegex("Infeasible  [0-9]+ of [0-9]+ sampled points, "
                                                "[67][0-9] %"));
  EXPECT_THAT(out.str(), testing::ContainsRegex("leaves nothing of an image of .*\n"
                                                "    [0-9]+ %, for example at size="));
}

TEST(Plan, TakesTheNumberOfTrialsFromTheBudget) {
  const RunPlan plan = make_plan(synthetic({"budget.max_trials=4"}), 2);
  EXPECT_EQ(plan.trials, 4);
  EXPECT_EQ(plan.points.size(), 4U);
  const std::vector<std::string> random = {
      "search.algorithm=random", "budget.max_wall_time=1h", "trainer.parameters=7",
      R"(search_space.x={"type": "float", "min": 1, "max": 9})"};
  EXPECT_EQ(make_plan(synthetic(random), 2).trials, std::nullopt);
}

TEST(Plan, SamplesASearchThatDependsOnResults) {
  const RunPlan plan =
      make_plan(synthetic({"search.algorithm=genetic", "search.settings.population_size=4",
                           "search.settings.generations=3",
                           "search_space.x={\"type\":\"float\",\"min\":1,\"max\":9}",
                           "trainer.parameters=7"}),
                2);
  EXPECT_FALSE(plan.exact);
  EXPECT_EQ(plan.trials, 12);
  EXPECT_GE(plan.points.size(), 100U);
}

// Proposal k waits for all trials below k rounded down to a multiple of `population`.
class Barrier : public Strategy {
 public:
  explicit Barrier(TrialId population) : population_(population) {}
  TrialId horizon(TrialId k) const override { return k / population_ * population_; }
  void tell(const Trial&) override {}
  std::optional<Suggestion> propose(TrialId, Rng, const PointIndex&) const override { return {}; }
  std::optional<std::int64_t> total() const override { return {}; }

 private:
  TrialId population_;
};

// Stops every trial that asks at the given epoch.
class StopAll : public Stopper {
 public:
  explicit StopAll(int epoch) : epoch_(epoch) {}
  bool judges(int epoch) const override { return epoch == epoch_; }
  double score(const std::vector<double>& values) const override { return values.back(); }
  Verdict judge(const std::vector<double>&, const Peers&) const override { return Verdict::stop; }

 private:
  int epoch_;
};

TEST(Schedule, KeepsIndependentTrialsOfEqualCostAllBusy) {
  const Schedule out = simulate_schedule(Barrier(1000), nullptr, 16, {{3, 2.0}}, 8, 4);
  EXPECT_DOUBLE_EQ(out.duration, 12.0);
  EXPECT_DOUBLE_EQ(out.busy, 1.0);
  EXPECT_EQ(out.epochs, 24);
  EXPECT_EQ(out.blind, 0);
}

TEST(Schedule, IdlesAtABarrier) {
  // Three trials in two executors, twice: 2 + 1, so three quarters busy.
  const Schedule out = simulate_schedule(Barrier(3), nullptr, 16, {{1, 1.0}}, 6, 2);
  EXPECT_DOUBLE_EQ(out.duration, 4.0);
  EXPECT_DOUBLE_EQ(out.busy, 0.75);
}

TEST(Schedule, IdlesAtTheEndWhenTheLastTrialIsLong) {
  const Schedule out = simulate_schedule(Barrier(1000), nullptr, 16, {{1, 1.0}, {1, 3.0}}, 2, 2);
  EXPECT_DOUBLE_EQ(out.duration, 3.0);
  EXPECT_DOUBLE_EQ(out.busy, 4.0 / 6.0);
}

TEST(Schedule, CountsEpochsThatWaitForAnEarlierTrialAsBlindAndDropsThem) {
  // Lag 1: trial 1 is judged after trial 0, which takes ten times as long for its first epoch; by
  // then trial 1 has trained all of its four epochs, three of them blind.
  const StopAll stopper(1);
  const Schedule out = simulate_schedule(Barrier(1000), &stopper, 1, {{4, 10.0}, {4, 1.0}}, 2, 2);
  EXPECT_EQ(out.epochs, 5);
  EXPECT_EQ(out.blind, 3);
  EXPECT_EQ(out.dropped, 3);
  EXPECT_EQ(out.stopped, 2);
  EXPECT_DOUBLE_EQ(out.duration, 10.0);
  EXPECT_DOUBLE_EQ(out.busy, 14.0 / 20.0);
}

TEST(Schedule, CutsAnEpochShortWhenTheVerdictComes) {
  // As above, but trial 1 is in the middle of its fourth epoch of 3 when trial 0 reports at 10.
  const StopAll stopper(1);
  const Schedule out = simulate_schedule(Barrier(1000), &stopper, 1, {{9, 10.0}, {9, 3.0}}, 2, 2);
  EXPECT_EQ(out.epochs, 4);
  EXPECT_EQ(out.blind, 3);
  EXPECT_EQ(out.dropped, 2);
  EXPECT_DOUBLE_EQ(out.duration, 10.0);
  EXPECT_DOUBLE_EQ(out.busy, 1.0);
}

}  // namespace
}  // namespace brood
