#include "cli/config_space.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "cli/config_block.h"
#include "engine/expression.h"
#include "engine/suggest.h"

namespace brood {

namespace {

using Kind = JsonPlace::Kind;

constexpr int kMembersMax = 1000;
constexpr std::size_t kFieldsMax = 1000;
constexpr std::size_t kNameMax = 64;
constexpr double kWholeMax = 9007199254740992.0;  // 2^53

// Reads one declaration into a field without its name and conditions.
class FieldReader {
 public:
  FieldReader(const JsonPlace& place, std::vector<Problem>& problems)
      : place_(place), problems_(problems), before_(problems.size()) {}

  // False when there were problems.
  bool read(Field& field) {
    switch (place_.kind()) {
      case Kind::list:
        values(place_, "", field);
        break;
      case Kind::object:
        declaration(field);
        break;
      case Kind::null:
        problem("", "should be a list of values, one value, or an object with a type (is null)");
        break;
      default:
        constant(place_, field);
    }
    return problems_.size() == before_;
  }

 private:
  void problem(const std::string& key, std::string message) {
    problems_.push_back({place_.pointer() + key, std::move(message)});
  }

  void declaration(Field& field) {
    const Block block(place_, "search_space.*", problems_);
    std::optional<std::string> type = block.text("type");
    if (!type && !place_.find("type")) {
      if (block.find("values")) {
        type = "";  // as a bare list
      } else {
        problem("", R"("type" is missing: float, int, bool, categorical, ordinal or constant)");
        return;
      }
    }
    if (!type) return;
    if (*type == "constant") {
      allow(*type, {"value"});
      if (const std::optional<JsonPlace> value = block.find("value"))
        constant(*value, field);
      else
        problem("", "\"value\" is missing: the constant itself");
    } else if (*type == "bool") {
      allow(*type, {});
      field.kind = FieldKind::flag;
      field.values = {false, true};
    } else if (place_.find("values")) {
      allow(*type, {"values"});
      if (const std::optional<JsonPlace> list = block.find("values")) values(*list, *type, field);
    } else if (*type == "categorical" || *type == "ordinal") {
      allow(*type, {"values"});
      problem("", "\"values\" is missing: the list to choose from");
    } else {
      allow(*type, {"distribution", "min", "max", "step"});
      range(block, *type == "int", field);
    }
  }

  // Complains about keys that would have no effect.
  void allow(const std::string& type, std::vector<std::string> keys) {
    keys.insert(keys.end(), {"type", "when"});
    for (const auto& [key, value] : place_.members()) {
      if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
      static const std::vector<std::string> kKnown = {"distribution", "min",    "max",
                                                      "step",         "values", "value"};
      if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) continue;  // said already
      problem("/" + key,
              "has no effect " +
                  (place_.find("values") && keys[0] == "values" ? std::string("beside \"values\"")
                                                                : "on the type " + type) +
                  ": take it out");
    }
  }

  void constant(const JsonPlace& place, Field& field) {
    const std::optional<Value> value = place.scalar();
    if (!value) {
      problems_.push_back({place.pointer(),
                           "should be a number, a text, true or false (is " + place.shown() + ")"});
      return;
    }
    field.kind = FieldKind::constant;
    field.values = {*value};
  }

  // type: "" for a bare list.
  void values(const JsonPlace& list, const std::string& type, Field& field) {
    const std::vector<JsonPlace> elements = list.elements();
    if (elements.empty())
      return problems_.push_back({list.pointer(), "is empty: name at least one value"});
    bool numbers = true, whole = true;
    for (const JsonPlace& element : elements) {
      numbers = numbers && (element.kind() == Kind::whole || element.kind() == Kind::real);
      whole = whole && element.kind() == Kind::whole;
    }
    const bool reals = type == "float" || (numbers && !whole && type != "int");
    for (const JsonPlace& element : elements) {
      std::optional<Value> value = element.scalar();
      if (!value) {
        refuse(element, "should be a number, a text, true or false");
      } else if ((type == "int" && element.kind() != Kind::whole) ||
                 (type == "float" && !element.number())) {
        refuse(element, type == "int" ? "should be a whole number" : "should be a number");
      } else {
        if (reals) value = *element.number();
        if (std::find(field.values.begin(), field.values.end(), *value) != field.values.end())
          refuse(element, "stands twice in the list: keep one");
        field.values.push_back(std::move(*value));
      }
    }
    const bool ordered = type == "ordinal" || (type != "categorical" && numbers);
    field.kind = ordered ? FieldKind::ordinal : FieldKind::categorical;
  }

