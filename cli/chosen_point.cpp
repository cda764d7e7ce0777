#include "cli/chosen_point.h"

#include <optional>

#include "cli/config_space.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/suggest.h"

namespace brood {

namespace {

// Of the field: a label as it is, anything else as JSON has it.
std::optional<Value> value_of(const Field& field, const std::string& text) {
  if (field.contains(Value(text))) return Value(text);
  const Json json = Json::parse(text, nullptr, false);
  Value value;
  if (json.is_boolean())
    value = json.get<bool>();
  else if (json.is_number_integer())
    value = json.get<std::int64_t>();
  else if (json.is_number_float())
    value = json.get<double>();
  else
    return std::nullopt;
  value = fitted(field, value);
  return field.contains(value) ? std::optional(value) : std::nullopt;
}

std::size_t place_of(const SearchSpace& space, const std::string& name) {
  if (const auto at = space.index_of(name)) return *at;
  std::vector<std::string> names;
  for (const Field& field : space.fields()) names.push_back(field.name);
  throw UserError("--param " + name + ": the config has no such parameter" +
                  did_you_mean(name, names));
}

using Choice = std::vector<std::optional<Value>>;  // by field

Choice read(const SearchSpace& space, const std::vector<std::string>& words) {
  Choice out(space.size());
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos)
      throw UserError("--param should be NAME=VALUE (is \"" + word + "\")");
    const std::string name = word.substr(0, equals), text = word.substr(equals + 1);
    const std::size_t at = place_of(space, name);
    const Field& field = space.fields()[at];
    if (out[at]) throw UserError("--param " + name + " is there twice; remove one");
    out[at] = value_of(field, text);
    if (!out[at])
      throw UserError("--param " + name + " should be " + field.allowed() + " (is \"" + text +
                      "\")");
  }
  return out;
}

}  // namespace

ParamSet chosen_point(const SearchSpace& space, const std::vector<std::string>& words) {
  const Choice choice = read(space, words);
  Point point;
  for (std::size_t i = 0; i < choice.size(); ++i)
    point.push_back(choice[i] ? *choice[i] : space.fields()[i].decode(0.5));
  const std::vector<bool> on = space.active(point);
  std::string missing, remedy;
  for (std::size_t i = 0; i < choice.size(); ++i) {
    const Field& field = space.fields()[i];
    if (choice[i] && !on[i])
      throw UserError("--param " + field.name + " has no effect at this point; leave it out");
    if (choice[i] || !on[i] || field.cardinality() == 1) continue;
    missing += "\n  " + field.name + ": " + field.allowed();
    remedy += " --param " + field.name + "=" + to_text(point[i]);
  }
  if (!missing.empty())
    throw UserError("there is a search space, and one point of it is wanted; choose" + missing +
                    "\nfor example with" + remedy + ", or name a recorded trial with --trial");
  return space.mask(point);
}

}  // namespace brood
