#include "strategies/settings.h"

#include <algorithm>

#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/suggest.h"

namespace brood {

namespace {

Json::json_pointer pointer(const Setting& setting) {
  return Json::json_pointer("/" + setting.path);
}

std::string shown(const Setting& setting, double number) {
  return setting.kind == Setting::Kind::whole ? std::to_string(static_cast<std::int64_t>(number))
                                              : to_text(Value(number));
}

// "a whole number from 2 to 1000000", for people.
std::string allowed(const Setting& setting) {
  if (setting.kind == Setting::Kind::choice) {
    std::string text = setting.choices.size() == 1 ? "" : "one of ";
    for (std::size_t i = 0; i < setting.choices.size(); ++i)
      text += (i == 0 ? "\"" : ", \"") + setting.choices[i] + "\"";
    return text;
  }
  return (setting.kind == Setting::Kind::whole ? "a whole number from " : "a number from ") +
         shown(setting, setting.min) + " to " + shown(setting, setting.max) +
         (setting.fallback ? "" : ", or null");
}

bool is_allowed(const Setting& setting, const Json& value) {
  if (setting.kind == Setting::Kind::choice)
    return value.is_string() && std::find(setting.choices.begin(), setting.choices.end(),
                                          value.get<std::string>()) != setting.choices.end();
  if (value.is_null()) return !setting.fallback;
  const bool typed =
      setting.kind == Setting::Kind::whole ? value.is_number_integer() : value.is_number();
  return typed && value.get<double>() >= setting.min && value.get<double>() <= setting.max;
}

// The settings of one object of the block: those under `prefix` ("" or "mutation/").
void check_object(const std::vector<Setting>& table, const Json& object, const std::string& prefix,
                  std::vector<Problem>& problems) {
  const std::string here =
      "/settings" + (prefix.empty() ? "" : "/" + prefix.substr(0, prefix.size() - 1));
  if (!object.is_object()) {
    problems.push_back({here, "should be an object (is " + object.dump() + ")"});
    return;
  }
  std::vector<std::string> known;
  for (const Setting& setting : table) {
    if (!setting.path.starts_with(prefix)) continue;
    const std::string rest = setting.path.substr(prefix.size());
    const std::string key = rest.substr(0, rest.find('/'));
    if (std::find(known.begin(), known.end(), key) == known.end()) known.push_back(key);
  }
  for (const auto& [key, value] : object.items()) {
    const std::string path = prefix + key;
    const auto setting = std::find_if(table.begin(), table.end(),
                                      [&](const Setting& one) { return one.path == path; });
    if (setting != table.end()) {
      if (!is_allowed(*setting, value))
        problems.push_back(
            {here + "/" + key, "should be " + allowed(*setting) + " (is " + value.dump() + ")"});
    } else if (std::find(known.begin(), known.end(), key) != known.end()) {
      check_object(table, value, path + "/", problems);
    } else {
      std::string message = "there is no such setting" + did_you_mean(key, known);
      if (known.empty()) message = "this algorithm has no settings";
      problems.push_back({here + "/" + key, message});
    }
  }
}

// Given the settings so far, those of earlier choices filled in.
bool has_effect(const Setting& setting, const Json& settings) {
  return setting.with_path.empty() ||
         settings.at(Json::json_pointer("/" + setting.with_path)) == setting.with_choice;
}

Json fill_in(const std::vector<Setting>& table, const std::string& json) {
  const Json given = parse_json(json);
  Json filled = Json::object();
  for (const Setting& setting : table) {
    if (!has_effect(setting, filled)) continue;
    Json& value = filled[pointer(setting)];
    if (given.contains(pointer(setting)))
      value = given.at(pointer(setting));
    else if (setting.kind == Setting::Kind::choice)
      value = setting.choices.front();
    else if (setting.fallback && setting.kind == Setting::Kind::whole)
      value = static_cast<std::int64_t>(*setting.fallback);
    else if (setting.fallback)
      value = *setting.fallback;
  }
  return filled;
}

}  // namespace

Settings::Settings(const std::vector<Setting>& table, const std::string& json) {
  const Json filled = fill_in(table, json);
  for (const Setting& setting : table) {
    if (!has_effect(setting, filled)) continue;
    const Json& value = filled.at(pointer(setting));
    CHECK(is_allowed(setting, value), setting.path + " was not checked");
    if (value.is_string())
      values_[setting.path] = value.get<std::string>();
    else if (setting.kind == Setting::Kind::whole && !value.is_null())
      values_[setting.path] = value.get<std::int64_t>();
    else if (!value.is_null())
      values_[setting.path] = value.get<double>();
  }
}

int Settings::whole(const std::string& path) const {
  return static_cast<int>(std::get<std::int64_t>(values_.at(path)));
}

double Settings::real(const std::string& path) const { return std::get<double>(values_.at(path)); }

const std::string& Settings::choice(const std::string& path) const {
  return std::get<std::string>(values_.at(path));
}

std::vector<Problem> check_settings(const std::vector<Setting>& table, const std::string& json) {
  std::vector<Problem> problems;
  const Json given = parse_json(json);
  check_object(table, given, "", problems);
  if (!problems.empty()) return problems;
  const Json filled = fill_in(table, json);
  for (const Setting& setting : table)
    if (given.contains(pointer(setting)) && !filled.contains(pointer(setting)))
      problems.push_back({"/settings/" + setting.path, "has no effect unless " + setting.with_path +
                                                           " is \"" + setting.with_choice + "\""});
  return problems;
}

std::string filled_in(const std::vector<Setting>& table, const std::string& json) {
  return fill_in(table, json).dump();
}

}  // namespace brood
