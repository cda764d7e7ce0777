// Goal: "$expr" computes what it says, with the same bits everywhere, and says what is wrong with
// the rest. Method: a table by hand; random expressions against an evaluator written differently
// (it walks a tree that it made itself); every broken text with its message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "engine/error.h"
#include "engine/expression.h"
#include "engine/rng.h"

namespace brood {
namespace {

ParamSet point() {
  ParamSet params;
  params.set("width", Value(std::int64_t{32}));
  params.set("rate", Value(0.25));
  params.set("kind", Value(std::string("plain")));
  params.set("filters[1]", Value(std::int64_t{16}));
  params.set("filters[2]", Value(std::int64_t{48}));
  return params;
}

// The value as text, "absent", or the error.
std::string result(const std::string& text) {
  const ParamSet params = point();
  Scope scope;
  scope.params = &params;
  scope.counters = {{"i", 2}, {"j", 1}};
  try {
    const std::optional<double> value = Expression::parse(text).evaluate(scope);
    return value ? to_text(number_value(*value)) : "absent";
  } catch (const UserError& error) {
    return error.what();
  }
}

TEST(Expression, FollowsTheUsualPrecedence) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"1 + 2 * 3", "7"},
                                                                  {"(1 + 2) * 3", "9"},
                                                                  {"8 - 4 - 2", "2"},
                                                                  {"8 / 4 / 2", "1"},
                                                                  {"2 ^ 3 ^ 2", "512"},
                                                                  {"-2 ^ 2", "-4"},
                                                                  {"(-2) ^ 2", "4"},
                                                                  {"2 ^ -1", "0.5"},
                                                                  {"2 * -3", "-6"},
                                                                  {"--3", "3"},
                                                                  {"1e2 + .5", "100.5"},
                                                                  {"min(3, 1, 2)", "1"},
                                                                  {"max(width, 40) / 4", "10"},
                                                                  {"round(2.5)", "3"},
                                                                  {"round(-2.5)", "-3"},
                                                                  {"floor(-0.5)", "-1"},
                                                                  {"ceil(0.1)", "1"},
                                                                  {"4 ^ 0.5", "2"}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(result(text), expected) << text;
}

TEST(Expression, KnowsParametersFamiliesAndCounters) {
  EXPECT_EQ(result("width * 2^(i-1)"), "64");
  EXPECT_EQ(result("width * 1.5"), "48");
  EXPECT_EQ(result("width * rate / 16"), "0.5");
  EXPECT_EQ(result("filters[i] - filters[i-1]"), "32");
  EXPECT_EQ(result("filters[filters[1] / 8]"), "48");
}

TEST(Expression, IsAbsentWhenAParameterIs) {
  EXPECT_EQ(result("momentum"), "absent");
  EXPECT_EQ(result("width + filters[3]"), "absent");
  EXPECT_EQ(result("filters[momentum]"), "absent");
}

TEST(Expression, NotesTheParametersItUsedOnlyWhenItHasAValue) {
  const ParamSet params = point();
  Scope scope;
  scope.params = &params;
  EXPECT_TRUE(Expression::parse("width + rate").evaluate(scope));
  EXPECT_THAT(scope.used, testing::ElementsAre(0, 1));
  scope.used.clear();
  EXPECT_FALSE(Expression::parse("width + momentum").evaluate(scope));
  EXPECT_TRUE(scope.used.empty());
}

TEST(Expression, RefusesWhatHasNoValue) {
  EXPECT_EQ(result("1 / (i - 2)"), "\"1 / (i - 2)\" divides by zero");
  EXPECT_EQ(result("1e308 * 10"), "\"1e308 * 10\" is not a finite number here");
  EXPECT_EQ(result("(-2) ^ 0.5"), "a negative number has no real power with a fraction");
  EXPECT_EQ(result("kind + 1"), "kind is not a number here (is plain)");
  EXPECT_EQ(result("filters[rate]"), "the index of filters should be a whole number (is 0.25)");
}

TEST(Expression, SaysWhichCharacterIsWrong) {
  EXPECT_EQ(result(""), "\"\", character 1: expected a number, a name or a parenthesis");
  EXPECT_EQ(result("1 +"), "\"1 +\", character 4: expected a number, a name or a parenthesis");
  EXPECT_EQ(result("1 2"), "\"1 2\", character 3: expected an operator or the end (found 2)");
  EXPECT_EQ(result("(1"), "\"(1\", character 3: expected )");
  EXPECT_EQ(result("1)"), "\"1)\", character 2: a ) that nothing opened");
  EXPECT_EQ(result("sqrt(2)"),
            "\"sqrt(2)\", character 1: unknown function sqrt (there are min, max, round, floor, "
            "ceil)");
  EXPECT_EQ(result("min(1)"), "\"min(1)\", character 6: min and max want at least two numbers");
  EXPECT_EQ(result("1e999"), "\"1e999\", character 1: not a number that can be held");
  EXPECT_EQ(result("a $ b"), "\"a $ b\", character 3: expected an operator or the end (found $)");
}

TEST(Expression, IsBoundedInLengthAndDepth) {
  EXPECT_THAT(result(std::string(501, '1')), testing::HasSubstr("at most 500 characters"));
  EXPECT_THAT(result(std::string(100, '(')), testing::HasSubstr("deeper than 32"));
  EXPECT_THAT(result(std::string(100, '-') + "1"), testing::HasSubstr("deeper than 32"));
  std::string nested;
  for (int i = 0; i < 40; ++i) nested += "f[";
  EXPECT_THAT(result(nested), testing::HasSubstr("deeper than 32"));
}

// A tree of its own with its text and its value.
struct Tree {
  std::string text;
  double value = 0.0;
};

Tree grow(Rng& rng, int depth) {
  if (depth == 0 || rng.chance(0.2)) {
    const auto n = static_cast<double>(rng.below(100)) / 4;
    return {to_text(Value(n)), n};
  }
  const Tree a = grow(rng, depth - 1), b = grow(rng, depth - 1);
  switch (rng.below(7)) {
    case 0:
      return {"(" + a.text + "+" + b.text + ")", a.value + b.value};
    case 1:
      return {"(" + a.text + " - " + b.text + ")", a.value - b.value};
    case 2:
      return {a.text + "*" + b.text, a.value * b.value};
    case 3:
      return {"min(" + a.text + "," + b.text + ")", std::min(a.value, b.value)};
    case 4:
      return {"max( " + a.text + " ,\t" + b.text + " )", std::max(a.value, b.value)};
    case 5:
      return {"(-" + a.text + ")", -a.value};
    default:
      return {"round(" + a.text + ")", std::round(a.value)};
  }
}

TEST(Expression, AgreesWithAnotherEvaluatorOnRandomTexts) {
  Rng rng(11, 0, Purpose::simulate);
  int tried = 0;
  for (int i = 0; i < 3000; ++i) {
    Tree tree = grow(rng, 4);
    if (tree.text.size() > 500) continue;
    ++tried;
    // A product's text stands alone here, so precedence cannot change what it means.
    EXPECT_EQ(result(tree.text), to_text(number_value(tree.value))) << tree.text;
  }
  EXPECT_GT(tried, 2000);
}

}  // namespace
}  // namespace brood
