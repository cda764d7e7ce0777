// What each strategy does beyond the common contract: the grid's order and completeness against a
// brute-force enumeration, the genetic search's elite, selection and convergence, and what is said
// about wrong settings.
#include "strategies/strategies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "engine/json.h"
#include "engine/json_library.h"
#include "strategies/grid_walk.h"
#include "strategies_driver.h"

namespace brood {
namespace {

ExperimentSpec spec_of(SearchSpace space, const std::string& name,
                       const std::string& settings = "{}", std::uint64_t seed = 1) {
  ExperimentSpec spec;
  spec.seed = seed;
  spec.space = std::move(space);
  spec.search = {name, settings};
  EXPECT_TRUE(check_search(spec.search, spec.space).empty());
  return spec;
}

void nothing(Trial&) {}

std::string numbered(char letter, std::size_t i) {
  std::string name(1, letter);
  return name += std::to_string(i);
}

// --- grid ---

// All full points in lexicographic order; of those with the same mask only the first.
std::vector<ParamSet> brute_force(const SearchSpace& space) {
  std::vector<ParamSet> points;
  std::set<std::string> known;
  const std::int64_t size = space.cross_size().value();
  for (std::int64_t n = 0; n < size; ++n) {
    Point full(space.size());
    std::int64_t rest = n;
    for (std::size_t i = space.size(); i-- > 0;) {
      const std::int64_t count = *space.fields()[i].cardinality();
      full[i] = space.fields()[i].value_at(rest % count);
      rest /= count;
    }
    ParamSet masked = space.mask(full);
    if (known.insert(to_text(masked)).second) points.push_back(std::move(masked));
  }
  return points;
}

std::vector<ParamSet> walked(const SearchSpace& space) {
  std::vector<ParamSet> points;
  for (GridWalk walk(space); walk.point() != nullptr; walk.advance())
    points.push_back(*walk.point());
  return points;
}

// Fields with random conditions on earlier ones and, for odd seeds, a "network" that mentions a
// field only where another one, declared anywhere, has a certain value. Who decides about whom has
// no cycle: always a field of lower rank, and ranks are shuffled.
SearchSpace random_space(std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::simulate);
  const std::size_t count = 1 + rng.below(6);
  std::vector<std::size_t> by_rank(count);
  for (std::size_t i = 0; i < count; ++i) by_rank[i] = i;
  for (std::size_t i = count; i > 1; --i) std::swap(by_rank[i - 1], by_rank[rng.below(i)]);
  std::vector<std::size_t> rank(count);
  for (std::size_t r = 0; r < count; ++r) rank[by_rank[r]] = r;

