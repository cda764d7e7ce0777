// The window of verdicts: what a verdict may see is a function of ids and values, whatever the
// order in which reports arrive.
#include "engine/verdicts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "engine/rng.h"

namespace brood {
namespace {

// Stops whoever is beaten by half of those it sees; judges every epoch; the score is the last
// value.
class Half final : public Stopper {
 public:
  bool judges(int) const override { return true; }
  double score(const std::vector<double>& values) const override { return values.back(); }
  Verdict judge(const std::vector<double>& values, const Peers& peers) const override {
    return 2 * peers.better_than(values.back()) > peers.size() ? Verdict::stop : Verdict::proceed;
  }
};

TEST(Verdicts, AreGivenAtOnceWithoutAStopper) {
  Verdicts verdicts(nullptr, 4);
  verdicts.add();
  EXPECT_FALSE(verdicts.due(1));
  EXPECT_EQ(verdicts.ask(0, 1, {0.5})->verdict, Verdict::proceed);
}

TEST(Verdicts, WaitForEverySmallerTrialOutsideTheLag) {
  Half half;
  Verdicts verdicts(&half, 2);
  for (int k = 0; k < 4; ++k) verdicts.add();
  verdicts.reach(3, 1, {0.1});
  EXPECT_FALSE(verdicts.ask(3, 1, {0.1})) << "trials 0 and 1 are not there yet";
  verdicts.reach(0, 1, {0.5});
  EXPECT_THAT(verdicts.take_ready(), testing::IsEmpty());
  verdicts.reach(1, 1, {0.6});
  EXPECT_THAT(verdicts.take_ready(), testing::ElementsAre(3)) << "trial 2 lies within the lag";
}

TEST(Verdicts, ComeReadyWhenTheLastNeededTrialEnds) {
  Half half;
  Verdicts verdicts(&half, 1);
  for (int k = 0; k < 3; ++k) verdicts.add();
  verdicts.reach(2, 1, {0.1});
  EXPECT_FALSE(verdicts.ask(2, 1, {0.1}));
  verdicts.reach(0, 1, {0.5});
  EXPECT_THAT(verdicts.take_ready(), testing::IsEmpty());
  verdicts.end(1);
  EXPECT_THAT(verdicts.take_ready(), testing::ElementsAre(2));
  const auto given = verdicts.ask(2, 1, {0.1});
  ASSERT_TRUE(given);
  EXPECT_EQ(given->verdict, Verdict::stop);
  EXPECT_EQ(given->horizon, 2);
}

TEST(Verdicts, NeverSeeATrialInsideTheLagEvenIfItIsThere) {
  Half half;
  Verdicts verdicts(&half, 3);
  for (int k = 0; k < 3; ++k) {
    verdicts.add();
    verdicts.reach(k, 1, {1.0 - k});
  }
  EXPECT_EQ(verdicts.ask(2, 1, {-1.0})->verdict, Verdict::proceed) << "it sees nobody";
  EXPECT_EQ(verdicts.ask(2, 1, {-1.0})->horizon, 0);
}

// Reference: all trials, epoch by epoch, in id order.
std::map<int, int> ends_in_order(const std::vector<std::vector<double>>& curves, int lag) {
  const auto n = static_cast<int>(curves.size());
  const auto epochs = static_cast<int>(curves[0].size());
  std::map<int, int> end;
  for (int k = 0; k < n; ++k) end[k] = epochs;
  for (int k = 0; k < n; ++k)
    for (int e = 1; e < epochs; ++e) {
      int seen = 0, better = 0;
      for (int j = 0; j < k - lag + 1; ++j) {
        if (end[j] < e) continue;
        ++seen;
        better += curves[j][e - 1] > curves[k][e - 1];
      }
      if (2 * better > seen) {
        end[k] = e;
        break;
      }
    }
  return end;
}

TEST(Verdicts, DoNotDependOnTheOrderOfArrival) {
  constexpr int kTrials = 40, kEpochs = 6;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Rng rng(seed, 0, Purpose::simulate);
    const int lag = 1 + static_cast<int>(rng.below(8));
    std::vector<std::vector<double>> curves(kTrials, std::vector<double>(kEpochs));
    for (auto& curve : curves)
      for (double& value : curve) value = rng.uniform();
    Half half;
    Verdicts verdicts(&half, lag);
    for (int k = 0; k < kTrials; ++k) verdicts.add();
    std::vector<int> reported(kTrials, 0), judged(kTrials, 0), official(kTrials, 0);
    std::map<int, int> end;
    const auto advance = [&](int k) {
      while (end.count(k) == 0 && judged[k] < reported[k]) {
        const int e = judged[k] + 1;
        const std::vector<double> values(curves[k].begin(), curves[k].begin() + e);
        if (official[k] < e) verdicts.reach(k, e, values);
        official[k] = e;
        if (e == kEpochs) {
          end[k] = e;
        } else {
          const auto given = verdicts.ask(k, e, values);
          if (!given) return;
          judged[k] = e;
          if (given->verdict == Verdict::stop) end[k] = e;
        }
        if (end.count(k) > 0) verdicts.end(k);
      }
    };
    while (end.size() < kTrials) {
      const auto k = static_cast<int>(rng.below(kTrials));
      if (reported[k] == kEpochs) continue;
      ++reported[k];
      advance(k);
      for (auto ready = verdicts.take_ready(); !ready.empty(); ready = verdicts.take_ready())
        for (const TrialId r : ready) advance(static_cast<int>(r));
    }
    EXPECT_EQ(end, ends_in_order(curves, lag)) << "seed " << seed << ", lag " << lag;
  }
}

}  // namespace
}  // namespace brood
