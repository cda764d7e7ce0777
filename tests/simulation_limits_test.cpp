// Goal: a point that cannot keep to the limits costs no training, and the search goes on knowing
// so. Method: random and genetic searches of the toy trainer on a simulated cluster, with limits
// that forbid some of the points before they train, and constraints that are judged after.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/simulated_run.h"

namespace brood::simulation {
namespace {

using testing::HasSubstr;

Case limited(const std::string& search) {
  Case c;
  c.search = search;
  c.memory = std::uint64_t{64} << 20;
  c.constraints = {{"parameters", 1500.0, std::nullopt}};
  return c;
}

class Limits : public testing::TestWithParam<std::string> {};

// A genetic search asks for its second generation when it has been told of all of the first.
TEST_P(Limits, LeaveForbiddenPointsUntrainedAndTellTheSearch) {
  Scratch scratch;
  const Outcome outcome = run(limited(GetParam()), scratch.file("a.db"), {});
  EXPECT_EQ(outcome.ending.state, "completed");
  std::size_t first_forbidden = outcome.trials.size(), forbidden = 0, trained = 0;
  for (std::size_t k = 0; k < outcome.trials.size(); ++k) {
    const Trial& trial = outcome.trials[k];
    if (trial.state != TrialState::infeasible) {
      trained += trial.state == TrialState::completed;
      continue;
    }
    first_forbidden = std::min(first_forbidden, k);
    ++forbidden;
    EXPECT_EQ(trial.cause, Cause::constraint);
    EXPECT_THAT(trial.why, testing::AnyOf(HasSubstr("memory_per_trial"), HasSubstr("parameters")));
    EXPECT_EQ(trial.judged_epoch, 0) << k << " was trained";
    EXPECT_FALSE(trial.objective) << k;
  }
  EXPECT_GT(forbidden, 2U);
  EXPECT_GT(trained, 2U);
  EXPECT_LT(first_forbidden, 6U) << "there should be one in the first generation";
  EXPECT_GT(outcome.trials.size(), 16U);
}

INSTANTIATE_TEST_SUITE_P(Simulation, Limits, testing::Values("random", "genetic"),
                         [](const auto& made) { return made.param; });

TEST(LimitsAfterTraining, JudgeTheLastReport) {
  Scratch scratch;
  Case c;
  c.constraints = {{"size", std::nullopt, 2.5}};
  const Outcome outcome = run(c, scratch.file("a.db"), {});
  int broken = 0, kept = 0;
  for (const Trial& trial : outcome.trials) {
    EXPECT_EQ(trial.judged_epoch, 6);
    if (trial.state == TrialState::completed) {
      ++kept;
      continue;
    }
    ++broken;
    EXPECT_EQ(trial.state, TrialState::infeasible);
    EXPECT_THAT(trial.why, testing::MatchesRegex("size is [34].*, .* allows at most 2.5"));
  }
  EXPECT_GT(broken, 0);
  EXPECT_GT(kept, 0);
}

TEST(LimitsAfterTraining, AreBrokenByAReportThatLacksTheMetric) {
  Scratch scratch;
  Case c;
  c.trials = 3;
  c.constraints = {{"sise", std::nullopt, 2.5}};
  const Outcome outcome = run(c, scratch.file("a.db"), {});
  ASSERT_EQ(outcome.trials.size(), 3U);
  for (const Trial& trial : outcome.trials) {
    EXPECT_EQ(trial.state, TrialState::infeasible);
    EXPECT_EQ(trial.why, "its report of epoch 6 lacks sise, which a constraint is about");
  }
}

}  // namespace
}  // namespace brood::simulation