  std::vector<Field> fields;
  for (std::size_t i = 0; i < count; ++i) {
    Field field = whole_field(numbered('p', i), 0, static_cast<std::int64_t>(rng.below(4)));
    const std::size_t other = rng.below(i + 1);
    if (rank[other] < rank[i] && rng.chance(0.7)) {
      std::vector<Value> values;
      for (std::int64_t v = 0; v < *fields[other].cardinality(); ++v)
        if (rng.chance(0.5)) values.push_back(v);
      field = only_when(field, fields[other].name, values);
    }
    fields.push_back(field);
  }
  if (seed % 2 == 0) return SearchSpace(fields);
  std::vector<std::string> names;  // by rank
  std::vector<std::size_t> reader(count);
  std::vector<std::int64_t> wanted(count);
  for (std::size_t r = 0; r < count; ++r) {
    names.push_back(fields[by_rank[r]].name);
    reader[r] = rng.chance(0.5) ? r : rng.below(r + 1);  // itself: always mentioned
    wanted[r] = static_cast<std::int64_t>(rng.below(3));
  }
  return SearchSpace(fields, [=](const ParamSet& params) {
    std::vector<std::string> mentioned;
    for (std::size_t r = 0; r < count; ++r) {
      const std::string& other = names[reader[r]];
      const bool read = std::find(mentioned.begin(), mentioned.end(), other) != mentioned.end();
      if (reader[r] == r ||
          (read && params.find(other) != nullptr && params.whole(other) >= wanted[r]))
        mentioned.push_back(names[r]);
    }
    return mentioned;
  });
}

std::vector<std::string> texts(const std::vector<ParamSet>& points) {
  std::vector<std::string> all;
  for (const ParamSet& point : points) all.push_back(to_text(point));
  return all;
}

TEST(Grid, WalksEveryDistinctPointOnceInTheOrderOfItertoolsProduct) {
  for (std::uint64_t seed = 0; seed < 600; ++seed) {
    const SearchSpace space = random_space(seed);
    EXPECT_EQ(texts(walked(space)), texts(brute_force(space))) << seed;
  }
  EXPECT_EQ(texts(walked(mixed_space(true))), texts(brute_force(mixed_space(true))));
}

TEST(Grid, TheLastDeclaredFieldIsTheFastest) {
  const ExperimentSpec spec = spec_of(
      SearchSpace({value_field("learning_rate", FieldKind::ordinal, {0.001, 0.0005, 0.0001}),
                   value_field("dropout", FieldKind::ordinal, {0.45, 0.7})}),
      "grid");
  const Record record = drive(spec, 100, nothing);
  EXPECT_EQ(record.trials.size(), 6U);
  EXPECT_EQ(to_text(record.points[0]), "learning_rate=0.001 dropout=0.45");
  EXPECT_EQ(to_text(record.points[1]), "learning_rate=0.001 dropout=0.7");
  EXPECT_EQ(record.points[2].real("learning_rate"), 0.0005);
  EXPECT_EQ(record.points[2].real("dropout"), 0.45);
  EXPECT_EQ(make_strategy(spec)->total(), 6);
}

TEST(Grid, SkipsInactiveFieldsWithoutLookingAtTheirValues) {
  // 1 + 50^4 full combinations below each of two values; only one of them is active.
  std::vector<Field> fields{flag_field("on")};
  for (const char* name : {"a", "b", "c", "d"})
    fields.push_back(only_when(whole_field(name, 1, 50), "on", {true}));
  fields.back().when[0].values = {};  // d is never active
  const SearchSpace space(fields);
  GridWalk walk(space);
  std::int64_t points = 0;
  for (; walk.point() != nullptr; walk.advance()) ++points;
  EXPECT_EQ(points, 1 + 50 * 50 * 50);
  EXPECT_EQ(walk.visits(), points);
}

TEST(Grid, OfAHugeSpaceIsNeitherCountedNorMaterialised) {
  std::vector<Field> fields;
  for (std::size_t i = 0; i < 12; ++i) fields.push_back(whole_field(numbered('p', i), 1, 1000));
  const ExperimentSpec spec = spec_of(SearchSpace(fields), "grid");
  EXPECT_EQ(make_strategy(spec)->total(), std::nullopt);
  EXPECT_EQ(to_text(drive(spec, 1002, nothing).points[1001]),
            "p0=1 p1=1 p2=1 p3=1 p4=1 p5=1 p6=1 p7=1 p8=1 p9=1 p10=2 p11=2");
}

TEST(Grid, LeavesNoPointOutWhenPeopleAddSome) {
  const ExperimentSpec spec = spec_of(mixed_space(true), "grid");
  const std::vector<ParamSet> all = brute_force(spec.space);
  Record record;
  const auto strategy = make_strategy(spec);
  for (std::size_t turn = 0;; ++turn) {
    Trial trial;
    if (turn % 7 == 3) {
      trial.params = all[(turn * 31) % all.size()];  // sometimes tried already, sometimes to come
    } else {
      const TrialId k = record.points.size();
      const auto suggestion = strategy->propose(k, propose_stream(spec, k), record.points);
      if (!suggestion) break;
      trial.params = suggestion->proposal.params;
    }
    append(record, std::move(trial), nothing);
  }
  std::vector<std::string> trained;
  for (const Trial& trial : record.trials)
    if (trial.state != TrialState::duplicate) trained.push_back(to_text(trial.params));
  EXPECT_EQ(trained.size(), all.size());
  EXPECT_EQ(std::set<std::string>(trained.begin(), trained.end()).size(), all.size());
}

// --- random ---

TEST(Random, TriesEveryPointOfAFiniteSpaceOnceAndEnds) {
  const ExperimentSpec spec = spec_of(mixed_space(true), "random");
  const Record record = drive(spec, 10000, nothing);
  EXPECT_TRUE(record.ended);
  EXPECT_EQ(record.trials.size(), brute_force(spec.space).size());
  for (const Trial& trial : record.trials) EXPECT_EQ(trial.state, TrialState::completed);
  EXPECT_EQ(make_strategy(spec)->total(), static_cast<std::int64_t>(record.trials.size()));
}

TEST(Random, OfAContinuousSpaceGoesOn) {
  EXPECT_EQ(make_strategy(spec_of(mixed_space(false), "random"))->total(), std::nullopt);
}

TEST(Random, FillsTheUnitIntervalOfEachFieldEvenly) {
  const ExperimentSpec spec = spec_of(
      SearchSpace({real_field("linear", 0.0, 1.0), real_field("log", 1e-4, 1.0, 0.0, true)}),
      "random");
  const Record record = drive(spec, 4000, nothing);
  for (std::size_t field = 0; field < 2; ++field) {
    std::vector<int> counts(10);
    for (const Trial& trial : record.trials)
      ++counts.at(static_cast<std::size_t>(std::min(
          9.0, 10.0 * spec.space.fields()[field].encode(trial.params.entries()[field].second))));
    for (int count : counts) EXPECT_NEAR(count, 400, 80);
  }
}

// --- genetic ---

ExperimentSpec genetic_spec(const std::string& settings, std::uint64_t seed = 1) {
  return spec_of(mixed_space(false), "genetic", settings, seed);
}

TEST(Genetic, WaitsForWholeGenerationsOnly) {
  const auto strategy = make_strategy(genetic_spec(R"({"population_size": 10})"));
  EXPECT_EQ(strategy->horizon(0), 0);
  EXPECT_EQ(strategy->horizon(9), 0);
  EXPECT_EQ(strategy->horizon(10), 10);
  EXPECT_EQ(strategy->horizon(29), 20);
}

TEST(Genetic, EndsAfterItsGenerations) {
  const ExperimentSpec spec = genetic_spec(R"({"population_size": 10, "generations": 3})");
  const Record record =
      drive(spec, 100, [&](Trial& trial) { trial.objective = bowl(spec.space, trial.params); });
  EXPECT_TRUE(record.ended);
  EXPECT_EQ(record.trials.size(), 30U);
  EXPECT_EQ(make_strategy(spec)->total(), 30);
}

TEST(Genetic, StartsEachGenerationWithTheEliteServedFromTheRecord) {
  for (const bool maximize : {true, false}) {
    ExperimentSpec spec = genetic_spec(R"({"population_size": 10, "elitism": 3})");
    spec.objective.maximize = maximize;
    const Record record = drive(spec, 50, [&](Trial& trial) {
      trial.objective = bowl(spec.space, trial.params) * (maximize ? 1.0 : -1.0);
    });
    for (std::size_t begin = 10; begin < 50; begin += 10) {
      std::vector<Trial> last(record.trials.begin() + static_cast<std::ptrdiff_t>(begin) - 10,
                              record.trials.begin() + static_cast<std::ptrdiff_t>(begin));
      std::stable_sort(last.begin(), last.end(), [&](const Trial& a, const Trial& b) {
        return maximize ? *a.objective > *b.objective : *a.objective < *b.objective;
      });
      for (std::size_t i = 0; i < 3; ++i) {
        const Trial& elite = record.trials[begin + i];
        EXPECT_EQ(elite.params, last[i].params);
        EXPECT_EQ(elite.state, TrialState::duplicate);
        EXPECT_EQ(elite.lineage, std::vector<TrialId>{last[i].same_as.value_or(last[i].id)});
      }
      for (std::size_t i = 3; i < 10; ++i)
        EXPECT_EQ(record.trials[begin + i].state, TrialState::completed) << "a child is new";
    }
  }
}

TEST(Genetic, NeverCarriesOnFailedTrialsAsElite) {
  const ExperimentSpec spec = genetic_spec(R"({"population_size": 6, "elitism": 4})");
  const Record record = drive(spec, 12, [&](Trial& trial) {
    if (trial.id == 2)
      trial.objective = 1.0;
    else
      trial.state = TrialState::failed;
  });
  EXPECT_EQ(record.points[6], record.points[2]);
  for (std::size_t i = 7; i < 12; ++i) EXPECT_NE(record.trials[i].state, TrialState::duplicate);
}

TEST(Genetic, BreedsMoreFromTheBetterHalf) {
  const ExperimentSpec spec = genetic_spec(
      R"({"population_size": 40, "elitism": 0, "selection": {"size": 3},
          "crossover": {"probability": 0}})");
  // The id is the objective, so ranks are known: with size 3 the better half wins 7 of 8 times.
  const Record record =
      drive(spec, 400, [](Trial& trial) { trial.objective = static_cast<double>(trial.id); });
  int better = 0;
  for (std::size_t i = 40; i < 400; ++i) {
    ASSERT_EQ(record.trials[i].lineage.size(), 1U);
    if (record.trials[i].lineage[0] % 40 >= 20) ++better;
  }
  EXPECT_NEAR(better / 360.0, 0.875, 0.05);
}

