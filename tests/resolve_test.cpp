// Goal: a trainer's block means the same to masks, plans and trainers. Method: small blocks with
// their resolved text, mentions and origins by hand; CONFIG's genetic network whole; each refusal
// with its place.
#include "engine/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brood {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ParamSet params(const std::vector<std::pair<std::string, Value>>& entries) {
  ParamSet out;
  for (const auto& [name, value] : entries) out.set(name, value);
  return out;
}

Value n(std::int64_t number) { return number; }

std::string resolved(const std::string& block, const ParamSet& point) {
  try {
    return Template(block).resolve(point).json;
  } catch (const UserError& error) {
    return error.what();
  }
}

TEST(Resolve, PutsValuesInPlaceAndKeepsTheRest) {
  const ParamSet point =
      params({{"lr", 0.001}, {"name", Value("a\"b\n")}, {"on", true}, {"k", n(3)}});
  EXPECT_EQ(resolved(R"({"a": [1, 2.5, null, {}], "lr": {"$param": "lr"}, "n": {"$param": "name"},
                         "on": {"$param": "on"}, "k": {"$expr": "k * 2"}})",
                     point),
            R"({"a":[1,2.5,null,{}],"lr":0.001,"n":"a\"b\u000a","on":true,"k":6})");
}

TEST(Resolve, RemovesKeysAndElementsOfAbsentParameters) {
  const std::string block =
      R"({"momentum": {"$param": "m"}, "list": [1, {"$param": "m"}, {"$expr": "m + 1"}, 2],
          "layers": [{"repeat": {"count": {"$param": "m"}, "body": [3]}},
                     {"choose": {"by": {"$param": "m"}, "cases": {"1": [4]}}}, 5]})";
  EXPECT_EQ(resolved(block, {}), R"({"list":[1,2],"layers":[5]})");
  EXPECT_EQ(resolved(block, params({{"m", n(1)}})),
            R"({"momentum":1,"list":[1,1,2,2],"layers":[3,4,5]})");
}

TEST(Resolve, CountsRepeatsFromOneAndNestsThem) {
  EXPECT_EQ(resolved(R"([{"repeat": {"count": 2, "as": "i", "body": [
                          {"repeat": {"count": {"$expr": "i"}, "as": "j", "body": [
                            {"$expr": "10 * i + j"}]}}]}}])",
                     {}),
            "[11,21,22]");
  EXPECT_EQ(resolved(R"([{"repeat": {"count": 0, "body": [1]}}])", {}), "[]");
}

TEST(Resolve, NamesMembersOfFamiliesByCounter) {
  const ParamSet point = params({{"f[1]", n(16)}, {"f[2]", n(32)}});
  EXPECT_EQ(resolved(R"([{"repeat": {"count": 2, "as": "i", "body": [{"$param": "f[i]"}]}},
                         {"$param": "f[2]"}])",
                     point),
            "[16,32,32]");
  EXPECT_EQ(Template(R"([{"repeat": {"count": 3, "as": "i", "body": [{"$param": "f[i]"}]}}])")
                .resolve(point)
                .json,
            "[16,32]");
}

constexpr const char* kNetwork = R"({"layers": [
  {"repeat": {"count": {"$param": "stages"}, "as": "i", "body": [
    {"choose": {"by": {"$param": "block[i]"}, "cases": {
      "plain": [{"conv": {"filters": {"$param": "filters[i]"}}}],
      "residual": [{"residual": [{"conv": {"filters": {"$param": "filters[i]"}}}]}]}}},
    {"max_pool": {"size": 2}}]}},
  {"dropout": {"rate": {"$param": "dropout"}}}]})";

ParamSet network_point(std::int64_t stages) {
  return params({{"stages", n(stages)},
                 {"block[1]", Value("plain")},
                 {"block[2]", Value("residual")},
                 {"filters[1]", n(16)},
                 {"filters[2]", n(32)},
                 {"dropout", 0.5},
                 {"unused", n(1)}});
}

TEST(Resolve, BuildsANetwork) {
  EXPECT_EQ(resolved(kNetwork, network_point(2)),
            R"({"layers":[{"conv":{"filters":16}},{"max_pool":{"size":2}},)"
            R"({"residual":[{"conv":{"filters":32}}]},{"max_pool":{"size":2}},)"
            R"({"dropout":{"rate":0.5}}]})");
}

TEST(Resolve, MentionsExactlyWhatTheResultIsMadeOf) {
  const Template block(kNetwork);
  EXPECT_THAT(block.mentions(network_point(1)),
              ElementsAre("stages", "block[1]", "filters[1]", "dropout"));
  EXPECT_THAT(block.mentions(network_point(2)),
              ElementsAre("stages", "block[1]", "block[2]", "filters[1]", "filters[2]", "dropout"));
}

TEST(Resolve, PointsBackIntoTheBlockAsWritten) {
  const Resolved out = Template(kNetwork).resolve(network_point(2));
  EXPECT_EQ(out.origin("/layers/0/conv/filters"),
            "/layers/0/repeat/body/0/choose/cases/plain/0/conv/filters");
  EXPECT_EQ(out.origin("/layers/2/residual/0/conv"),
            "/layers/0/repeat/body/0/choose/cases/residual/0/residual/0/conv");
  EXPECT_EQ(out.origin("/layers/3"), "/layers/0/repeat/body/1");
  EXPECT_EQ(out.origin("/layers/4/dropout/rate"), "/layers/1/dropout/rate");
  EXPECT_EQ(out.origin("/layers/17"), "/layers/17");
  EXPECT_EQ(out.origin(""), "");
}

