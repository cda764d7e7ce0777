// Which parameters moved the objective: asked of databases with made-up objectives, of which it is
// known what each parameter does. Shares are held within generous bounds, the rest exactly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <sstream>

#include "cli/importance_forest.h"
#include "cli/questions.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/rng.h"
#include "tests/store_fixture.h"

namespace brood {
namespace {

using testing::HasSubstr;
using testing::Not;

using Objective = std::function<double(double x, double y, const std::string& kind)>;

class ImportanceOf : public testing::Test {
 protected:
  // Parameters x, y and noise in [0, 1]; kind: plain, bent or odd; z, where kind is bent.
  void make(TrialId trials, const Objective& objective) {
    SqliteStoreOptions options;
    options.durability = SqliteStoreOptions::Durability::manual;
    options.power_safe = false;
    const auto store = open_sqlite_store(path_, options);
    ExperimentSpec spec = small_spec("important");
    Field z = real_field("z", 0.0, 1.0);
    z.when = {Condition{.parent = "kind", .values = {std::string("bent")}}};
    spec.space = SearchSpace(
        {real_field("x", 0.0, 1.0), real_field("y", 0.0, 1.0), real_field("noise", 0.0, 1.0),
         values_field("kind", FieldKind::categorical,
                      {std::string("plain"), std::string("bent"), std::string("odd")}),
         z});
    store->open(spec, small_session());
    for (TrialId id = 0; id < trials; ++id) {
      Rng rng(3, static_cast<std::uint64_t>(id), Purpose::propose);
      Trial trial;
      trial.id = id;
      trial.params = spec.space.mask(spec.space.sample(rng));
      trial.state = TrialState::completed;
      trial.objective =
          objective(trial.params.real("x"), trial.params.real("y"), trial.params.label("kind"));
      store->put(TrialAdded{trial});
    }
    store->flush();
  }

  std::string ask(Format format, int status = 0) const {
    std::ostringstream out;
    EXPECT_EQ(importance_command({{path_, ""}, format}, out), status);
    return out.str();
  }

  std::map<std::string, double> shares() const {
    std::map<std::string, double> out;
    for (const Json& row : parse_json(ask(Format::json)))
      out[row.at("parameter").get<std::string>()] = row.at("importance").get<double>();
    return out;
  }

  TestFolder folder_;
  std::string path_ = folder_ / "important.db";
};

TEST_F(ImportanceOf, WhatMovesTheObjectiveComesFirst) {
  make(600, [](double x, double y, const std::string& kind) {
    return 4.0 * x + y + (kind == "odd" ? 1.0 : 0.0);
  });
  const auto found = shares();
  EXPECT_GT(found.at("x"), 0.7);
  EXPECT_GT(found.at("y"), 0.02);
  EXPECT_GT(found.at("kind"), 0.05);
  EXPECT_LT(found.at("noise"), 0.02);
  EXPECT_LT(found.at("z"), 0.03);
  EXPECT_THAT(ask(Format::people), HasSubstr("of the differences in rank between 600 trials"));
  EXPECT_THAT(ask(Format::people), Not(HasSubstr("beware")));
  EXPECT_THAT(ask(Format::csv), HasSubstr("parameter,importance,spread\r\nx,0."));
}

TEST_F(ImportanceOf, ALossBeyondAllOthersDrownsNothing) {
  make(600, [](double x, double, const std::string&) { return x > 0.99 ? 1e300 : x; });
  EXPECT_GT(shares().at("x"), 0.9);
}

TEST_F(ImportanceOf, WhatTwoDoTogetherIsNeithersOwn) {
  make(2000,
       [](double x, double y, const std::string&) { return (x < 0.5) == (y < 0.5) ? 1.0 : 0.0; });
  const auto found = shares();
  EXPECT_LT(found.at("x") + found.at("y"), 0.3);
}

TEST_F(ImportanceOf, PureChanceIsNamed) {
  make(300, [n = 0](double, double, const std::string&) mutable {
    return Rng(9, static_cast<std::uint64_t>(n++), Purpose::propose).uniform();
  });
  EXPECT_THAT(ask(Format::people), HasSubstr("there is little to go by yet"));
}

TEST_F(ImportanceOf, ManyTrialsAreSampledAlwaysTheSame) {
  make(4300, [](double x, double y, const std::string&) { return x + 0.1 * y; });
  EXPECT_THAT(ask(Format::people), HasSubstr("between 4096 of 4300 trials"));
  EXPECT_EQ(ask(Format::json), ask(Format::json));
}

TEST_F(ImportanceOf, EqualOrInfiniteOrFewObjectivesAreNoError) {
  make(40, [n = 0](double, double, const std::string&) mutable {
    return n++ < 20 ? std::numeric_limits<double>::infinity() : 0.5;
  });
  for (const auto& [name, share] : shares()) EXPECT_EQ(share, 0.0) << name;
  EXPECT_THAT(ask(Format::people), HasSubstr("20 trials"));
}

TEST_F(ImportanceOf, FewTrialsSayNothing) {
  make(9, [](double x, double, const std::string&) { return x; });
  EXPECT_THAT(ask(Format::people, 1), HasSubstr("9 trials with an objective; it takes 10"));
  EXPECT_EQ(ask(Format::json, 1), "[]\n");
}

}  // namespace
}  // namespace brood