TEST(Genetic, NamesBothParentsOfACross) {
  const ExperimentSpec spec =
      genetic_spec(R"({"population_size": 20, "elitism": 0, "crossover": {"probability": 1}})");
  const Record record =
      drive(spec, 40, [&](Trial& trial) { trial.objective = bowl(spec.space, trial.params); });
  for (std::size_t i = 20; i < 40; ++i) {
    ASSERT_EQ(record.trials[i].lineage.size(), 2U);
    EXPECT_NE(record.trials[i].lineage[0], record.trials[i].lineage[1]);
  }
}

TEST(Genetic, WithoutMutationAChildHasItsParentsGenesOnly) {
  const ExperimentSpec spec =
      spec_of(SearchSpace({real_field("x", 0.0, 1.0), real_field("y", 0.0, 1.0), flag_field("f")}),
              "genetic",
              R"({"population_size": 20, "elitism": 0, "mutation": {"probability": 0},
          "crossover": {"probability": 1}})");
  const Record record =
      drive(spec, 40, [&](Trial& trial) { trial.objective = bowl(spec.space, trial.params); });
  int pure = 0;
  for (std::size_t i = 20; i < 40; ++i) {
    const Trial& child = record.trials[i];
    bool from_parents = true;
    for (const auto& [name, value] : child.params.entries()) {
      bool found = false;
      for (TrialId id : child.lineage) found = found || *record.points[id].find(name) == value;
      from_parents = from_parents && found;
    }
    if (from_parents) ++pure;
  }
  EXPECT_GE(pure, 8) << "the others were tried before and had to be mutated";
}

