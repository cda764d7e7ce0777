// Every stopper keeps the contract (pure, order-independent, fair to NaN), and each decides as its
// paper says, on cases worked by hand and against a naive reading of the rule.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/prefix_rank.h"
#include "engine/rng.h"
#include "strategies/strategies.h"

namespace brood {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class ListedPeers final : public Peers {
 public:
  explicit ListedPeers(const std::vector<double>& scores) {
    for (double score : scores) ranks_.append(score);
  }
  std::int64_t size() const override { return ranks_.size(); }
  std::int64_t better_than(double score) const override {
    return ranks_.better_than(score, ranks_.size());
  }

 private:
  PrefixRank ranks_;
};

std::unique_ptr<Stopper> stopper(const std::string& name, const std::string& settings = "{}") {
  ExperimentSpec spec;
  spec.stopper = Algorithm{name, settings};
  EXPECT_TRUE(check_stopper(*spec.stopper, 100).empty());
  return make_stopper(spec);
}

class EveryStopper : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Listed, EveryStopper, testing::ValuesIn(stopper_names()),
                         [](const auto& test) { return test.param; });

TEST_P(EveryStopper, GivesTheSameVerdictForTheSameValuesInAnyOrderOfPeers) {
  const auto judge = stopper(GetParam());
  Rng rng(1, 0, Purpose::simulate);
  int stops = 0;
  for (int i = 0; i < 500; ++i) {
    std::vector<double> values(1 + rng.below(6));
    for (double& value : values) value = rng.uniform();
    std::vector<double> scores(rng.below(40));
    for (double& score : scores) score = rng.uniform();
    const Verdict verdict = judge->judge(values, ListedPeers(scores));
    EXPECT_EQ(judge->judge(values, ListedPeers(scores)), verdict);
    std::reverse(scores.begin(), scores.end());
    EXPECT_EQ(judge->judge(values, ListedPeers(scores)), verdict);
    EXPECT_EQ(judge->judge(values, ListedPeers(scores)),
              stopper(GetParam())->judge(values, ListedPeers(scores)));
    if (verdict == Verdict::stop) ++stops;
  }
  EXPECT_GT(stops, 50);
  EXPECT_LT(stops, 450);
}

TEST_P(EveryStopper, NeverStopsTheBestOrTheFirst) {
  const auto judge = stopper(GetParam());
  EXPECT_EQ(judge->judge({0.1}, ListedPeers({})), Verdict::proceed);
  for (std::size_t n = 1; n < 50; ++n)
    EXPECT_EQ(judge->judge({0.5}, ListedPeers(std::vector<double>(n, 0.4))), Verdict::proceed);
}

TEST_P(EveryStopper, NeverStopsOneOfEquals) {
  const auto judge = stopper(GetParam());
  for (std::size_t n = 1; n < 50; ++n)
    EXPECT_EQ(judge->judge({0.5}, ListedPeers(std::vector<double>(n, 0.5))), Verdict::proceed);
}

TEST_P(EveryStopper, StopsTheWorstOfMany) {
  const auto judge = stopper(GetParam());
  EXPECT_EQ(judge->judge({0.1, 0.1}, ListedPeers(std::vector<double>(20, 0.9))), Verdict::stop);
}

TEST_P(EveryStopper, ABetterTrialIsNeverStoppedWhereAWorseOneGoesOn) {
  const auto judge = stopper(GetParam());
  Rng rng(2, 0, Purpose::simulate);
  for (int i = 0; i < 300; ++i) {
    std::vector<double> scores(rng.below(40));
    for (double& score : scores) score = rng.uniform();
    const ListedPeers peers(scores);
    bool went_on = false;
    for (int step = 0; step <= 20; ++step) {
      const bool goes_on = judge->judge({step / 20.0}, peers) == Verdict::proceed;
      EXPECT_TRUE(goes_on || !went_on);
      went_on = goes_on;
    }
  }
}

TEST_P(EveryStopper, ANaNRanksLastAmongNumbersAndHarmsNoPeer) {
  const auto judge = stopper(GetParam());
  EXPECT_EQ(judge->judge({kNaN}, ListedPeers(std::vector<double>(20, 0.5))), Verdict::stop);
  EXPECT_EQ(judge->judge({0.5}, ListedPeers(std::vector<double>(20, kNaN))), Verdict::proceed);
}

TEST_P(EveryStopper, ScoresWhatItIsGivenWithoutState) {
  const auto judge = stopper(GetParam());
  const double alone = judge->score({0.25, 0.75});
  judge->score({9.0, 9.0, 9.0});
  EXPECT_EQ(judge->score({0.25, 0.75}), alone);
}

TEST_P(EveryStopper, StartsAtItsMinEpochs) {
  const auto judge = stopper(GetParam(), R"({"min_epochs": 3})");
  EXPECT_FALSE(judge->judges(1));
  EXPECT_FALSE(judge->judges(2));
  EXPECT_TRUE(judge->judges(3));
}

TEST(Median, ScoresTheRunningAverage) { EXPECT_EQ(stopper("median")->score({1.0, 2.0, 6.0}), 3.0); }