  void refuse(const JsonPlace& place, const std::string& message) {
    problems_.push_back({place.pointer(), message + " (is " + place.shown() + ")"});
  }

  void range(const Block& block, bool whole, Field& field) {
    field.kind = whole ? FieldKind::whole : FieldKind::real;
    field.log = block.text("distribution") == "log_uniform";
    for (const char* key : {"min", "max"})
      if (!place_.find(key))
        problem("", std::string("\"") + key + "\" is missing (or give \"values\")");
    const std::optional<double> min = number(block, "min", whole),
                                max = number(block, "max", whole);
    const std::optional<double> step = number(block, "step", whole);
    if (min && max && *min > *max)
      problem("/min", "is above max (" + block.find("min")->shown() + " > " +
                          block.find("max")->shown() + "): swap them");
    if (field.log && min && *min < (whole ? 1.0 : 0x1p-1022))
      problem("/min", std::string("a log scale needs min ") +
                          (whole ? "of at least 1" : "above 0") + " (is " +
                          block.find("min")->shown() + ")");
    if (min && max && !std::isfinite(*max - *min))
      problem("/max", "the range from min to max is too wide to hold");
    if (!min || !max || problems_.size() != before_) return;
    field.min = *min;
    field.max = *max;
    if (step) take_step(block, *step, field);
  }

  std::optional<double> number(const Block& block, const std::string& key, bool whole) {
    const std::optional<JsonPlace> place = block.find(key);
    if (!place) return std::nullopt;
    const double value = *place->number();
    if (!whole || (place->kind() == Kind::whole && std::abs(value) <= kWholeMax)) return value;
    refuse(*place, place->kind() == Kind::whole ? "should be at most 2^53 in size"
                                                : "should be a whole number, as the type is int");
    return std::nullopt;
  }

  void take_step(const Block& block, double step, Field& field) {
    const std::string is = " (is " + block.find("step")->shown() + ")";
    if (field.log) return problem("/step", "a log scale has no step: take one of them out" + is);
    if (!(step > 0)) return problem("/step", "should be above 0" + is);
    const double count = (field.max - field.min) / step;
    if (count > kWholeMax) return problem("/step", "is too small for the range" + is);
    const double nearest = std::round(count);
    // A dust of rounding is allowed: (0.5 - 0.0) / 0.1 is not exactly 5.
    if (std::abs(count - nearest) > 1e-9 * std::max(1.0, nearest)) {
      const double fits = field.min + std::floor(count) * step;
      problem("/step", "does not lead from min to max: the last value would be " +
                           to_text(number_value(std::round(fits * 1e9) / 1e9)) + ", max is " +
                           block.find("max")->shown() + is);
      return;
    }
    field.step = step;
  }