TEST(Genetic, KeepsTheLatentGenesOfAnEliteThroughItsCopies) {
  // Switching `on` on reveals x. The latent value of trial 0 must be the one drawn for trial 0,
  // also when the parent is a copy of it many generations later.
  const SearchSpace space({flag_field("on"), only_when(real_field("x", 0.0, 1.0), "on", {true}),
                           whole_field("y", 0, 1000)});
  const ExperimentSpec spec =
      spec_of(space, "genetic",
              R"({"population_size": 4, "elitism": 1, "crossover": {"probability": 0},
          "mutation": {"probability": 0.3}})");
  ParamSet start;
  start.set("on", false);
  start.set("y", std::int64_t{500});
  const Value latent = space.complete(start, spec.seed, 0)[1];
  Record record;
  Trial initial;
  initial.params = start;
  const Evaluate only_trial_0 = [](Trial& trial) { trial.objective = trial.id == 0 ? 1.0 : 0.0; };
  append(record, initial, only_trial_0);
  drive(spec, 400, only_trial_0, record);
  int revealed = 0;
  for (const Trial& trial : record.trials) {
    const Value* x = trial.params.find("x");
    if (trial.id < 8 || x == nullptr || trial.lineage != std::vector<TrialId>{0}) continue;
    if (*x == latent) ++revealed;
  }
  EXPECT_GT(revealed, 5);
}

