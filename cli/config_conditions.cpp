// `when`: conditions on earlier parameters, and which of them can never hold.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cli/config_space.h"
#include "engine/expression.h"
#include "engine/suggest.h"

namespace brood {

namespace {

using Kind = JsonPlace::Kind;
using Op = Condition::Op;

const DeclaredField* find(const std::vector<DeclaredField>& fields, const std::string& name) {
  for (const DeclaredField& declared : fields)
    if (declared.field.name == name) return &declared;
  return nullptr;
}

bool holds(const Condition& condition, const Value& value) {
  if (condition.op == Op::any_of)
    return std::find(condition.values.begin(), condition.values.end(), value) !=
           condition.values.end();
  double number = 0.0;
  if (!as_real(value, number)) return false;
  switch (condition.op) {
    case Op::at_least:
      return number >= condition.bound;
    case Op::above:
      return number > condition.bound;
    case Op::at_most:
      return number <= condition.bound;
    default:
      return number < condition.bound;
  }
}

// Is there a value of the field that satisfies all of these?
bool possible(const Field& field, const std::vector<Condition>& conditions) {
  const auto all = [&](const Value& value) {
    return std::all_of(conditions.begin(), conditions.end(),
                       [&](const Condition& condition) { return holds(condition, value); });
  };
  if (!field.values.empty()) return std::any_of(field.values.begin(), field.values.end(), all);
  for (const Condition& condition : conditions)
    if (condition.op == Op::any_of)
      return std::any_of(condition.values.begin(), condition.values.end(),
                         [&](const Value& value) { return field.contains(value) && all(value); });
  // Only comparisons: they leave one interval, open or closed at its ends.
  double low = field.min, high = field.max;
  bool low_open = false, high_open = false;
  for (const Condition& condition : conditions) {
    const bool open = condition.op == Op::above || condition.op == Op::below;
    double& end = condition.op == Op::at_least || condition.op == Op::above ? low : high;
    bool& end_open = &end == &low ? low_open : high_open;
    const bool tighter = &end == &low ? condition.bound > end : condition.bound < end;
    if (tighter || condition.bound == end) end_open = tighter ? open : end_open || open;
    if (tighter) end = condition.bound;
  }
  if (const std::optional<std::int64_t> count = field.cardinality()) {
    const double step = field.step == 0 ? 1.0 : field.step;
    const auto first = static_cast<std::int64_t>(std::ceil((low - field.min) / step - 1e-9));
    for (std::int64_t i = std::max<std::int64_t>(first, 0); i < std::min(first + 3, *count); ++i)
      if (all(field.value_at(i))) return true;
    return false;
  }
  return low < high || (low == high && !low_open && !high_open);
}

// Reads the conditions on one parent.
class ConditionReader {
 public:
  ConditionReader(const JsonPlace& place, int member, const Field& parent,
                  std::vector<Problem>& problems)
      : place_(place), member_(member), parent_(parent), problems_(problems) {}

  std::vector<Condition> read() {
    std::vector<Condition> out;
    if (place_.kind() == Kind::list)
      any_of(out);
    else if (place_.kind() == Kind::object)
      comparisons(out);
    else
      problem(place_, "should be a list of values, like [" +
                          (place_.scalar() ? place_.shown() : std::string("\"sgd\"")) +
                          "], or a comparison, like {\">=\": 2} (is " + place_.shown() + ")");
    return out;
  }

 private:
  void problem(const JsonPlace& place, std::string message) {
    problems_.push_back({place.pointer(), std::move(message)});
  }

  void any_of(std::vector<Condition>& out) {
    Condition condition;
    condition.parent = parent_.name;
    for (const JsonPlace& element : place_.elements()) {
      const std::optional<Value> value = element.scalar();
      const Value as_held = value ? fitted(parent_, *value) : Value(false);
      if (value && parent_.contains(as_held)) {
        condition.values.push_back(as_held);
        continue;
      }
      std::vector<std::string> known;
      for (const Value& other : parent_.values) known.push_back(to_text(other));
      problem(element, "\"" + parent_.name + "\" is never " + element.shown() +
                           did_you_mean(element.text().value_or(""), known) + ": it is " +
                           parent_.allowed());
    }
    if (place_.elements().empty()) problem(place_, "is empty, so it can never hold: name a value");
    out.push_back(std::move(condition));
  }

  void comparisons(std::vector<Condition>& out) {
    double ignored = 0.0;
    const bool numeric = parent_.values.empty() ||
                         std::all_of(parent_.values.begin(), parent_.values.end(),
                                     [&](const Value& value) { return as_real(value, ignored); });
    if (!numeric)
      return problem(place_, "\"" + parent_.name + "\" is no number to compare: give a list of " +
                                 "its values (it is " + parent_.allowed() + ")");
    if (place_.members().empty())
      problem(place_, R"(is empty: write a comparison, like {">=": 2})");
    for (const auto& [sign, bound] : place_.members()) {
      Condition condition;
      condition.parent = parent_.name;
      if (sign == ">=")
        condition.op = Op::at_least;
      else if (sign == ">")
        condition.op = Op::above;
      else if (sign == "<=")
        condition.op = Op::at_most;
      else if (sign == "<")
        condition.op = Op::below;
      else
        problem(bound, "unknown comparison; there are >=, >, <= and <");
      const std::optional<double> number = bound_of(bound);
      if (!number) continue;
      condition.bound = *number;
      if (condition.op != Op::any_of) out.push_back(condition);
    }
  }

