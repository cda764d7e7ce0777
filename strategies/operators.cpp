// Tournament: D. E. Goldberg and K. Deb: "A comparative analysis of selection schemes used in
// genetic algorithms", 1991. Uniform crossover: G. Syswerda: "Uniform crossover in genetic
// algorithms", 1989. Blend: L. J. Eshelman and J. D. Schaffer: "Real-coded genetic algorithms and
// interval-schemata", 1993 (BLX-alpha), here on the unit interval, so that a log field is blended
// in log. Gaussian mutation with reflection: H.-P. Schwefel: "Numerical optimization of computer
// models", 1981, and common practice.
#include "strategies/operators.h"

#include <algorithm>

namespace brood {

namespace {

bool is_number(const Field& field) {
  return field.kind == FieldKind::real || field.kind == FieldKind::whole;
}

double reflect(double unit) {
  while (unit < 0.0 || unit > 1.0) unit = unit < 0.0 ? -unit : 2.0 - unit;
  return unit;
}

// The value next to this one in the wanted direction, or in the other one at an end.
Value neighbour(const Field& field, const Value& value, bool up) {
  const std::int64_t index = field.index_of(value).value();
  if (index == 0) return field.value_at(1);
  if (index + 1 == *field.cardinality()) return field.value_at(index - 1);
  return field.value_at(up ? index + 1 : index - 1);
}

Value mutate_number(const Field& field, const Value& value, double sigma, Rng& rng) {
  const double here = field.encode(value);
  const double step = sigma * rng.normal();
  Value moved = field.decode(reflect(here + step));
  if (moved != value) return moved;
  if (field.cardinality()) return neighbour(field, value, step > 0);
  return field.decode(rng.uniform());  // the step was lost in rounding
}

}  // namespace

std::size_t tournament(std::size_t population, std::size_t size, Rng& rng) {
  // R. W. Floyd's sample without replacement (J. Bentley: "A sample of brilliance", 1987).
  std::vector<std::size_t> drawn;
  for (std::size_t last = population - size; last < population; ++last) {
    const auto draw = static_cast<std::size_t>(rng.below(last + 1));
    const bool taken = std::find(drawn.begin(), drawn.end(), draw) != drawn.end();
    drawn.push_back(taken ? last : draw);
  }
  return *std::min_element(drawn.begin(), drawn.end());
}

Point uniform_crossover(const Point& a, const Point& b, Rng& rng) {
  Point child = a;
  for (std::size_t i = 0; i < child.size(); ++i)
    if (rng.chance(0.5)) child[i] = b[i];
  return child;
}

Point blend_crossover(const std::vector<Field>& fields, const Point& a, const Point& b,
                      double alpha, Rng& rng) {
  Point child = a;
  for (std::size_t i = 0; i < child.size(); ++i) {
    const double draw = rng.uniform();
    if (!is_number(fields[i])) {
      if (draw < 0.5) child[i] = b[i];
    } else if (a[i] != b[i]) {
      const double one = fields[i].encode(a[i]);
      const double other = fields[i].encode(b[i]);
      const double reach = alpha * std::max(one - other, other - one);
      const double low = std::max(0.0, std::min(one, other) - reach);
      const double high = std::min(1.0, std::max(one, other) + reach);
      child[i] = fields[i].decode(low + draw * (high - low));
    }
  }
  return child;
}

Value mutate_gene(const Field& field, const Value& value, double sigma, Rng& rng) {
  const std::optional<std::int64_t> count = field.cardinality();
  if (count && *count == 1) return value;
  if (is_number(field)) return mutate_number(field, value, sigma, rng);
  if (field.kind == FieldKind::ordinal) return neighbour(field, value, rng.chance(0.5));
  const std::int64_t index = field.index_of(value).value();
  const auto draw = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(*count - 1)));
  return field.value_at(draw < index ? draw : draw + 1);
}

Point mutate(const std::vector<Field>& fields, const Point& point, double probability, double sigma,
             Rng& rng) {
  Point mutant = point;
  for (std::size_t i = 0; i < mutant.size(); ++i)
    if (rng.chance(probability)) mutant[i] = mutate_gene(fields[i], mutant[i], sigma, rng);
  return mutant;
}

}  // namespace brood