TEST(Resolve, SaysWhatWasLeftOut) {
  const Resolved out =
      Template(R"({"a": [{"$param": "x[1]"}, {"b": {"$expr": "y+1"}}]})").resolve({});
  EXPECT_EQ(out.json, R"({"a":[{}]})");
  EXPECT_THAT(out.removed, ElementsAre(std::pair<std::string, std::string>("/a/0", "x[1]"),
                                       std::pair<std::string, std::string>("/a/0/b", "y+1")));
}

TEST(Resolve, RefusesImpossiblePointsWithThePlaceAsWritten) {
  EXPECT_EQ(resolved(R"({"a": {"b": {"$expr": "1/x"}}})", params({{"x", n(0)}})),
            "/a/b: \"1/x\" divides by zero");
  EXPECT_EQ(
      resolved(R"([{"repeat": {"count": {"$param": "x"}, "body": []}}])", params({{"x", n(1001)}})),
      "/0/repeat/count: a repeat runs 0 to 1000 times (is 1001)");
  EXPECT_EQ(
      resolved(R"([{"repeat": {"count": {"$param": "x"}, "body": []}}])", params({{"x", 1.5}})),
      "/0/repeat/count: a repeat runs 0 to 1000 times (is 1.5)");
  EXPECT_EQ(resolved(R"([{"choose": {"by": {"$param": "x"}, "cases": {"a": []}}}])",
                     params({{"x", Value("b")}})),
            "/0/choose/cases: there is no case \"b\": add it");
}

TEST(Resolve, IsBoundedWhateverTheRepeats) {
  const auto nested = [](const std::string& body) {
    return R"([{"repeat": {"count": 1000, "body": [{"repeat": {"count": 1000, "body": [)" + body +
           "]}}]}}]";
  };
  EXPECT_THAT(resolved(nested("1"), {}), HasSubstr("more than 10,000"));
  EXPECT_THAT(resolved(nested(""), {}), HasSubstr("more than 10,000"));
  EXPECT_THAT(resolved(R"([{"repeat": {"count": 9999, "body": [1]}}])", {}),
              HasSubstr("0 to 1000"));
}

TEST(Resolve, MentionsEverythingWhereItCannotResolve) {
  EXPECT_THAT(Template(R"({"a": {"$expr": "1/x"}})").mentions(params({{"x", n(0)}, {"y", n(1)}})),
              ElementsAre("x", "y"));
}

std::vector<std::string> broken(const std::string& block) {
  try {
    Template ok(block);
    return {};
  } catch (const ConfigError& error) {
    std::vector<std::string> out;
    for (const Problem& problem : error.problems())
      out.push_back(problem.pointer + ": " + problem.message);
    return out;
  }
}

TEST(Template, NamesEverythingWrongWithItsOwnSyntaxAtOnce) {
  EXPECT_THAT(
      broken(R"({"a": {"$parm": "x"}, "b": {"$param": 3}, "c": {"$param": "x", "min": 1},
                 "d": {"$expr": "1 +"}, "l": [{"repeat": {"cuont": 3, "body": [], "count": 1}},
                 {"repeat": {"count": "3", "body": 1}}, {"choose": {"by": 1, "cases": {}}},
                 {"repeat": {"count": 1, "as": "i", "body": [
                   {"repeat": {"count": 1, "as": "i", "body": []}}]}}]})"),
      ElementsAre(
          R"(/a/$parm: unknown reference (did you mean "$param"?); there are $param and $expr)",
          "/b/$param: expected a text in quotes (found 3)",
          "/c/min: a reference stands alone in its object: take this key out",
          R"(/d/$expr: "1 +", character 4: expected a number, a name or a parenthesis)",
          R"(/l/0/repeat/cuont: unknown key (did you mean "count"?))",
          R"(/l/1/repeat/count: expected a whole number, $param or $expr (found "3"))",
          "/l/1/repeat/body: expected a list (found 1)",
          "/l/2/choose/by: expected $param or $expr (found 1)",
          "/l/2/choose/cases: expected an object with a list of layers for each value (found {})",
          "/l/3/repeat/body/0/repeat/as: an outer repeat already counts with \"i\": take another "
          "name"));
}

TEST(Template, ReachesOnlyTheMembersThatItsCountersCanName) {
  std::vector<Field> fields;
  Field stages;
  stages.name = "stages";
  stages.kind = FieldKind::whole;
  stages.min = 1;
  stages.max = 2;
  fields.push_back(stages);
  for (int i = 1; i <= 4; ++i) {
    Field member = stages;
    member.name = "f[" + std::to_string(i) + "]";
    fields.push_back(member);
  }
  const SearchSpace space(fields);
  const Template block(R"([{"repeat": {"count": {"$param": "stages"}, "as": "i", "body": [
                           {"$param": "f[i+1]"}]}}])");
  EXPECT_THAT(block.reachable(space), ElementsAre("f[2]", "f[3]", "stages"));
  EXPECT_TRUE(block.check(space).empty());
}

}  // namespace
}  // namespace brood