  JsonPlace place_;
  std::vector<Problem>& problems_;
  std::size_t before_;
};

bool small_number(std::string_view text, int& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return !text.empty() && text.front() != '-' && error == std::errc() &&
         end == text.data() + text.size() && out <= 1000000;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

bool parse_declared_name(const std::string& text, DeclaredName& name, std::string& why) {
  const std::size_t open = text.find('[');
  name.base = text.substr(0, open);
  name.members.clear();
  if (!is_name(name.base) || name.base.size() > kNameMax) {
    why = "a parameter's name has letters, digits and _, at most 64, and no digit first";
    return false;
  }
  if (open == std::string::npos) return true;
  const std::string inside =
      text.back() == ']' ? text.substr(open + 1, text.size() - open - 2) : "";
  const std::size_t dots = inside.find("..");
  int first = 0, last = 0;
  const bool good = small_number(inside.substr(0, dots), first) &&
                    (dots == std::string::npos ? (last = first, true)
                                               : small_number(inside.substr(dots + 2), last));
  if (!good) {
    why = "a family is written like \"" + name.base + "[1..3]\"";
    return false;
  }
  if (first > last || last - first >= kMembersMax) {
    why = first > last ? "the family's first member is above its last: swap them"
                       : "a family has at most 1000 members";
    return false;
  }
  for (int i = first; i <= last; ++i) name.members.push_back(i);
  return true;
}

Value fitted(const Field& field, Value value) {
  if (const auto* number = std::get_if<double>(&value)) {
    const bool wanted =
        field.kind == FieldKind::whole ||
        (!field.values.empty() && std::holds_alternative<std::int64_t>(field.values[0]));
    // 6.0 is 6; beyond 2^53 a double may stand for several.
    const bool is_whole = std::abs(*number) <= 0x1p53 && std::trunc(*number) == *number;
    return wanted && is_whole ? Value(static_cast<std::int64_t>(*number)) : value;
  }
  const auto* whole = std::get_if<std::int64_t>(&value);
  if (whole == nullptr) return value;
  const bool real = field.kind == FieldKind::real ||
                    (!field.values.empty() && std::holds_alternative<double>(field.values[0]));
  return real ? Value(static_cast<double>(*whole)) : value;
}

DeclaredSpace read_space(const JsonPlace& place, std::vector<Problem>& problems) {
  DeclaredSpace space;
  for (const auto& [key, declaration] : place.members()) {
    DeclaredName name;
    std::string why;
    if (!parse_declared_name(key, name, why)) {
      problems.push_back({declaration.pointer(), why});
      continue;
    }
    Field pattern;
    bool good = FieldReader(declaration, problems).read(pattern);
    if (name.members.empty()) name.members.push_back(-1);
    if (space.declared.size() + name.members.size() > kFieldsMax) {
      problems.push_back({declaration.pointer(), "a space has at most 1000 parameters"});
      return space;
    }
    const std::vector<std::string> declared_before = space.declared;
    for (const int member : name.members) {
      Field field = pattern;
      field.name = member < 0 ? name.base : name.base + "[" + std::to_string(member) + "]";
      // Columns of the database do not tell upper from lower case.
      for (const std::string& other : declared_before) {
        if (lower(other) != lower(field.name)) continue;
        problems.push_back(
            {declaration.pointer(), "\"" + field.name + "\" is declared already" +
                                        (other == field.name ? "" : ", as \"" + other + "\"") +
                                        ": take another name"});
        good = false;
      }
      space.declared.push_back(field.name);
      const std::optional<JsonPlace> when = declaration.find("when");
      if (!good) continue;
      const std::size_t before = problems.size();
      if (when && when->kind() == JsonPlace::Kind::object)
        read_conditions(*when, member, space.fields, space.declared, field, problems);
      good = problems.size() == before;  // one complaint for a family
      if (good) space.fields.push_back({std::move(field), declaration.pointer()});
    }
  }
  return space;
}

std::optional<ParamSet> read_point(const JsonPlace& place, const SearchSpace& space,
                                   std::vector<Problem>& problems) {
  if (place.kind() != JsonPlace::Kind::object) {
    problems.push_back(
        {place.pointer(), "should be an object of parameters (is " + place.shown() + ")"});
    return std::nullopt;
  }
  const std::size_t before = problems.size();
  std::vector<std::string> names;
  for (const Field& field : space.fields()) names.push_back(field.name);
  std::vector<std::optional<Value>> values(names.size());
  for (const auto& [name, element] : place.members()) {
    const std::optional<std::size_t> at = space.index_of(name);
    const std::optional<Value> value = element.scalar();
    if (!at)
      problems.push_back({element.pointer(), "\"" + name + "\" is not declared in search_space" +
                                                 did_you_mean(name, names)});
    else if (!value || !space.fields()[*at].contains(fitted(space.fields()[*at], *value)))
      problems.push_back({element.pointer(), "should be " + space.fields()[*at].allowed() +
                                                 " (is " + element.shown() + ")"});
    else
      values[*at] = fitted(space.fields()[*at], *value);
  }
  if (problems.size() != before) return std::nullopt;
  ParamSet params;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (values[i]) params.set(names[i], *values[i]);
  try {
    space.require_member(params);
  } catch (const UserError& error) {
    problems.push_back({place.pointer(), error.what()});
    return std::nullopt;
  }
  return params;
}

}  // namespace brood
