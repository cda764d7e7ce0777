#include "cli/control_desk.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "cli/config.h"
#include "cli/config_document.h"
#include "cli/config_space.h"
#include "cli/control_socket.h"
#include "engine/error.h"
#include "engine/interventions.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/suggest.h"

namespace brood {

namespace {

using Kind = Command::Kind;

const std::vector<std::string> kLimits = {"max_trials", "max_failed_trials", "max_wall_time",
                                          "target"};

std::string text_of(const JsonPlace& request, const char* key) {
  const auto place = request.find(key);
  return place ? place->text().value_or("") : "";
}

Kind kind_of(const std::string& word) {
  static const std::vector<std::string> kWords = {"pause",  "continue", "stop",
                                                  "cancel", "add",      "set"};
  const auto at = std::find(kWords.begin(), kWords.end(), word);
  if (at == kWords.end())
    throw UserError("a run has no command \"" + word + "\"" + did_you_mean(word, kWords));
  return static_cast<Kind>(at - kWords.begin());
}

TrialId trial_of(const JsonPlace& request) {
  const auto place = request.find("trial");
  const auto value = place ? place->scalar() : std::nullopt;
  const auto* whole = value ? std::get_if<std::int64_t>(&*value) : nullptr;
  if (whole == nullptr) throw UserError("\"trial\" should be the number of a trial");
  return *whole;
}

ParamSet params_of(const JsonPlace& request, const SearchSpace& space) {
  const auto place = request.find("params");
  if (!place) throw UserError("\"params\" is missing");
  std::vector<Problem> problems;
  const auto params = read_point(*place, space, problems);
  if (params) return *params;
  std::string text;
  for (const Problem& problem : problems) {
    // "/params/x" is where it stood in the request; people wrote "x".
    std::string name = problem.pointer.substr(std::min<std::size_t>(8, problem.pointer.size()));
    text += (text.empty() ? "" : "\n") + (name.empty() ? "" : name + ": ") + problem.message;
  }
  throw UserError(text);
}

// The limit as the config's own reader understands it.
void read_limit(const std::string& word, const ExperimentSpec& spec, const std::string& config,
                Command& command) {
  const std::string& key = command.key;
  if (std::find(kLimits.begin(), kLimits.end(), key) == kLimits.end())
    throw UserError("\"" + key + "\" cannot be set on a running experiment" +
                    did_you_mean(key, kLimits) +
                    "; max_trials, max_failed_trials, max_wall_time and target can. Others change "
                    "with `brood resume --set`");
  const std::string block = key == "target" ? "objective" : "budget";
  Json changed = parse_json(config);
  if (changed.contains(block)) changed[block].erase(key);
  std::vector<std::string> overrides;
  if (word != "none") overrides.push_back("/" + block + "/" + key + "=" + word);
  ExperimentSpec set;
  try {
    set = read_config_text(changed.dump(), spec.file, overrides);
  } catch (const ConfigError& error) {
    std::string text;
    for (const Problem& problem : error.problems())
      text += (text.empty() ? "" : "\n") + problem.pointer + ": " +
              problem.message.substr(0, problem.message.find(" (from --set "));
    throw UserError(text);
  }
  if (key == "max_wall_time") {
    if (set.budget.max_wall_time)
      command.value = static_cast<double>(set.budget.max_wall_time->count()) / 1000.0;
  } else {
    command.value = limits_of(set)[*limit_key(key)];
  }
  const Json written = parse_json(set.config);
  if (command.value) command.json = written.at(block).at(key).dump();
}

class ControlDesk final : public CommandDesk {
 public:
  ControlDesk(const std::string& folder, const ExperimentSpec& spec)
      : socket_(folder), spec_(spec), config_(spec.config) {}

  std::optional<Command> next() override {
    while (const auto request = socket_.next()) {
      try {
        Command command = command_from(request->line, spec_, config_);
        command.id = request->id;
        if (command.kind == Kind::set) remember(command);
        return command;
      } catch (const std::exception& error) {  // whatever a line holds, the run goes on
        answer(request->id, {false, error.what()});
      }
    }
    return std::nullopt;
  }

  void answer(std::uint64_t id, const CommandAnswer& answer) override {
    Json line = {{"done", answer.done}, {"text", answer.text}};
    if (answer.trial) line["trial"] = *answer.trial;
    socket_.answer(id, line.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

 private:
  void remember(const Command& command) {
    Json config = parse_json(config_);
    Json& block = config[command.key == "target" ? "objective" : "budget"];
    if (command.value)
      block[command.key] = parse_json(command.json);
    else if (block.is_object())
      block.erase(command.key);
    else
      block = Json::object();
    config_ = config.dump();
  }

  ControlSocket socket_;
  const ExperimentSpec& spec_;
  std::string config_;  // with the limits that were set
};

}  // namespace

Command command_from(const std::string& line, const ExperimentSpec& spec,
                     const std::string& config) {
  std::vector<Problem> problems;
  const Document document(line, problems);
  const JsonPlace request = document.root();
  if (request.kind() != JsonPlace::Kind::object || !problems.empty())
    throw UserError("a request is a JSON object, each key once");
  if (const std::string name = text_of(request, "experiment"); name != spec.name)
    throw UserError("the run that writes this database is of experiment \"" + spec.name +
                    "\", not of \"" + name + "\"");
  Command command;
  command.kind = kind_of(text_of(request, "command"));
  if (command.kind == Kind::pause) {
    const auto now = request.find("now");
    command.now = now && now->dump() == "true";
  } else if (command.kind == Kind::cancel) {
    command.trial = trial_of(request);
    command.why = text_of(request, "why").substr(0, 1000);
  } else if (command.kind == Kind::add) {
    command.params = params_of(request, spec.space);
  } else if (command.kind == Kind::set) {
    command.key = text_of(request, "key");
    read_limit(text_of(request, "value"), spec, config, command);
  }
  return command;
}

std::unique_ptr<CommandDesk> make_control_desk(const std::string& folder,
                                               const ExperimentSpec& spec) {
  return std::make_unique<ControlDesk>(folder, spec);
}

}  // namespace brood
