// Goal: points mean the same everywhere. Method: properties over many fields and seeds (decode and
// encode are inverse, cells of equal width, mask and complete are inverse), and small cases by
// hand.
#include "engine/space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/error.h"

namespace brood {
namespace {

using testing::HasSubstr;

Value whole(std::int64_t n) { return n; }

Field real(double min, double max, double step = 0, bool log = false) {
  Field field;
  field.name = "x";
  field.kind = FieldKind::real;
  field.min = min;
  field.max = max;
  field.step = step;
  field.log = log;
  return field;
}

Field integer(double min, double max, double step = 0, bool log = false) {
  Field field = real(min, max, step, log);
  field.kind = FieldKind::whole;
  return field;
}

Field listed(FieldKind kind, std::vector<Value> values) {
  Field field;
  field.name = "x";
  field.kind = kind;
  field.values = std::move(values);
  return field;
}

std::vector<Field> discrete_fields() {
  return {integer(-3, 4),
          integer(0, 12, 4),
          integer(1, 200, 0, true),
          integer(5, 5),
          integer(-9007199254740992.0, 9007199254740992.0),
          real(0.0, 0.6, 0.1),
          real(-1, 1, 0.25),
          real(2, 2),
          listed(FieldKind::flag, {false, true}),
          listed(FieldKind::categorical, {Value("sgd"), Value("adam"), Value(3.5)}),
          listed(FieldKind::ordinal, {0.001, 0.0005, 0.0001}),
          listed(FieldKind::constant, {Value("only")})};
}

TEST(Field, DecodesWhatItEncodedForEveryValue) {
  for (const Field& field : discrete_fields()) {
    const std::int64_t count = *field.cardinality();
    for (std::int64_t i = 0; i < std::min<std::int64_t>(count, 1000); ++i) {
      for (const std::int64_t index : {i, count - 1 - i}) {
        const Value value = field.value_at(index);
        EXPECT_EQ(field.index_of(value), index) << to_text(value);
        if (count > 1000000) continue;  // finer than the 53 bits of a unit
        EXPECT_EQ(field.decode(field.encode(value)), value) << to_text(value);
      }
    }
  }
}

TEST(Field, DecodesWhatItEncodedOnContinuousRanges) {
  Rng rng(1, 0, Purpose::simulate);
  for (const Field& field :
       {real(-5, 10), real(1e-6, 1e-2, 0, true), real(1e-300, 1e300, 0, true)}) {
    EXPECT_FALSE(field.cardinality());
    for (int i = 0; i < 1000; ++i) {
      const double value = std::get<double>(field.decode(rng.uniform()));
      const double again = std::get<double>(field.decode(field.encode(value)));
      EXPECT_NEAR(again, value, 1e-12 * std::abs(value));
      EXPECT_TRUE(field.contains(value));
    }
  }
}

TEST(Field, MakesBothEndsAsLikelyAsTheMiddle) {
  for (const Field& field : discrete_fields()) {
    const std::int64_t count = *field.cardinality();
    if (count > 100 || field.log) continue;
    // The unit interval in equal steps: each value gets the same number of them.
    std::map<std::string, int> hits;
    const int steps = static_cast<int>(count) * 100;
    for (int i = 0; i < steps; ++i) ++hits[to_text(field.decode((i + 0.5) / steps))];
    EXPECT_EQ(static_cast<std::int64_t>(hits.size()), count);
    for (const auto& [value, n] : hits) EXPECT_EQ(n, 100) << value;
  }
}

TEST(Field, DrawsWholeLogNumbersInProportionToTheirShareOfTheLogRange) {
  const Field field = integer(1, 8, 0, true);
  std::map<std::int64_t, double> hits;
  const int steps = 100000;
  for (int i = 0; i < steps; ++i)
    hits[std::get<std::int64_t>(field.decode((i + 0.5) / steps))] += 1.0 / steps;
  for (int n = 1; n <= 8; ++n)
    EXPECT_NEAR(hits[n], std::log((n + 0.5) / (n - 0.5)) / std::log(8.5 / 0.5), 1e-4) << n;
}

TEST(Field, StaysInsideItsRangeAtTheEndsOfTheUnitInterval) {
  for (const Field& field : {real(0.0003, 0.3, 0, true), integer(1, 7, 0, true), real(-2, 3)}) {
    for (const double unit : {0.0, 1.0, 0x1.fffffffffffffp-1})
      EXPECT_TRUE(field.contains(field.decode(unit)));
  }
  const Field log = real(0.0003, 0.3, 0, true);
  EXPECT_NEAR(std::get<double>(log.decode(0.5)), std::sqrt(0.0003 * 0.3), 1e-12);
}

TEST(Field, WritesStepsAsPeopleDo) {
  const Field field = real(0.0, 0.6, 0.1);
  EXPECT_EQ(to_text(field.value_at(3)), "0.3");
  EXPECT_EQ(*field.cardinality(), 7);
}

TEST(Field, ContainsOnlyItsOwnTypeAndSteps) {
  EXPECT_FALSE(integer(1, 3).contains(2.0));
  EXPECT_FALSE(real(1, 3).contains(whole(2)));
  EXPECT_FALSE(integer(0, 12, 4).contains(whole(6)));
  EXPECT_FALSE(real(0, 1, 0.25).contains(0.3));
  EXPECT_FALSE(real(0, 1).contains(std::nan("")));
  EXPECT_TRUE(integer(0, 12, 4).contains(whole(8)));
}

// optimizer, momentum (sgd only), nesterov (momentum of at least 0.5 only), depth.
std::vector<Field> conditional_fields() {
  Field optimizer = listed(FieldKind::categorical, {Value("sgd"), Value("adam")});
  optimizer.name = "optimizer";
  Field momentum = real(0, 1);
  momentum.name = "momentum";
  momentum.when = {{.parent = "optimizer", .op = Condition::Op::any_of, .values = {Value("sgd")}}};
  Field nesterov = listed(FieldKind::flag, {false, true});
  nesterov.name = "nesterov";
  nesterov.when = {
      {.parent = "momentum", .op = Condition::Op::at_least, .values = {}, .bound = 0.5}};
  Field depth = integer(1, 3);
  depth.name = "depth";
  return {optimizer, momentum, nesterov, depth};
}

TEST(SearchSpace, SwitchesOffChildrenOfInactiveParents) {
  const SearchSpace space(conditional_fields());
  const Point sgd = {Value("sgd"), 0.9, true, whole(2)};
  EXPECT_EQ(to_text(space.mask(sgd)), "optimizer=sgd momentum=0.9 nesterov=true depth=2");
  EXPECT_EQ(to_text(space.mask({Value("sgd"), 0.4, true, whole(2)})),
            "optimizer=sgd momentum=0.4 depth=2");
  EXPECT_EQ(to_text(space.mask({Value("adam"), 0.9, true, whole(2)})), "optimizer=adam depth=2");
}

TEST(SearchSpace, ComparesAtTheBoundAsTheSignSays) {
  using Op = Condition::Op;
  const auto active = [](Op op, std::int64_t value) -> bool {
    Field parent = integer(1, 3);
    parent.name = "n";
    Field child = real(0, 1);
    child.when = {{.parent = "n", .op = op, .values = {}, .bound = 2}};
    return SearchSpace({parent, child}).active({whole(value), 0.5})[1];
  };
  const std::map<Op, std::string> expected = {
      {Op::at_least, "011"}, {Op::above, "001"}, {Op::at_most, "110"}, {Op::below, "100"}};
  for (const auto& [op, on] : expected)
    for (int n = 1; n <= 3; ++n)
      EXPECT_EQ(active(op, n), on[static_cast<std::size_t>(n - 1)] == '1');
}

TEST(SearchSpace, DropsWhatTheTrainerDoesNotMentionAndThenItsChildren) {
  // The trainer mentions momentum only in deep networks; nesterov always.
  const auto mentions = [](const ParamSet& params) {
    std::vector<std::string> names = {"optimizer", "depth", "nesterov"};
    if (params.whole("depth") > 1) names.push_back("momentum");
    return names;
  };
  const SearchSpace space(conditional_fields(), mentions);
  EXPECT_EQ(to_text(space.mask({Value("sgd"), 0.9, true, whole(1)})), "optimizer=sgd depth=1");
  EXPECT_EQ(to_text(space.mask({Value("sgd"), 0.9, true, whole(2)})),
            "optimizer=sgd momentum=0.9 nesterov=true depth=2");
}

TEST(SearchSpace, CompletesWhatItMaskedForAnySeed) {
  const SearchSpace space(conditional_fields());
  Rng rng(3, 0, Purpose::simulate);
  for (std::uint64_t trial = 0; trial < 500; ++trial) {
    const ParamSet masked = space.mask(space.sample(rng));
    space.require_member(masked);
    const Point full = space.complete(masked, 7, trial);
    EXPECT_EQ(space.mask(full), masked);
    EXPECT_EQ(space.complete(masked, 7, trial), full);
  }
}

TEST(SearchSpace, DrawsLatentGenesFromSeedTrialAndGeneAlone) {
  const SearchSpace space(conditional_fields());
  ParamSet adam;
  adam.set("optimizer", Value("adam"));
  adam.set("depth", whole(2));
  ParamSet other = adam;
  other.set("depth", whole(3));
  EXPECT_EQ(space.complete(adam, 7, 4)[1], space.complete(other, 7, 4)[1]);
  EXPECT_NE(space.complete(adam, 7, 4)[1], space.complete(adam, 7, 5)[1]);
  EXPECT_NE(space.complete(adam, 7, 4)[1], space.complete(adam, 8, 4)[1]);
}

TEST(SearchSpace, CountsTheCrossProduct) {
  EXPECT_EQ(SearchSpace().cross_size(), 1);
  Field a = integer(1, 3), b = listed(FieldKind::flag, {false, true});
  b.name = "y";
  EXPECT_EQ(SearchSpace({a, b}).cross_size(), 6);
  EXPECT_EQ(SearchSpace(conditional_fields()).cross_size(), std::nullopt);
  Field wide = integer(-9007199254740992.0, 9007199254740992.0), wider = wide;
  wider.name = "y";
  EXPECT_EQ(SearchSpace({wide, wider}).cross_size(), std::nullopt);
}

std::string refusal(const ParamSet& params) {
  try {
    SearchSpace(conditional_fields()).require_member(params);
    return "";
  } catch (const UserError& error) {
    return error.what();
  }
}

TEST(SearchSpace, RefusesPointsThatItCannotHaveMade) {
  ParamSet params;
  params.set("optimizer", Value("adam"));
  EXPECT_THAT(refusal(params), HasSubstr("\"depth\" is missing"));
  params.set("depth", whole(9));
  EXPECT_EQ(refusal(params), "parameter \"depth\" should be a whole number from 1 to 3 (is 9)");
  params.set("depth", whole(2));
  EXPECT_EQ(refusal(params), "");
  ParamSet extra = params;
  extra.set("width", whole(1));
  EXPECT_THAT(refusal(extra), HasSubstr("\"width\" is not in the search space"));
  ParamSet inactive = params;
  inactive.set("momentum", 0.5);
  EXPECT_THAT(refusal(inactive), HasSubstr("\"momentum\" is set, but has no effect"));
  ParamSet swapped;
  swapped.set("depth", whole(2));
  swapped.set("optimizer", Value("adam"));
  EXPECT_THAT(refusal(swapped), HasSubstr("order"));
}

}  // namespace
}  // namespace brood
