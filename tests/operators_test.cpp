// The evolutionary operators keep their promises for random fields, parents and settings. Every
// property is checked over many seeded cases.
#include "strategies/operators.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "strategies_driver.h"

namespace brood {
namespace {

constexpr int kCases = 2000;

std::vector<Field> fields() {
  std::vector<Field> all = mixed_space(false).fields();
  const SearchSpace countable = mixed_space(true);
  for (const Field& field : countable.fields()) all.push_back(field);
  all.push_back(whole_field("one", 4, 4));
  all.push_back(real_field("narrow", 1.0, std::nextafter(1.0, 2.0)));
  for (Field& field : all) field.when.clear();  // operators know nothing of conditions
  return all;
}

Point draw(const std::vector<Field>& all, Rng& rng) {
  Point point;
  for (const Field& field : all) point.push_back(field.decode(rng.uniform()));
  return point;
}

bool can_change(const Field& field) { return field.cardinality() != 1; }

TEST(Tournament, OfTheWholePopulationTakesTheBest) {
  Rng rng(1, 0, Purpose::propose);
  for (std::size_t n = 1; n < 40; ++n) EXPECT_EQ(tournament(n, n, rng), 0U);
}

TEST(Tournament, OfOneIsAUniformDraw) {
  Rng rng(2, 0, Purpose::propose);
  std::vector<int> counts(5);
  for (int i = 0; i < 10000; ++i) ++counts.at(tournament(5, 1, rng));
  for (int count : counts) EXPECT_NEAR(count, 2000, 150);
}

// The best of 3 distinct of 5 is place i in C(4 - i, 2) of 10 cases.
TEST(Tournament, PicksTheBestOfDistinctDrawsWithTheRightChances) {
  Rng rng(3, 0, Purpose::propose);
  std::vector<int> counts(5);
  for (int i = 0; i < 10000; ++i) ++counts.at(tournament(5, 3, rng));
  EXPECT_NEAR(counts[0], 6000, 200);
  EXPECT_NEAR(counts[1], 3000, 200);
  EXPECT_NEAR(counts[2], 1000, 150);
  EXPECT_EQ(counts[3] + counts[4], 0);
}

TEST(UniformCrossover, TakesEachGeneFromOneOfTheParents) {
  const std::vector<Field> all = fields();
  Rng rng(4, 0, Purpose::propose);
  std::vector<int> from_a(all.size());
  std::vector<int> differ(all.size());
  for (int i = 0; i < kCases; ++i) {
    const Point a = draw(all, rng);
    const Point b = draw(all, rng);
    const Point child = uniform_crossover(a, b, rng);
    for (std::size_t g = 0; g < all.size(); ++g) {
      EXPECT_TRUE(child[g] == a[g] || child[g] == b[g]);
      if (a[g] == b[g]) continue;
      ++differ[g];
      if (child[g] == a[g]) ++from_a[g];
    }
  }
  for (std::size_t g = 0; g < all.size(); ++g) {
    if (differ[g] < 500) continue;
    EXPECT_NEAR(static_cast<double>(from_a[g]) / differ[g], 0.5, 0.1) << all[g].name;
  }
}

TEST(BlendCrossover, StaysInsideTheExtendedIntervalCutAtTheBounds) {
  const std::vector<Field> all = fields();
  Rng rng(5, 0, Purpose::propose);
  for (int i = 0; i < kCases; ++i) {
    const double alpha = 0.8 * rng.uniform();
    const Point a = draw(all, rng);
    const Point b = draw(all, rng);
    const Point child = blend_crossover(all, a, b, alpha, rng);
    for (std::size_t g = 0; g < all.size(); ++g) {
      const Field& field = all[g];
      EXPECT_TRUE(field.contains(child[g])) << field.name << " " << to_text(child[g]);
      if (field.kind != FieldKind::real && field.kind != FieldKind::whole) {
        EXPECT_TRUE(child[g] == a[g] || child[g] == b[g]);
        continue;
      }
      const double one = field.encode(a[g]);
      const double other = field.encode(b[g]);
      const double reach = alpha * std::abs(one - other);
      // A discrete child is the cell that the drawn place lies in: its centre may be half a cell
      // away, and half a cell of a whole log field is widest at its lower end.
      const bool continuous = !field.cardinality();
      const double slack = continuous ? 1e-9 : 0.26;
      const double place = field.encode(child[g]);
      EXPECT_GE(place, std::min(one, other) - reach - slack) << field.name;
      EXPECT_LE(place, std::max(one, other) + reach + slack) << field.name;
    }
  }
}

TEST(BlendCrossover, OfEqualParentsIsTheParentBitForBit) {
  const std::vector<Field> all = fields();
  Rng rng(6, 0, Purpose::propose);
  for (int i = 0; i < kCases; ++i) {
    const Point a = draw(all, rng);
    EXPECT_EQ(blend_crossover(all, a, a, 0.5, rng), a);
  }
}

TEST(BlendCrossover, ReachesBeyondTheParentsAndWithAlphaZeroDoesNot) {
  const std::vector<Field> all = {real_field("x", 0.0, 1.0)};
  Rng rng(7, 0, Purpose::propose);
  int beyond = 0;
  for (int i = 0; i < kCases; ++i) {
    const double x = std::get<double>(blend_crossover(all, {0.4}, {0.6}, 0.5, rng)[0]);
    if (x < 0.4 || x > 0.6) ++beyond;
    const double inside = std::get<double>(blend_crossover(all, {0.4}, {0.6}, 0.0, rng)[0]);
    EXPECT_TRUE(inside >= 0.4 && inside <= 0.6);
  }
  EXPECT_NEAR(beyond, kCases / 2, kCases / 20);
}

TEST(Mutation, WithProbabilityZeroIsTheIdentity) {
  const std::vector<Field> all = fields();
  Rng rng(8, 0, Purpose::propose);
  for (int i = 0; i < kCases; ++i) {
    const Point point = draw(all, rng);
    EXPECT_EQ(mutate(all, point, 0.0, 0.1, rng), point);
  }
}

TEST(Mutation, WithProbabilityOneChangesEveryFieldThatCanChange) {
  const std::vector<Field> all = fields();
  Rng rng(9, 0, Purpose::propose);
  for (int i = 0; i < kCases; ++i) {
    const Point point = draw(all, rng);
    const Point mutant = mutate(all, point, 1.0, i % 2 == 0 ? 0.1 : 1e-6, rng);
    for (std::size_t g = 0; g < all.size(); ++g) {
      EXPECT_TRUE(all[g].contains(mutant[g])) << all[g].name << " " << to_text(mutant[g]);
      if (all[g].name == "narrow") continue;  // two values: a draw may hit the same one again
      EXPECT_EQ(mutant[g] != point[g], can_change(all[g])) << all[g].name;
    }
  }
}

TEST(Mutation, TouchesGenesAtItsProbability) {
  const std::vector<Field> all(10, real_field("x", 0.0, 1.0));
  Rng rng(10, 0, Purpose::propose);
  int changed = 0;
  for (int i = 0; i < kCases; ++i) {
    const Point point = draw(all, rng);
    const Point mutant = mutate(all, point, 0.2, 0.1, rng);
    for (std::size_t g = 0; g < all.size(); ++g)
      if (mutant[g] != point[g]) ++changed;
  }
  EXPECT_NEAR(changed / 10.0 / kCases, 0.2, 0.01);
}

TEST(Mutation, OfANumberIsAGaussianStepInTheUnitInterval) {
  const Field field = real_field("learning_rate", 1e-4, 1.0, 0.0, true);
  Rng rng(11, 0, Purpose::propose);
  double squares = 0.0;
  double sum = 0.0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double step = field.encode(mutate_gene(field, 0.01, 0.1, rng)) - field.encode(0.01);
    sum += step;
    squares += step * step;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.003);
  EXPECT_NEAR(std::sqrt(squares / kDraws), 0.1, 0.003);
}

TEST(Mutation, ReflectsAtTheBoundsInsteadOfPilingUpThere) {
  const Field field = real_field("x", 0.0, 1.0);
  Rng rng(12, 0, Purpose::propose);
  for (int i = 0; i < kCases; ++i) {
    const double x = std::get<double>(mutate_gene(field, 1.0, 0.3, rng));
    EXPECT_TRUE(x >= 0.0 && x < 1.0) << x;
  }
}

TEST(Mutation, OfAnOrderedValueMovesExactlyOnePlace) {
  const Field field = value_field("units", FieldKind::ordinal,
                                  {std::int64_t{1}, std::int64_t{2}, std::int64_t{4}, 8.5});
  Rng rng(13, 0, Purpose::propose);
  int up = 0;
  for (int i = 0; i < kCases; ++i)
    for (std::int64_t at = 0; at < 4; ++at) {
      const std::int64_t to =
          field.index_of(mutate_gene(field, field.value_at(at), 0.1, rng)).value();
      EXPECT_EQ(std::abs(to - at), 1);
      if (at == 1 && to == 2) ++up;
    }
  EXPECT_NEAR(up, kCases / 2, kCases / 20);
}

TEST(Mutation, OfALabelDrawsEachOtherValueEquallyOften) {
  const Field field = value_field("name", FieldKind::categorical,
                                  {std::string("a"), std::string("b"), std::string("c"), true});
  Rng rng(14, 0, Purpose::propose);
  std::vector<int> counts(4);
  for (int i = 0; i < 3000; ++i)
    ++counts.at(static_cast<std::size_t>(
        field.index_of(mutate_gene(field, std::string("b"), 0.1, rng)).value()));
  EXPECT_EQ(counts[1], 0);
  for (std::size_t i : {0U, 2U, 3U}) EXPECT_NEAR(counts[i], 1000, 120);
}

}  // namespace
}  // namespace brood