  // A number, or in a family an expression of the member's index: "i".
  std::optional<double> bound_of(const JsonPlace& place) {
    const std::optional<std::string> text = place.text();
    if (!text || member_ < 0) {
      if (!place.number()) problem(place, "should be a number (is " + place.shown() + ")");
      return place.number();
    }
    try {
      const ParamSet none;
      Scope scope;
      scope.params = &none;
      scope.counters.emplace_back("i", member_);
      const std::optional<double> value = Expression::parse(*text).evaluate(scope);
      if (value) return value;
      problem(place, "only i, the member's own index, is known here (is " + place.shown() + ")");
    } catch (const UserError& error) {
      problem(place, error.what());
    }
    return std::nullopt;
  }

  JsonPlace place_;
  int member_;
  const Field& parent_;
  std::vector<Problem>& problems_;
};

// "block[i]" in a family means the member of the same index. Empty, with a problem, when the text
// is no name.
std::string parent_name(const std::string& key, int member, const JsonPlace& place,
                        std::vector<Problem>& problems) {
  try {
    const ParamSet none;
    Scope scope;
    scope.params = &none;
    if (member >= 0) scope.counters.emplace_back("i", member);
    const std::optional<std::string> name = parse_reference(key).spell(scope);
    if (name) return *name;
    problems.push_back({place.pointer(), "only a family's members know an index i"});
  } catch (const UserError& error) {
    problems.push_back({place.pointer(), error.what()});
  }
  return "";
}

// All conditions on all ancestors must hold together.
void require_possible(const JsonPlace& when, const Field& field,
                      const std::vector<DeclaredField>& earlier, std::vector<Problem>& problems) {
  std::vector<Condition> all = field.when;
  for (std::size_t i = 0; i < all.size() && all.size() < 1000; ++i)
    if (const DeclaredField* parent = find(earlier, all[i].parent))
      for (const Condition& inherited : parent->field.when) all.push_back(inherited);
  std::vector<std::string> seen;
  for (const Condition& condition : all) {
    if (std::find(seen.begin(), seen.end(), condition.parent) != seen.end()) continue;
    seen.push_back(condition.parent);
    const DeclaredField* parent = find(earlier, condition.parent);
    std::vector<Condition> together;
    for (const Condition& other : all)
      if (other.parent == condition.parent) together.push_back(other);
    if (parent == nullptr || possible(parent->field, together)) continue;
    const std::optional<JsonPlace> own = when.find(condition.parent);
    const std::string pointer = own ? own->pointer() : when.pointer();
    problems.push_back({pointer, "can never hold: no value of \"" + condition.parent +
                                     "\" satisfies all conditions on it (it is " +
                                     parent->field.allowed() + ")"});
  }
}

}  // namespace

void read_conditions(const JsonPlace& when, int member, const std::vector<DeclaredField>& earlier,
                     const std::vector<std::string>& declared, Field& field,
                     std::vector<Problem>& problems) {
  const std::size_t before = problems.size();
  bool complete = true;
  for (const auto& [key, place] : when.members()) {
    const std::string name = parent_name(key, member, place, problems);
    if (name.empty()) continue;
    const DeclaredField* parent = find(earlier, name);
    if (parent == nullptr) {
      // A parent with problems of its own has been complained about.
      complete = false;
      const bool known = std::find(declared.begin(), declared.end(), name) != declared.end();
      std::vector<std::string> names;
      for (const DeclaredField& other : earlier) names.push_back(other.field.name);
      if (!known || name == field.name)
        problems.push_back({place.pointer(), "\"" + name + "\" is not declared before \"" +
                                                 field.name + "\"" + did_you_mean(name, names)});
      continue;
    }
    for (Condition& condition : ConditionReader(place, member, parent->field, problems).read())
      field.when.push_back(std::move(condition));
  }
  if (complete && problems.size() == before) require_possible(when, field, earlier, problems);
}

std::string to_text(const Condition& condition) {
  if (condition.op == Op::any_of) {
    std::string text = condition.parent + " is ";
    for (std::size_t i = 0; i < condition.values.size(); ++i)
      text += (i == 0 ? "" : " or ") + to_text(condition.values[i]);
    return text;
  }
  const char* sign = condition.op == Op::at_least  ? " >= "
                     : condition.op == Op::above   ? " > "
                     : condition.op == Op::at_most ? " <= "
                                                   : " < ";
  return condition.parent + sign + to_text(number_value(condition.bound));
}

}  // namespace brood