double best_of(const ExperimentSpec& spec, TrialId trials) {
  double best = -1e9;
  const Evaluate evaluate = [&](Trial& trial) { trial.objective = bowl(spec.space, trial.params); };
  for (const Trial& trial : drive(spec, trials, evaluate).trials)
    best = std::max(best, trial.objective.value());
  return best;
}

TEST(Genetic, ComesCloserThanRandomSearchOnAKnownFunction) {
  std::vector<Field> fields;
  for (std::size_t i = 0; i < 5; ++i) fields.push_back(real_field(numbered('x', i), 0.0, 1.0));
  fields.push_back(whole_field("n", 1, 20));
  const SearchSpace space(fields);
  int wins = 0;
  std::vector<double> reached;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const double genetic =
        best_of(spec_of(space, "genetic", R"({"population_size": 20})", seed), 400);
    const double random = best_of(spec_of(space, "random", "{}", seed), 400);
    if (genetic > random) ++wins;
    reached.push_back(genetic);
  }
  std::sort(reached.begin(), reached.end());
  for (double r : reached) printf("%g ", r);
  EXPECT_GE(wins, 19) << "of 20 seeds";
  EXPECT_GT(reached[10], -0.004) << "the median over the seeds";
}

// --- settings ---

std::vector<std::string> said(const Algorithm& search, const SearchSpace& space) {
  std::vector<std::string> lines;
  for (const Problem& problem : check_search(search, space))
    lines.push_back(problem.pointer + ": " + problem.message);
  return lines;
}

TEST(CheckSearch, NamesAnUnknownAlgorithm) {
  EXPECT_EQ(
      said({"genetics", "{}"}, mixed_space(true)),
      std::vector<std::string>{
          "/algorithm: there is no search algorithm \"genetics\" (did you mean \"genetic\"?)"});
}

TEST(CheckSearch, FindsAllProblemsOfTheSettingsAtOnce) {
  const std::vector<std::string> expected = {
      "/settings/population_sise: there is no such setting (did you mean \"population_size\"?)",
      "/settings/generations: should be a whole number from 1 to 1000000, or null (is 0)",
      "/settings/selection/method: should be \"tournament\" (is \"roulette\")",
      "/settings/crossover: should be an object (is \"uniform\")",
      "/settings/mutation/sigma: should be a number from 1e-06 to 1.0 (is \"big\")",
      "/settings/mutation/rate: there is no such setting"};
  EXPECT_EQ(said({"genetic", R"({"population_sise": 9, "generations": 0,
                                 "selection": {"method": "roulette"}, "crossover": "uniform",
                                 "mutation": {"sigma": "big", "rate": 1}})"},
                 mixed_space(true)),
            expected);
}

TEST(CheckSearch, FindsSettingsThatContradictEachOtherOrTheSpace) {
  EXPECT_EQ(said({"genetic", R"({"population_size": 4, "elitism": 4, "selection": {"size": 5}})"},
                 mixed_space(true)),
            (std::vector<std::string>{
                "/settings/elitism: should be below population_size (4) (is 4)",
                "/settings/selection/size: should be at most population_size (4) (is 5)"}));
  EXPECT_EQ(said({"genetic", "{}"}, SearchSpace({whole_field("n", 1, 3)})),
            std::vector<std::string>{"/settings/population_size: is more than the space has points "
                                     "(50 of 3): make it smaller, or use \"grid\""});
  EXPECT_EQ(said({"genetic", R"({"crossover": {"alpha": 0.3}})"}, mixed_space(false)),
            std::vector<std::string>{
                "/settings/crossover/alpha: has no effect unless crossover/method is \"blend\""});
}

