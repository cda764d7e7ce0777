#include "trainers/command_line.h"

#include <algorithm>
#include <limits>
#include <set>

#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/suggest.h"

namespace brood {

namespace {

constexpr std::size_t kMetricsMax = 256;
constexpr std::size_t kNameBytesMax = 200;

// Python's json writes NaN and the infinities bare, which is not JSON: here they become strings.
std::string with_quoted_words(const std::string& line) {
  std::string out;
  bool in_string = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < line.size()) out += line[++i];
      in_string = c != '"';
      continue;
    }
    bool quoted = false;
    for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
      if (line.compare(i, word.size(), word) != 0) continue;
      out += '"' + std::string(word) + '"';
      i += word.size() - 1;
      quoted = true;
      break;
    }
    if (!quoted) out += c;
    in_string = c == '"';
  }
  return out;
}

// The library would keep one of them in silence. Of a text that was parsed before.
void require_single_keys(const std::string& text) {
  std::vector<std::set<std::string>> keys;
  [[maybe_unused]] const Json again = Json::parse(text, [&](int, Json::parse_event_t event,
                                                            Json& found) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(found.get<std::string>()).second)
      throw UserError("\"" + found.get<std::string>().substr(0, kNameBytesMax) +
                      "\" is there twice");
    return true;
  });
}

std::int64_t whole(const Json& json, const char* key) {
  if (!json.is_number_integer())
    throw UserError(std::string("\"") + key + "\" is no whole number: " + json.dump());
  return json.get<std::int64_t>();
}

void check_metrics(const Report& report) {
  if (report.metrics.empty()) throw UserError("it has no \"metrics\"");
  if (report.metrics.size() > kMetricsMax)
    throw UserError("it has " + std::to_string(report.metrics.size()) + " metrics; the most is " +
                    std::to_string(kMetricsMax));
  std::set<std::string_view> names;
  for (const Metric& metric : report.metrics) {
    if (metric.name.empty() || metric.name.size() > kNameBytesMax)
      throw UserError("the name of a metric is empty or longer than 200 bytes");
    if (std::any_of(metric.name.begin(), metric.name.end(),
                    [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
      throw UserError("the name of a metric has a control character");
    if (!names.insert(metric.name).second)
      throw UserError("the metric \"" + metric.name + "\" is there twice");
  }
}

}  // namespace

std::string checkpoint_path(const Assignment& assignment, int epoch) {
  return assignment.save_dir + "/epoch_" + std::to_string(epoch) + ".ckpt";
}

std::string assignment_line(const Assignment& assignment) {
  const auto path_or_null = [](const std::string& path) {
    return path.empty() ? Json(nullptr) : Json(path);
  };
  const std::string save_to =
      assignment.save_dir.empty() ? "" : assignment.save_dir + "/epoch_{epoch}.ckpt";
  const Json line = {{"trial", assignment.trial},
                     {"attempt", assignment.attempt},
                     {"params", to_json(assignment.params)},
                     {"first_epoch", assignment.first_epoch},
                     {"last_epoch", assignment.last_epoch},
                     {"seed", assignment.seed},
                     {"resume_from", path_or_null(assignment.resume_from)},
                     {"save_to", path_or_null(save_to)},
                     {"save_every_epochs", assignment.save_every_epochs}};
  return line.dump();
}

std::string request_line(const char* request, const Assignment& assignment) {
  return Json({{request, true}, {"trial", assignment.trial}, {"attempt", assignment.attempt}})
      .dump();
}

ProgramLine parse_line(const std::string& line) {
  const std::string text = with_quoted_words(line);
  const Json json = parse_json(text);
  if (!json.is_object()) throw UserError("it is no JSON object");
  require_single_keys(text);
  static const std::vector<std::string> kKeys = {"epoch", "metrics", "measured",
                                                 "trial", "attempt", "ended"};
  for (const auto& [key, value] : json.items())
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end())
      throw UserError("unknown key \"" + key + "\"" + did_you_mean(key, kKeys));
  ProgramLine out;
  if (json.contains("trial")) out.trial = whole(json["trial"], "trial");
  if (json.contains("attempt")) {
    const std::int64_t attempt = whole(json["attempt"], "attempt");
    if (attempt < 1 || attempt > std::numeric_limits<int>::max())
      throw UserError("there is no attempt " + std::to_string(attempt));
    out.attempt = static_cast<int>(attempt);
  }
  if (json.contains("ended")) {
    if (json["ended"] != true) throw UserError("\"ended\" can only be true");
    out.ended = true;
    return out;
  }
  out.report = report_from_json(json);
  check_metrics(*out.report);
  return out;
}

}  // namespace brood
