#include "engine/space.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "engine/error.h"
#include "engine/exact_math.h"

namespace brood {

namespace {

constexpr std::int64_t kCountMax = std::int64_t{1} << 62;

// min + i * step as people would write it: 0.3, not 0.30000000000000004. Fifteen digits are always
// enough to say it and few enough to lose the dust. Both conversions are exactly rounded, so this
// is the same everywhere.
double tidy(double value) {
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific, 14);
  double out = value;
  std::from_chars(buffer.data(), end.ptr, out);
  return out;
}

// The ends of a whole log field's cells: each number owns the half on both sides of it, so that a
// draw that is uniform in log needs no correction at the ends.
double log_of(const Field& field, double value) {
  return exact::log(field.kind == FieldKind::whole ? value - 0.5 : value);
}

double log_width(const Field& field) {
  const double top = field.kind == FieldKind::whole ? field.max + 1 : field.max;
  return log_of(field, top) - log_of(field, field.min);
}

bool is_log(const Field& field) { return field.log && field.step == 0; }

// Whole fields reckon in whole numbers: a range may be wider than a double is fine.
std::int64_t whole(double value) { return static_cast<std::int64_t>(value); }
std::int64_t whole_step(const Field& field) { return field.step == 0 ? 1 : whole(field.step); }

// Of the field's type and between its ends.
bool contains_number(const Field& field, const Value& value) {
  const bool typed = field.kind == FieldKind::real ? std::holds_alternative<double>(value)
                                                   : std::holds_alternative<std::int64_t>(value);
  double number = 0.0;
  return typed && as_real(value, number) && number >= field.min && number <= field.max;
}

std::int64_t whole_of(const Value& value) { return std::get<std::int64_t>(value); }

bool holds(const Condition& condition, const Value& value) {
  if (condition.op == Condition::Op::any_of)
    return std::find(condition.values.begin(), condition.values.end(), value) !=
           condition.values.end();
  double number = 0.0;
  if (!as_real(value, number)) return false;
  switch (condition.op) {
    case Condition::Op::at_least:
      return number >= condition.bound;
    case Condition::Op::above:
      return number > condition.bound;
    case Condition::Op::at_most:
      return number <= condition.bound;
    default:
      return number < condition.bound;
  }
}

}  // namespace

std::optional<std::int64_t> Field::cardinality() const {
  switch (kind) {
    case FieldKind::real:
      if (min == max) return 1;
      if (step == 0) return std::nullopt;
      return std::llround((max - min) / step) + 1;
    case FieldKind::whole:
      return (whole(max) - whole(min)) / whole_step(*this) + 1;
    default:
      return static_cast<std::int64_t>(values.size());
  }
}

Value Field::value_at(std::int64_t index) const {
  const std::optional<std::int64_t> count = cardinality();
  CHECK(count && index >= 0 && index < *count, name + ": no value of that index");
  if (kind == FieldKind::whole) return whole(min) + index * whole_step(*this);
  if (kind != FieldKind::real) return values[static_cast<std::size_t>(index)];
  if (index == 0) return min;
  return index == *count - 1 ? max : tidy(min + static_cast<double>(index) * step);
}

std::optional<std::int64_t> Field::index_of(const Value& value) const {
  const std::optional<std::int64_t> count = cardinality();
  if (!count) return std::nullopt;
  if (kind != FieldKind::real && kind != FieldKind::whole) {
    const auto at = std::find(values.begin(), values.end(), value);
    if (at == values.end()) return std::nullopt;
    return at - values.begin();
  }
  if (!contains_number(*this, value)) return std::nullopt;
  std::int64_t nearest = 0;
  if (kind == FieldKind::whole)
    nearest = (whole_of(value) - whole(min)) / whole_step(*this);
  else if (step != 0)
    nearest = std::llround((std::get<double>(value) - min) / step);
  if (nearest < 0 || nearest >= *count || value_at(nearest) != value) return std::nullopt;
  return nearest;
}

Value Field::decode(double unit) const {
  const double u = std::clamp(unit, 0.0, 1.0);
  if (is_log(*this) && min < max) {
    const double x = exact::exp(log_of(*this, min) + u * log_width(*this));
    if (kind == FieldKind::real) return std::clamp(x, min, max);
    return static_cast<std::int64_t>(std::clamp(std::floor(x + 0.5), min, max));
  }
  const std::optional<std::int64_t> count = cardinality();
  if (!count) return std::clamp(min + u * (max - min), min, max);
  const auto cell = static_cast<std::int64_t>(u * static_cast<double>(*count));
  return value_at(std::min(cell, *count - 1));
}

double Field::encode(const Value& value) const {
  CHECK(contains(value), name + " has no value " + to_text(value));
  if (is_log(*this) && min < max) {
    if (kind == FieldKind::real)
      return std::clamp(
          (log_of(*this, std::get<double>(value)) - log_of(*this, min)) / log_width(*this), 0.0,
          1.0);
    const auto number = static_cast<double>(whole_of(value));
    const double middle = 0.5 * (log_of(*this, number) + log_of(*this, number + 1));
    return (middle - log_of(*this, min)) / log_width(*this);
  }
  const std::optional<std::int64_t> index = index_of(value);
  if (!index) return (std::get<double>(value) - min) / (max - min);
  return (static_cast<double>(*index) + 0.5) / static_cast<double>(*cardinality());
}

