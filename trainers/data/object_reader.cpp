#include "trainers/data/object_reader.h"

#include <algorithm>
#include <cmath>

#include "engine/json_library.h"
#include "engine/suggest.h"

namespace brood::data {

namespace {

std::string range_text(const std::string& low, const std::string& high, bool open_min,
                       bool open_max) {
  return (open_min ? "above " : "from ") + low + (open_max ? ", below " : " to ") + high;
}

}  // namespace

std::string join(const std::string& pointer, const std::string& key) {
  std::string out = pointer + "/";
  for (const char letter : key) {
    if (letter == '~')
      out += "~0";
    else if (letter == '/')
      out += "~1";
    else
      out += letter;
  }
  return out;
}

std::string join(const std::string& pointer, std::size_t index) {
  return pointer + "/" + std::to_string(index);
}

std::string brief(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

ObjectReader::ObjectReader(const Json& json, std::string pointer, std::vector<Problem>& problems)
    : json_(json), pointer_(std::move(pointer)), problems_(problems) {
  CHECK(json.is_object(), "only objects are read");
}

void ObjectReader::problem(const std::string& key, const std::string& message) {
  problems_.push_back({key.empty() ? pointer_ : join(pointer_, key), message});
}

const Json* ObjectReader::find(const std::string& key) {
  known_.push_back(key);
  const auto found = json_.find(key);
  return found == json_.end() ? nullptr : &*found;
}

const Json* ObjectReader::require(const std::string& key, const std::string& example) {
  const Json* found = find(key);
  if (!found)
    problem(key, "is missing: add for example \"" + key + "\": " + example +
                     " (an inactive parameter removes its key)");
  return found;
}

void ObjectReader::refuse(const std::string& key, const std::string& why) {
  if (find(key)) problem(key, why);
}

std::int64_t ObjectReader::whole(const std::string& key, std::optional<std::int64_t> fallback,
                                 std::int64_t min, std::int64_t max) {
  const Json* found = fallback ? find(key) : require(key, std::to_string(min));
  if (!found) return fallback.value_or(min);
  const std::string expected = "must be a whole number " +
                               range_text(std::to_string(min), std::to_string(max), false, false);
  // A real number without a fraction is what an expression makes of whole numbers.
  const bool is_whole = found->is_number_integer() ||
                        (found->is_number_float() && std::abs(found->get<double>()) < 1e15 &&
                         found->get<double>() == std::floor(found->get<double>()));
  if (!is_whole) {
    problem(key, expected + " (is " + brief(*found) + ")");
    return fallback.value_or(min);
  }
  const double value = found->get<double>();
  if (value < static_cast<double>(min) || value > static_cast<double>(max)) {
    problem(key, expected + " (is " + brief(*found) + ")");
    return fallback.value_or(min);
  }
  return static_cast<std::int64_t>(value);
}

double ObjectReader::real(const std::string& key, std::optional<double> fallback, double min,
                          double max, bool open_min, bool open_max) {
  const Json* found = fallback ? find(key) : require(key, "0.001");
  const double otherwise = fallback.value_or(max < 1e9 ? (min + max) / 2 : min + 1);
  if (!found) return otherwise;
  const double value = found->is_number() ? found->get<double>() : std::nan("");
  const bool inside =
      (open_min ? value > min : value >= min) && (open_max ? value < max : value <= max);
  if (inside) return value;
  problem(key, "must be a number " +
                   range_text(to_text(Value(min)), to_text(Value(max)), open_min, open_max) +
                   " (is " + brief(*found) + ")");
  return otherwise;
}

bool ObjectReader::flag(const std::string& key, bool fallback) {
  const Json* found = find(key);
  if (!found) return fallback;
  if (found->is_boolean()) return found->get<bool>();
  problem(key, "must be true or false (is " + brief(*found) + ")");
  return fallback;
}

std::string ObjectReader::word(const std::string& key, std::optional<std::string> fallback,
                               const std::vector<std::string>& options) {
  const Json* found = fallback ? find(key) : require(key, "\"" + options.front() + "\"");
  const std::string otherwise = fallback.value_or(options.front());
  if (!found) return otherwise;
  const std::string value = found->is_string() ? found->get<std::string>() : "";
  if (found->is_string() && std::find(options.begin(), options.end(), value) != options.end())
    return value;
  std::string list;
  for (const std::string& option : options) list += (list.empty() ? "" : ", ") + option;
  problem(key,
          "must be one of " + list + " (is " + brief(*found) + ")" + did_you_mean(value, options));
  return otherwise;
}

std::pair<int, int> ObjectReader::sides(const std::string& key,
                                        std::optional<std::pair<int, int>> fallback, int max) {
  const Json* found = fallback ? find(key) : require(key, "3");
  const std::pair<int, int> otherwise = fallback.value_or(std::pair{1, 1});
  if (!found) return otherwise;
  const auto side = [max](const Json& json) -> std::optional<int> {
    if (!json.is_number()) return std::nullopt;
    const double value = json.get<double>();
    if (!(value >= 1 && value <= max) || value != std::floor(value)) return std::nullopt;
    return static_cast<int>(value);
  };
  std::optional<int> height, width;
  if (found->is_array() && found->size() == 2) {
    height = side((*found)[0]);
    width = side((*found)[1]);
  } else {
    height = width = side(*found);
  }
  if (height && width) return {*height, *width};
  problem(key, "must be a whole number from 1 to " + std::to_string(max) +
                   ", or [height, width] (is " + brief(*found) + ")");
  return otherwise;
}

void ObjectReader::finish() {
  for (const auto& [key, value] : json_.items())
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      problem(key, "is not a key that is known here" + did_you_mean(key, known_));
}

}  // namespace brood::data
