// The filter language: what it compiles to, and what it says of what it does not understand.
#include <gtest/gtest.h>

#include "engine/error.h"
#include "store/filter.h"

namespace brood {
namespace {

using Kind = KnownColumn::Kind;

const std::vector<KnownColumn> kKnown = {
    {"val_accuracy", "val_accuracy", Kind::number}, {"val_loss", "val_loss", Kind::number},
    {"optimizer", "optimizer", Kind::label},        {"filters[1]", "filters[1]", Kind::number},
    {"nesterov", "nesterov", Kind::flag},           {"mixed", "mixed", Kind::any},
    {"a \"b\" or", "a \"b\" or", Kind::number}};

std::string sql(const std::string& text) { return parse_filter(text, kKnown).sql; }

std::string refusal(const std::string& text) {
  try {
    return "understood: " + sql(text);
  } catch (const UserError& error) {
    return error.what();
  }
}

TEST(Filter, BindsValuesAndQuotesNames) {
  const Filter filter = parse_filter("val_accuracy > 0.9 and optimizer = 'it''s'", kKnown);
  EXPECT_EQ(filter.sql, "\"val_accuracy\" > ?1 AND \"optimizer\" = ?2");
  ASSERT_EQ(filter.values.size(), 2u);
  EXPECT_EQ(filter.values[0], Cell(0.9));
  EXPECT_EQ(filter.values[1], Cell(std::string("it's")));
}

TEST(Filter, IsEmptyForNothing) { EXPECT_EQ(sql("  "), ""); }

TEST(Filter, KnowsPrecedenceParenthesesAndNot) {
  EXPECT_EQ(sql("val_loss<1 OR val_loss>2 AND NOT nesterov=true"),
            "\"val_loss\" < ?1 OR \"val_loss\" > ?2 AND NOT (\"nesterov\" = ?3)");
  EXPECT_EQ(sql("(val_loss<1 || val_loss>2) && !(val_loss=3)"),
            "(\"val_loss\" < ?1 OR \"val_loss\" > ?2) AND NOT ((\"val_loss\" = ?3))");
}

TEST(Filter, TakesEveryComparison) {
  EXPECT_EQ(sql("filters[1] != 3"), "\"filters[1]\" <> ?1");
  EXPECT_EQ(sql("0.5 <= val_loss"), "?1 <= \"val_loss\"");
  EXPECT_EQ(sql("val_loss < val_accuracy"), "\"val_loss\" < \"val_accuracy\"");
  EXPECT_EQ(sql("filters[1] in (16, 32)"), "\"filters[1]\" IN (?1, ?2)");
  EXPECT_EQ(sql("optimizer not like 'ad%'"), "\"optimizer\" NOT LIKE ?1");
  EXPECT_EQ(sql("nesterov is missing"), "\"nesterov\" IS NULL");
  EXPECT_EQ(sql("nesterov is not null"), "\"nesterov\" IS NOT NULL");
  EXPECT_EQ(sql("\"a \"\"b\"\" or\" == -1e-3"), "\"a \"\"b\"\" or\" = ?1");
  EXPECT_EQ(parse_filter("val_loss = -1e-3", kKnown).values[0], Cell(-1e-3));
  EXPECT_EQ(parse_filter("nesterov = true", kKnown).values[0], Cell(std::int64_t{1}));
  EXPECT_EQ(parse_filter("mixed = true", kKnown).values[0], Cell(std::string("true")));
}

TEST(Filter, SaysWhatItDoesNotUnderstandAndWhere) {
  EXPECT_EQ(refusal("val_acuracy > 0.9"),
            "filter, character 1: there is no parameter or metric \"val_acuracy\" (did you mean "
            "\"val_accuracy\"?) (a label is written in quotes: 'val_acuracy')");
  EXPECT_EQ(refusal("val_loss > "),
            "filter, character 12: expected a name or a value, found the end");
  EXPECT_EQ(refusal("val_loss 3"),
            "filter, character 10: expected = != < <= > >= in like or \"is missing\" after "
            "\"val_loss\", found 3");
  EXPECT_EQ(refusal("(val_loss > 3"), "filter, character 14: expected ), found the end");
  EXPECT_EQ(refusal("val_loss > 3 val_loss < 4"),
            "filter, character 14: expected \"and\", \"or\" or the end, found val_loss");
  EXPECT_EQ(refusal("optimizer = 3"),
            "filter, character 13: \"optimizer\" is a label: write the value in 'quotes'");
  EXPECT_EQ(refusal("val_loss = 'low'"),
            "filter, character 12: \"val_loss\" is a number: compare it with one");
  EXPECT_EQ(refusal("nesterov = 1"), "filter, character 12: \"nesterov\" is true or false");
  EXPECT_EQ(refusal("val_loss < 1.2.3"), "filter, character 12: not a number: 1.2.3");
  EXPECT_EQ(refusal("optimizer = 'adam"), "filter, character 13: the quote is never closed");
  EXPECT_EQ(refusal("1 < 2"), "filter, character 1: one side of a comparison has to be a name");
  EXPECT_EQ(refusal("val_loss in 3"), "filter, character 13: expected ( and the values, found 3");
  EXPECT_EQ(refusal("val_loss; DROP TABLE trial"),
            "filter, character 9: expected = != < <= > >= in like or \"is missing\" after "
            "\"val_loss\", found ;");
}

TEST(Filter, RefusesDeepNestingInsteadOfExhaustingTheStack) {
  EXPECT_NE(refusal(std::string(100'000, '(') + "val_loss = 1").find("nested too deeply"),
            std::string::npos);
}

}  // namespace
}  // namespace brood
