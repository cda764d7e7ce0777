#include "trainers/command_line.h"

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
  const Json json = parse_json(with_quoted_words(line));
  if (!json.is_object()) throw UserError("it is no JSON object");
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
