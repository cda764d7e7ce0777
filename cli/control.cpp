#include "cli/control.h"

#include "cli/asked.h"
#include "cli/config.h"
#include "cli/control_desk.h"
#include "cli/control_socket.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/node.h"

namespace brood {

namespace {

// Longer than a controller needs for anything but a full disk.
constexpr Millis kWait{30000};

// What to do instead while nobody runs it.
std::string instead(const ControlOptions& options, const std::string& resume) {
  const std::string plain = resume.substr(0, resume.size() - 1);  // without the closing `
  if (options.command == "set") {
    const std::string block = options.key == "target" ? "objective" : "budget";
    return "change the limit when it goes on: " + plain + " --set " + block + "." + options.key +
           "=" + shell_word(options.value) + "`";
  }
  if (options.command == "add")
    return "let it go on with " + resume +
           " and add the point then; for a new experiment put it "
           "into initial_points";
  if (options.command == "continue") return "let it go on with " + resume;
  return "there is nothing to " + options.command;
}

Json request_of(const ControlOptions& options, const std::string& experiment) {
  Json request = {{"command", options.command}, {"experiment", experiment}};
  if (options.command == "pause") request["now"] = options.now;
  if (options.command == "cancel") {
    request["trial"] = options.trial;
    request["why"] = options.why;
  }
  if (options.command == "add") request["params"] = parse_json(options.params, true);
  if (options.command == "set") {
    request["key"] = options.key;
    request["value"] = options.value;
  }
  return request;
}

// What could not be done in a running experiment either is no advice.
void require_sound(const ControlOptions& options, const Asked& asked) {
  if (options.command != "set" && options.command != "add") return;
  const std::string& config = asked.experiment.config;
  const ExperimentSpec spec = read_config_text(config, asked.reader.path());
  command_from(request_of(options, spec.name).dump(-1, ' ', false, Json::error_handler_t::replace),
               spec, config);
}

}  // namespace

int control_command(const ControlOptions& options, std::ostream& out) {
  Asked asked = ask(options.where);
  const std::string name = "experiment \"" + printable(asked.experiment.name) + "\"";
  if (!alive(asked.reader, asked.experiment)) {
    require_sound(options, asked);
    throw UserError("no process runs " + name + " (" + asked.reader.path() +
                    "): " + instead(options, resume_command(asked.reader, asked.experiment)));
  }
  const auto sessions = asked.reader.sessions(asked.experiment);
  const std::string host = sessions.empty() ? "" : sessions.back().session.host;
  if (host != host_name())
    throw UserError(name + " is run by a process on " + printable(host) +
                    ": give the command there, a socket does not reach other hosts");
  const std::string line = request_of(options, asked.experiment.name)
                               .dump(-1, ' ', false, Json::error_handler_t::replace);
  if (line.size() > kRequestBytesMax)
    throw UserError("the command is too long (" + std::to_string(line.size()) + " bytes, at most " +
                    std::to_string(kRequestBytesMax) + ")");
  const Json answer = parse_json(ask_control_socket(asked.reader.path() + ".files", line, kWait));
  const bool done = answer.value("done", false);
  if (!done) throw UserError(printable(answer.value("text", ""), true));
  out << printable(answer.value("text", ""), true) << "\n";
  return 0;
}

}  // namespace brood
