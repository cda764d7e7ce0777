#include "engine/json.h"

#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/json_library.h"

namespace brood {

namespace {

[[noreturn]] void refuse(const char* expected, const Json& found) {
  std::string text = found.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  throw UserError(std::string("expected ") + expected + ", found " + text);
}

}  // namespace

Json number_to_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

double number_from_json(const Json& json) {
  if (json.is_number()) return json.get<double>();
  if (json == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (json == "Infinity") return std::numeric_limits<double>::infinity();
  if (json == "-Infinity") return -std::numeric_limits<double>::infinity();
  refuse("a number", json);
}

Json to_json(const Value& value) {
  return std::visit([](const auto& held) { return Json(held); }, value);
}

Value value_from_json(const Json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned() &&
      json.get<std::uint64_t>() >
          static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    refuse("a whole number below 2^63", json);
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  refuse("a number, a string, true or false", json);
}

Json to_json(const ParamSet& params) {
  Json out = Json::object();
  for (const auto& [name, value] : params.entries()) out[name] = to_json(value);
  return out;
}

ParamSet params_from_json(const Json& json) {
  if (!json.is_object()) refuse("an object of parameters", json);
  ParamSet params;
  for (const auto& [name, value] : json.items()) params.set(name, value_from_json(value));
  return params;
}

Json to_json(const Report& report) {
  Json metrics = Json::object(), measured = Json::object();
  for (const Metric& metric : report.metrics)
    (metric.exact ? metrics : measured)[metric.name] = number_to_json(metric.value);
  Json out = {{"epoch", report.epoch}, {"metrics", std::move(metrics)}};
  if (!measured.empty()) out["measured"] = std::move(measured);
  return out;
}

Report report_from_json(const Json& json) {
  if (!json.is_object() || !json.contains("epoch") || !json["epoch"].is_number_integer())
    refuse("a report with a whole \"epoch\"", json);
  const auto epoch = json["epoch"].get<std::int64_t>();
  if (epoch < 1 || epoch > std::numeric_limits<int>::max()) refuse("an epoch of 1 or more", json);
  Report report;
  report.epoch = static_cast<int>(epoch);
  for (const bool exact : {true, false}) {
    const auto part = json.find(exact ? "metrics" : "measured");
    if (part == json.end()) continue;
    if (!part->is_object()) refuse("an object of metrics", *part);
    for (const auto& [name, value] : part->items())
      report.metrics.push_back({name, number_from_json(value), exact});
  }
  return report;
}

Json parse_json(std::string_view text, bool comments) {
  // A hostile file must not exhaust the stack of whoever walks the tree.
  const auto shallow = [](int depth, Json::parse_event_t, Json&) {
    if (depth > 128) throw UserError("JSON is nested deeper than 128 levels");
    return true;
  };
  try {
    return Json::parse(text, shallow, true, comments);
  } catch (const Json::parse_error& error) {
    // The library's text starts with its own tag; people want the place and the reason.
    std::string why = error.what();
    const auto at = why.find("parse error");
    if (at != std::string::npos) why = why.substr(at);
    throw UserError("not valid JSON: " + why);
  } catch (const Json::exception& error) {
    throw UserError(std::string("not valid JSON: ") + error.what());
  }
}

}  // namespace brood
