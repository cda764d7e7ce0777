#include "trainers/block.h"

#include <algorithm>

#include "engine/json_library.h"
#include "engine/json_text.h"
#include "engine/params.h"
#include "engine/suggest.h"
#include "engine/units.h"

namespace brood {

namespace {

std::string shown(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

bool simple(const Json& json) { return json.is_string() || json.is_number() || json.is_boolean(); }

std::string as_text(const Json& json) {
  return json.is_string() ? json.get<std::string>() : to_text(value_from_json(json));
}

}  // namespace

BlockReader::BlockReader(const std::string& json)
    : owned_(std::make_unique<const Json>(parse_json(json))), object_(*owned_) {
  if (!object_.is_object()) throw UserError("a trainer block must be an object, found " + json);
}

BlockReader::BlockReader(const Json& object, std::string pointer)
    : object_(object), pointer_(std::move(pointer)) {
  CHECK(object.is_object(), "checked by the caller");
}

BlockReader::~BlockReader() = default;

const Json* BlockReader::find(const std::string& key) {
  known_.push_back(key);
  const auto at = object_.find(key);
  return at == object_.end() ? nullptr : &*at;
}

void BlockReader::problem(const std::string& key, const std::string& message) {
  problems_.push_back({pointer_ + (key.empty() ? "" : '/' + pointer_token(key)), message});
}

void BlockReader::wrong(const std::string& key, const std::string& expected, const Json& found) {
  problem(key, "expected " + expected + " (is " + shown(found) + ")");
}

std::int64_t BlockReader::whole(const std::string& key, std::int64_t min, std::int64_t max,
                                std::optional<std::int64_t> fallback) {
  const std::string expected =
      "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
  const Json* const json = find(key);
  if (json == nullptr) {
    if (!fallback) problem(key, "is missing: expected " + expected);
    return fallback.value_or(min);
  }
  // Above 2^63 a number is unsigned and would wrap to a negative one, which is refused as well.
  if (json->is_number_integer()) {
    const auto value = json->get<std::int64_t>();
    if (value >= min && value <= max) return value;
  }
  wrong(key, expected, *json);
  return fallback.value_or(min);
}

double BlockReader::real(const std::string& key, double min, double fallback) {
  const Json* const json = find(key);
  if (json == nullptr) return fallback;
  if (json->is_number() && json->get<double>() >= min) return json->get<double>();
  wrong(key, "a number of at least " + to_text(Value(min)), *json);
  return fallback;
}

Millis BlockReader::duration(const std::string& key, Millis fallback) {
  const Json* const json = find(key);
  if (json == nullptr) return fallback;
  try {
    if (json->is_string()) return parse_duration(json->get<std::string>());
    wrong(key, "a duration such as \"90s\"", *json);
  } catch (const UserError& error) {
    problem(key, error.what());
  }
  return fallback;
}

bool BlockReader::flag(const std::string& key, bool fallback) {
  const Json* const json = find(key);
  if (json == nullptr) return fallback;
  if (json->is_boolean()) return json->get<bool>();
  wrong(key, "true or false", *json);
  return fallback;
}

std::string BlockReader::word(const std::string& key, const std::vector<std::string>& known,
                              const std::string& fallback) {
  const std::string expected = "one of " + listed(known);
  const Json* const json = find(key);
  if (json == nullptr) {
    if (fallback.empty()) problem(key, "is missing: expected " + expected);
    return fallback;
  }
  if (!json->is_string()) {
    wrong(key, expected, *json);
    return fallback;
  }
  const auto text = json->get<std::string>();
  if (std::find(known.begin(), known.end(), text) != known.end()) return text;
  problem(key, "expected " + expected + " (is " + shown(*json) + ")" + did_you_mean(text, known));
  return fallback;
}

std::vector<std::string> BlockReader::texts(const std::string& key, std::size_t count_min) {
  const Json* const json = find(key);
  std::vector<std::string> out;
  if (json == nullptr) {
    if (count_min > 0) problem(key, "is missing: expected a list of words");
    return out;
  }
  if (!json->is_array() || json->size() < count_min ||
      !std::all_of(json->begin(), json->end(), simple)) {
    wrong(key, "a list of at least " + std::to_string(count_min) + " words and numbers", *json);
    return out;
  }
  for (const Json& item : *json) out.push_back(as_text(item));
  return out;
}

std::vector<std::pair<std::string, std::string>> BlockReader::named_texts(const std::string& key) {
  std::vector<std::pair<std::string, std::string>> out;
  const Json* const json = find(key);
  if (json == nullptr) return out;
  if (!json->is_object() || !std::all_of(json->begin(), json->end(), simple)) {
    wrong(key, "an object of words and numbers", *json);
    return out;
  }
  for (const auto& [name, value] : json->items()) out.emplace_back(name, as_text(value));
  return out;
}

void BlockReader::take_problems(BlockReader& inner) {
  for (Problem& found : inner.finish()) problems_.push_back(std::move(found));
}

std::vector<Problem> BlockReader::finish() {
  for (const auto& [key, value] : object_.items())
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      problem(key, "unknown key" + did_you_mean(key, known_) + "; known are " + listed(known_));
  return std::move(problems_);
}

}  // namespace brood