TEST(Median, JudgesByTheBestSoFarNotTheLast) {
  const auto judge = stopper("median");
  const ListedPeers peers({0.1, 0.2, 0.3, 0.4, 0.5});
  EXPECT_EQ(judge->judge({0.3, 0.0}, peers), Verdict::proceed);
  EXPECT_EQ(judge->judge({0.29, 0.0}, peers), Verdict::stop);
}

TEST(Median, OfAnEvenNumberTakesTheWorseMiddle) {
  const auto judge = stopper("median", R"({"min_trials": 4})");
  const ListedPeers peers({0.1, 0.2, 0.3, 0.4});
  EXPECT_EQ(judge->judge({0.2}, peers), Verdict::proceed);
  EXPECT_EQ(judge->judge({0.15}, peers), Verdict::stop);
}

TEST(Median, WaitsForMinTrials) {
  const auto judge = stopper("median", R"({"min_trials": 6})");
  EXPECT_EQ(judge->judge({0.0}, ListedPeers(std::vector<double>(5, 1.0))), Verdict::proceed);
  EXPECT_EQ(judge->judge({0.0}, ListedPeers(std::vector<double>(6, 1.0))), Verdict::stop);
}

TEST(Median, JudgesAtEveryEpoch) {
  const auto judge = stopper("median");
  for (int epoch = 1; epoch < 30; ++epoch) EXPECT_TRUE(judge->judges(epoch));
}

TEST(Asha, JudgesAtGeometricRungsOnly) {
  const auto judge = stopper("asha", R"({"min_epochs": 2, "reduction_factor": 3})");
  std::vector<int> rungs;
  for (int epoch = 1; epoch <= 60; ++epoch)
    if (judge->judges(epoch)) rungs.push_back(epoch);
  EXPECT_EQ(rungs, (std::vector<int>{2, 6, 18, 54}));
}

TEST(Asha, ScoresTheValueAtTheRung) { EXPECT_EQ(stopper("asha")->score({9.0, 0.5}), 0.5); }

TEST(Asha, GoesOnWithinTheBestPartOfTheRungItselfIncluded) {
  const auto judge = stopper("asha", R"({"reduction_factor": 3})");
  // With itself nine: the best three go on.
  const ListedPeers peers({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8});
  EXPECT_EQ(judge->judge({0.65}, peers), Verdict::proceed);
  EXPECT_EQ(judge->judge({0.55}, peers), Verdict::stop);
}

TEST(Asha, OfAYoungRungOnlyTheBestGoesOn) {
  const auto judge = stopper("asha", R"({"reduction_factor": 4})");
  EXPECT_EQ(judge->judge({0.6}, ListedPeers({0.5})), Verdict::proceed);
  EXPECT_EQ(judge->judge({0.4}, ListedPeers({0.5})), Verdict::stop);
}

TEST(CheckStopper, NamesWhatIsWrongAndTheRemedy) {
  const auto only = [](const Algorithm& algorithm, int epochs) {
    const std::vector<Problem> problems = check_stopper(algorithm, epochs);
    return problems.size() == 1 ? problems[0].pointer + ": " + problems[0].message
                                : std::to_string(problems.size()) + " problems";
  };
  EXPECT_EQ(only({"ashe", "{}"}, 9),
            "/algorithm: there is no stopper \"ashe\" (did you mean \"asha\"?)");
  EXPECT_EQ(only({"hyperband", "{}"}, 9),
            "/algorithm: there is no stopper \"hyperband\"; there are: median, asha");
  EXPECT_EQ(only({"asha", R"({"reduction_facto": 3})"}, 9),
            "/settings/reduction_facto: there is no such setting (did you mean "
            "\"reduction_factor\"?)");
  EXPECT_EQ(only({"asha", R"({"reduction_factor": 1})"}, 9),
            "/settings/reduction_factor: should be a whole number from 2 to 1000000 (is 1)");
  EXPECT_EQ(only({"median", R"({"min_trials": 2.5})"}, 9),
            "/settings/min_trials: should be a whole number from 1 to 1000000 (is 2.5)");
  EXPECT_EQ(only({"median", R"({"min_epochs": 9})"}, 9),
            "/settings/min_epochs: should be below the epochs of a trial (9), or none is ever "
            "judged (is 9)");
  EXPECT_EQ(only({"asha", "{}"}, 9), "0 problems");
}

TEST(CheckStopper, EveryStopperHasAVerdictLag) {
  for (const std::string& name : stopper_names()) {
    EXPECT_EQ(verdict_lag({name, "{}"}), 16);
    EXPECT_EQ(verdict_lag({name, R"({"verdict_lag": 3})"}), 3);
    EXPECT_EQ(check_stopper({name, R"({"verdict_lag": 0})"}, 9).size(), 1U);
  }
}

TEST(MakeStopper, OfASpecWithoutOneIsNothing) {
  EXPECT_EQ(make_stopper(ExperimentSpec()), nullptr);
}

}  // namespace
}  // namespace brood