TEST(CheckSearch, RefusesAContinuousParameterOfAGridWithTheRemedy) {
  EXPECT_EQ(said({"grid", "{}"}, SearchSpace({real_field("rate", 0.0, 1.0), flag_field("f")})),
            std::vector<std::string>{
                "/algorithm: \"grid\" needs countable parameters, and \"rate\" is continuous: give "
                "it a \"step\" or \"values\", or use \"random\""});
}

TEST(CheckSearch, SaysThatAnAlgorithmHasNoSettings) {
  EXPECT_EQ(said({"random", R"({"trials": 9})"}, mixed_space(true)),
            std::vector<std::string>{"/settings/trials: this algorithm has no settings"});
}

TEST(Defaults, AreFilledInAndPassTheirOwnCheck) {
  EXPECT_EQ(with_defaults({"grid", "{}"}), "{}");
  EXPECT_EQ(with_defaults({"asha", R"({"min_epochs": 2})"}),
            R"({"min_epochs":2,"reduction_factor":4,"verdict_lag":16})");
  EXPECT_EQ(with_defaults({"genetic", R"({"mutation": {"sigma": 0.2}})"}),
            R"({"population_size":50,"generations":null,"elitism":1,)"
            R"("selection":{"method":"tournament","size":3},)"
            R"("crossover":{"method":"uniform","probability":0.9},)"
            R"("mutation":{"probability":null,"sigma":0.2}})");
  for (const std::string& name : strategy_names()) {
    const std::string filled = with_defaults({name, "{}"});
    EXPECT_TRUE(check_search({name, filled}, mixed_space(true)).empty()) << name;
    EXPECT_EQ(with_defaults({name, filled}), filled);
  }
  for (const std::string& name : stopper_names()) {
    const std::string filled = with_defaults({name, "{}"});
    EXPECT_TRUE(check_stopper({name, filled}, 99).empty()) << name;
    EXPECT_EQ(with_defaults({name, filled}), filled);
  }
}

TEST(Defaults, OnlyTheNumberOfGenerationsMayChangeOnResume) {
  const std::vector<std::string> keys = proposal_keys("genetic");
  EXPECT_EQ(std::count(keys.begin(), keys.end(), "/settings/mutation/sigma"), 1);
  EXPECT_EQ(std::count(keys.begin(), keys.end(), "/settings/generations"), 0);
  EXPECT_EQ(keys.size(), 9U);
}

void leaves(const Json& settings, const std::string& path, std::vector<std::string>& rows) {
  for (const auto& [key, value] : settings.items()) {
    if (value.is_object())
      leaves(value, path + key + ".", rows);
    else
      rows.push_back("| `" + path + key + "` | `" + value.dump() + "` |");
  }
}

TEST(Docs, NameEveryAlgorithmSettingAndDefault) {
  const char* source = std::getenv("BROOD_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "run it by ctest";
  std::ostringstream page;
  page << std::ifstream(std::string(source) + "/docs/strategies.md").rdbuf();
  std::vector<std::string> names = strategy_names();
  for (const std::string& name : stopper_names()) names.push_back(name);
  for (const std::string& name : names) {
    std::vector<std::string> rows{"## " + name};
    const std::string fullest = name == "genetic" ? R"({"crossover": {"method": "blend"}})" : "{}";
    leaves(parse_json(with_defaults({name, fullest})), "", rows);
    if (name == "genetic")
      std::replace(rows.begin(), rows.end(), std::string("| `crossover.method` | `\"blend\"` |"),
                   std::string("| `crossover.method` | `\"uniform\"` |"));
    for (const std::string& row : rows)
      EXPECT_NE(page.str().find(row), std::string::npos) << "docs/strategies.md lacks: " << row;
  }
}

}  // namespace
}  // namespace brood
