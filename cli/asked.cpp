#include "cli/asked.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/config.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/units.h"
#include "store/lock.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

// A file that is not a database of any kind and looks like JSON.
bool is_config(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  if (fs::path(path).extension() == ".json") return true;
  std::ifstream file(path, std::ios::binary);
  char first = '\0';
  file >> first;
  return first == '{';
}

Where from_config(const Where& where) {
  std::ostringstream text;
  text << std::ifstream(where.database, std::ios::binary).rdbuf();
  Where out = where;
  try {
    const Json config = parse_json(text.str(), true);
    const std::string database =
        config.value("output", Json::object()).value("database", "experiments.db");
    out.database = (fs::path(where.database).parent_path() / database).string();
    if (out.experiment.empty())
      out.experiment = config.value("experiment", Json::object()).value("name", "");
  } catch (const UserError& error) {
    throw UserError(where.database + ": " + error.what());
  } catch (const Json::exception&) {
    throw UserError(where.database + ": is not a config: check it with `brood plan`");
  }
  return out;
}

// node_lost: node lost.
std::string in_words(std::string text) {
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

}  // namespace

bool is_database(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic(15, '\0');
  file.read(magic.data(), 15);
  return magic == "SQLite format 3";
}

Where resolved(const Where& where) {
  Where out = where;
  if (out.database.empty()) out.database = "experiments.db";
  return is_config(out.database) ? from_config(out) : out;
}

Asked ask(const Where& where) {
  const Where found = resolved(where);
  Reader reader(found.database);
  ExperimentRecord experiment = reader.experiment(found.experiment);
  return {std::move(reader), std::move(experiment)};
}

TrainerSetup recorded_setup(Asked& asked) {
  const auto sessions = asked.reader.sessions(asked.experiment);
  const std::string origin =
      sessions.empty() ? asked.reader.path() : sessions.back().session.config_file;
  const ExperimentSpec spec = read_config_text(asked.experiment.config, origin);
  return trainer_setup(spec, fs::path(origin).parent_path().string(),
                       asked.experiment.numeric_class);
}

bool alive(Reader& reader, const ExperimentRecord& experiment) {
  const std::optional<std::string> writer = writer_of(reader.path());
  if (!writer) return false;
  const std::vector<SessionRecord> sessions = reader.sessions(experiment);
  if (sessions.empty() || sessions.back().ended_us) return false;
  return writer->starts_with("process " + std::to_string(sessions.back().session.pid) + " ");
}

bool is_open(const ExperimentRecord& experiment) {
  return experiment.state == "running" || experiment.state == "paused";
}

std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("_-./+:,@%=").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return text;
  std::string out = "'";
  for (const char c : printable(text)) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string resume_command(Reader& reader, const ExperimentRecord& experiment) {
  std::string out = "`brood resume " + shell_word(reader.path());
  if (reader.experiments().size() > 1) out += " -e " + shell_word(experiment.name);
  return out + "`";
}

Trial with_result(Reader& reader, const ExperimentRecord& experiment, TrialId id) {
  Trial trial = reader.trial(experiment, id);
  if (!trial.same_as) return trial;
  Trial original = reader.trial(experiment, *trial.same_as);
  trial.first_epoch = original.first_epoch;
  trial.last_epoch = original.last_epoch;
  trial.judged_epoch = original.judged_epoch;
  trial.reports = std::move(original.reports);
  trial.objective = original.objective;
  trial.best_epoch = original.best_epoch;
  return trial;
}

std::string event_text(const EventRecord& event) {
  const Json body = Json::parse(event.body, nullptr, false);
  if (event.kind == "charged_crash" && body.is_object()) {
    std::string out = "an attempt crashed";
    if (const auto attempt = body.find("attempt");
        attempt != body.end() && attempt->is_number_integer())
      out = "attempt " + std::to_string(attempt->get<std::int64_t>()) + " crashed";
    if (const auto cause = body.find("cause"); cause != body.end() && cause->is_string())
      out += " (" + in_words(cause->get<std::string>()) + ")";
    return printable(out + ", charged");
  }
  if (event.kind == "end" && body.is_object())
    return printable("its training was ended after epoch " +
                     std::to_string(body.value("after_epoch", std::int64_t{0})) + " (" +
                     in_words(body.value("cause", "")) + ")");
  if (event.kind == "cancel" && body.is_object())
    return printable("cancelled after epoch " +
                     std::to_string(body.value("epoch", std::int64_t{0})) + ": " +
                     body.value("why", ""));
  if (event.kind == "add" && body.contains("params"))
    return printable("added by the user: " + body["params"].dump());
  if (event.kind == "set" && body.is_object() && body.contains("after"))
    return printable(body.value("key", "") + " set from " + body["before"].dump() + " to " +
                     body["after"].dump());
  const std::string text = body.is_string() ? body.get<std::string>() : event.body;
  if (event.kind == "nondeterministic_trainer" && body.is_string()) return printable(text);
  return printable(in_words(event.kind) + ": " + text);
}

std::string short_reason(const std::string& why) {
  std::string line = why.substr(0, why.find('\n'));
  constexpr std::string_view kAnnounced = "; the last lines of its log:";
  if (line.ends_with(kAnnounced)) line.resize(line.size() - kAnnounced.size());
  return printable(line);
}

std::int64_t now_us() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

std::string time_text(std::int64_t us) {
  const std::time_t seconds = us / 1'000'000;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::array<char, 32> buffer{};
  const std::size_t length =
      std::strftime(buffer.data(), buffer.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return {buffer.data(), length};
}

std::string span_text(std::int64_t from_us, std::int64_t to_us) {
  const std::int64_t ms = std::max<std::int64_t>(0, (to_us - from_us) / 1000);
  // Beyond a few seconds nobody reads fractions.
  return duration_text(Millis(ms < 10'000 ? ms : ms / 1000 * 1000));
}

std::string shown_number(double value) { return people_text(Cell(value)); }

Cell cell_of(const Value* value) {
  Cell out;
  if (value != nullptr) std::visit([&out](const auto& held) { out = held; }, *value);
  return out;
}

Cell cell_of(const std::optional<double>& value) {
  Cell out;
  if (value) out = *value;
  return out;
}

Cell text_cell(std::string text) {
  Cell out;
  if (!text.empty()) out = std::move(text);
  return out;
}

std::string path_beside(const std::string& database, const std::string& path) {
  return (fs::path(database).parent_path() / path).string();
}

std::string count_text(std::int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace brood
