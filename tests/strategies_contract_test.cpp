// What engine/strategy.h promises, checked for every listed strategy by name: a new one is tested
// by being listed. The driver stands in for the controller. Golden files hold the first twenty
// proposals of each; BROOD_GOLDEN=rewrite writes them anew, and the difference is reviewed.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "strategies_driver.h"

namespace brood {
namespace {

constexpr TrialId kTrials = 60;

bool needs_countable(const std::string& name) { return name == "grid"; }

ExperimentSpec spec_of(const std::string& name, std::uint64_t seed = 7) {
  ExperimentSpec spec;
  spec.seed = seed;
  spec.space = mixed_space(needs_countable(name));
  spec.search.name = name;
  if (name == "genetic")
    spec.search.settings =
        R"({"population_size": 6, "elitism": 2, "crossover": {"method": "blend"}})";
  EXPECT_TRUE(check_search(spec.search, spec.space).empty());
  return spec;
}

Evaluate bowl_of(const ExperimentSpec& spec) {
  return [&spec](Trial& trial) { trial.objective = bowl(spec.space, trial.params); };
}

std::string to_lines(const Record& record) {
  std::string lines;
  for (const Trial& trial : record.trials) {
    lines += std::to_string(trial.id);
    for (const auto& [name, value] : trial.params.entries()) {
      std::string text = to_text(value);
      if (const auto* real = std::get_if<double>(&value)) {
        char buffer[40];
        std::snprintf(buffer, sizeof buffer, "%a", *real);
        text = buffer;
      }
      lines += " " + name + "=" + text;
    }
    for (TrialId id : trial.lineage) lines += " <" + std::to_string(id);
    lines += "\n";
  }
  return lines;
}

class EveryStrategy : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Listed, EveryStrategy, testing::ValuesIn(strategy_names()),
                         [](const auto& test) { return test.param; });

TEST_P(EveryStrategy, ProposesMembersOfTheSpaceWithTheInactivePartMasked) {
  const ExperimentSpec spec = spec_of(GetParam());
  const Record record = drive(spec, kTrials, bowl_of(spec));
  EXPECT_EQ(record.trials.size(), static_cast<std::size_t>(kTrials));
  for (const Trial& trial : record.trials)
    EXPECT_NO_THROW(spec.space.require_member(trial.params)) << to_text(trial.params);
}

TEST_P(EveryStrategy, ProposesTheSameForTheSameSeed) {
  const ExperimentSpec spec = spec_of(GetParam());
  EXPECT_EQ(to_lines(drive(spec, kTrials, bowl_of(spec))),
            to_lines(drive(spec, kTrials, bowl_of(spec))));
}

TEST_P(EveryStrategy, DependsOnTheSeedUnlessItEnumerates) {
  const ExperimentSpec one = spec_of(GetParam(), 1);
  const ExperimentSpec other = spec_of(GetParam(), 2);
  const bool differ =
      to_lines(drive(one, 20, bowl_of(one))) != to_lines(drive(other, 20, bowl_of(other)));
  EXPECT_EQ(differ, GetParam() != "grid");
}

TEST_P(EveryStrategy, HasANondecreasingHorizonOfAtMostK) {
  const ExperimentSpec spec = spec_of(GetParam());
  const auto strategy = make_strategy(spec);
  const auto fresh = make_strategy(spec);
  const Record record = drive(spec, kTrials, bowl_of(spec));
  tell(*strategy, record, 0, kTrials);
  TrialId last = 0;
  for (TrialId k = 0; k < 1000; ++k) {
    const TrialId horizon = strategy->horizon(k);
    EXPECT_GE(horizon, last);
    EXPECT_LE(horizon, k);
    EXPECT_EQ(horizon, fresh->horizon(k)) << "must not depend on what was told";
    last = horizon;
  }
}

TEST_P(EveryStrategy, ChangesNothingByProposing) {
  const ExperimentSpec spec = spec_of(GetParam());
  const Record record = drive(spec, kTrials, bowl_of(spec));
  const auto strategy = make_strategy(spec);
  PointIndex points;
  TrialId told = 0;
  for (TrialId k = 0; k < kTrials; ++k) {
    tell(*strategy, record, told, strategy->horizon(k));
    told = strategy->horizon(k);
    for (int again = 0; again < 3; ++again) {
      const auto suggestion = strategy->propose(k, propose_stream(spec, k), points);
      ASSERT_TRUE(suggestion);
      EXPECT_EQ(suggestion->proposal.params, record.points[k]) << k;
    }
    // Going back as far as the horizon allows must not disturb it either.
    const TrialId back = std::max(told, k - 2);
    PointIndex fewer;
    for (TrialId id = 0; id < back; ++id) fewer.add(record.points[id]);
    EXPECT_EQ(strategy->propose(back, propose_stream(spec, back), fewer)->proposal.params,
              record.points[back]);
    points.add(record.points[k]);
  }
}

TEST_P(EveryStrategy, SeesNothingOfTrialsAtOrAboveTheHorizon) {
  const ExperimentSpec spec = spec_of(GetParam());
  const auto strategy = make_strategy(spec);
  const Record record = drive(spec, kTrials, bowl_of(spec));
  for (TrialId from = 0; from < kTrials; from += 7) {
    const Record other = drive(spec, kTrials, [&](Trial& trial) {
      trial.objective = bowl(spec.space, trial.params);
      if (trial.id >= from) trial.objective = -*trial.objective;
    });
    for (TrialId k = 0; k < kTrials && strategy->horizon(k) <= from; ++k)
      EXPECT_EQ(other.points[k], record.points[k]) << from << " " << k;
  }
}

TEST_P(EveryStrategy, GoesOnAsBeforeWhenAFreshOneIsToldTheRecord) {
  const ExperimentSpec spec = spec_of(GetParam());
  const Record record = drive(spec, kTrials, bowl_of(spec));
  for (TrialId cut = 0; cut < kTrials; ++cut) {
    const auto strategy = make_strategy(spec);
    tell(*strategy, record, 0, strategy->horizon(cut));
    PointIndex points;
    for (TrialId id = 0; id < cut; ++id) points.add(record.points[id]);
    const auto suggestion = strategy->propose(cut, propose_stream(spec, cut), points);
    ASSERT_TRUE(suggestion);
    EXPECT_EQ(suggestion->proposal.params, record.points[cut]);
    EXPECT_EQ(suggestion->lineage, record.trials[static_cast<std::size_t>(cut)].lineage);
  }
}

TEST_P(EveryStrategy, TakesFailedInfeasibleAndNaNResults) {
  const ExperimentSpec spec = spec_of(GetParam());
  const Record record = drive(spec, kTrials, [&](Trial& trial) {
    switch (trial.id % 5) {
      case 0:
        trial.state = TrialState::failed;
        trial.cause = Cause::nan;
        break;
      case 1:
        trial.state = TrialState::infeasible;
        break;
      case 2:
        trial.objective = std::numeric_limits<double>::quiet_NaN();
        break;
      case 3:
        trial.objective = -std::numeric_limits<double>::infinity();
        break;
      default:
        trial.objective = bowl(spec.space, trial.params);
    }
  });
  EXPECT_EQ(record.trials.size(), static_cast<std::size_t>(kTrials));
  for (const Trial& trial : record.trials)
    EXPECT_NO_THROW(spec.space.require_member(trial.params)) << to_text(trial.params);
}

TEST_P(EveryStrategy, SurvivesThatEveryTrialFails) {
  const ExperimentSpec spec = spec_of(GetParam());
  const Record record =
      drive(spec, kTrials, [](Trial& trial) { trial.state = TrialState::failed; });
  EXPECT_EQ(record.trials.size(), static_cast<std::size_t>(kTrials));
}

TEST_P(EveryStrategy, EndsWhenASmallSpaceIsUsedUp) {
  ExperimentSpec spec = spec_of(GetParam());
  spec.space = SearchSpace({flag_field("a"), whole_field("b", 1, 3),
                            only_when(flag_field("c"), "b", {std::int64_t{2}})});
  const Record record = drive(spec, 3000, bowl_of(spec));
  EXPECT_TRUE(record.ended);
  std::set<std::string> points;
  for (const Trial& trial : record.trials) points.insert(to_text(trial.params));
  EXPECT_EQ(points.size(), 8U);
}

TEST_P(EveryStrategy, EndsOnASpaceOfOnePoint) {
  ExperimentSpec spec = spec_of(GetParam());
  spec.space = SearchSpace({whole_field("a", 3, 3)});
  const Record record = drive(spec, 3000, bowl_of(spec));
  EXPECT_TRUE(record.ended);
  EXPECT_EQ(record.points[0], record.points[record.points.size() - 1]);
}

TEST_P(EveryStrategy, GoesOnAroundPointsThatPeopleAdd) {
  const ExperimentSpec spec = spec_of(GetParam());
  const auto strategy = make_strategy(spec);
  Rng rng(5, 0, Purpose::simulate);
  Record record;
  const auto add = [&] {
    Trial trial;
    trial.origin = Origin::user;
    trial.params = spec.space.mask(spec.space.sample(rng));
    append(record, std::move(trial), bowl_of(spec));
  };
  add();  // as an initial point
  TrialId told = 0;
  while (record.points.size() < kTrials) {
    const TrialId k = record.points.size();
    if (k % 5 == 4) {
      add();
      continue;
    }
    tell(*strategy, record, told, strategy->horizon(k));
    told = strategy->horizon(k);
    const auto suggestion = strategy->propose(k, propose_stream(spec, k), record.points);
    ASSERT_TRUE(suggestion);
    EXPECT_NO_THROW(spec.space.require_member(suggestion->proposal.params));
    Trial trial;
    trial.params = suggestion->proposal.params;
    append(record, std::move(trial), bowl_of(spec));
  }
}

TEST_P(EveryStrategy, CarriesOnlyGenesOfTrialsBelowTheHorizon) {
  const ExperimentSpec spec = spec_of(GetParam());
  const auto strategy = make_strategy(spec);
  for (const Trial& trial : drive(spec, kTrials, bowl_of(spec)).trials)
    for (TrialId id : trial.lineage) EXPECT_LT(id, strategy->horizon(trial.id));
}

TEST_P(EveryStrategy, HasAGoldenFileOfItsFirstTwentyProposals) {
  const ExperimentSpec spec = spec_of(GetParam(), 42);
  const std::string lines = to_lines(drive(spec, 20, bowl_of(spec)));
  const char* source = std::getenv("BROOD_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "run it by ctest";
  const std::string path = std::string(source) + "/tests/golden/strategies/" + GetParam() + ".txt";
  const char* mode = std::getenv("BROOD_GOLDEN");
  if (mode != nullptr && std::string(mode) == "rewrite") std::ofstream(path) << lines;
  std::ostringstream golden;
  golden << std::ifstream(path).rdbuf();
  EXPECT_EQ(lines, golden.str()) << "BROOD_GOLDEN=rewrite writes " << path;
}

}  // namespace
}  // namespace brood