bool Field::contains(const Value& value) const {
  return cardinality() ? index_of(value).has_value() : contains_number(*this, value);
}

std::string Field::allowed() const {
  if (kind == FieldKind::real || kind == FieldKind::whole) {
    const auto shown = [&](double x) {
      return kind == FieldKind::real ? to_text(Value(x))
                                     : std::to_string(static_cast<std::int64_t>(x));
    };
    std::string text = std::string("a ") + (kind == FieldKind::real ? "real" : "whole") +
                       " number from " + shown(min) + " to " + shown(max);
    return step == 0 ? text : text + " in steps of " + shown(step);
  }
  constexpr std::size_t kShown = 20;
  std::string text = values.size() == 1 ? "" : "one of ";
  for (std::size_t i = 0; i < std::min(values.size(), kShown); ++i)
    text += (i == 0 ? "" : ", ") + to_text(values[i]);
  return values.size() > kShown ? text + ", ..." : text;
}

SearchSpace::SearchSpace(std::vector<Field> fields, Mentions mentions)
    : fields_(std::move(fields)), mentions_(std::move(mentions)) {
  parents_.resize(fields_.size());
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    for (const Condition& condition : fields_[i].when) {
      const std::optional<std::size_t> parent = index_of(condition.parent);
      CHECK(parent && *parent < i, fields_[i].name + ": its condition names no earlier parameter");
      parents_[i].push_back(*parent);
    }
  }
}

std::optional<std::size_t> SearchSpace::index_of(const std::string& name) const {
  for (std::size_t i = 0; i < fields_.size(); ++i)
    if (fields_[i].name == name) return i;
  return std::nullopt;
}

std::vector<bool> SearchSpace::active(const Point& point) const {
  CHECK(point.size() == fields_.size(), "a point has one value per parameter");
  std::vector<bool> on(fields_.size(), true);
  // Parents come first, so one pass settles `when`. Dropping a parameter that the trainer does not
  // mention may switch off children, and a smaller point mentions less: repeat until nothing
  // changes. Each round drops at least one, so it ends.
  for (;;) {
    for (std::size_t i = 0; i < fields_.size(); ++i)
      for (std::size_t c = 0; on[i] && c < parents_[i].size(); ++c)
        on[i] = on[parents_[i][c]] && holds(fields_[i].when[c], point[parents_[i][c]]);
    if (!mentions_) return on;
    std::vector<std::string> names = mentions_(only(point, on));
    std::sort(names.begin(), names.end());
    bool changed = false;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      if (!on[i] || std::binary_search(names.begin(), names.end(), fields_[i].name)) continue;
      on[i] = false;
      changed = true;
    }
    if (!changed) return on;
  }
}

ParamSet SearchSpace::only(const Point& point, const std::vector<bool>& on) const {
  ParamSet params;
  for (std::size_t i = 0; i < fields_.size(); ++i)
    if (on[i]) params.set(fields_[i].name, point[i]);
  return params;
}

ParamSet SearchSpace::mask(const Point& point) const { return only(point, active(point)); }

Point SearchSpace::complete(const ParamSet& params, std::uint64_t seed, std::uint64_t trial) const {
  const Rng latent(seed, trial, Purpose::latent);
  Point point;
  point.reserve(fields_.size());
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    const Value* value = params.find(fields_[i].name);
    Rng gene = latent.split(static_cast<std::uint32_t>(i));
    point.push_back(value != nullptr ? *value : fields_[i].decode(gene.uniform()));
  }
  return point;
}

Point SearchSpace::sample(Rng& rng) const {
  Point point;
  point.reserve(fields_.size());
  for (const Field& field : fields_) point.push_back(field.decode(rng.uniform()));
  return point;
}

std::optional<std::int64_t> SearchSpace::cross_size() const {
  std::int64_t size = 1;
  for (const Field& field : fields_) {
    const std::optional<std::int64_t> count = field.cardinality();
    if (!count || *count > kCountMax / size) return std::nullopt;
    size *= *count;
  }
  return size;
}

void SearchSpace::require_member(const ParamSet& params) const {
  for (const auto& [name, value] : params.entries()) {
    const std::optional<std::size_t> at = index_of(name);
    if (!at) throw UserError("parameter \"" + name + "\" is not in the search space");
    if (!fields_[*at].contains(value))
      throw UserError("parameter \"" + name + "\" should be " + fields_[*at].allowed() + " (is " +
                      to_text(value) + ")");
  }
  // Any value will do where the point has none: what is active is decided by values that are there.
  const Point point = complete(params, 0, 0);
  const std::vector<bool> on = active(point);
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    const bool present = params.find(fields_[i].name) != nullptr;
    if (on[i] && !present)
      throw UserError("parameter \"" + fields_[i].name + "\" is missing (it is active here)");
    if (!on[i] && present)
      throw UserError("parameter \"" + fields_[i].name +
                      "\" is set, but has no effect at this point: leave it out");
  }
  if (only(point, on) != params)
    throw UserError("the parameters are not in the order of the search space");
}

}  // namespace brood
