// brood logs: what a trial's own program wrote.
#include <fstream>

#include "cli/asked.h"
#include "engine/error.h"

namespace brood {

namespace {

// A log may be of any size and hold any bytes; only what could steer a terminal is taken out.
void copy(std::istream& in, std::ostream& out) {
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    // Of a progress bar that redraws its line, the last state.
    if (const auto last = line.rfind('\r'); last != std::string::npos) line.erase(0, last + 1);
    out << printable(line, true) << '\n';
  }
}

}  // namespace

int logs_command(const LogsOptions& options, std::ostream& out) {
  Asked asked = ask(options.where);
  asked.reader.trial(asked.experiment, options.trial);  // throws when there is none
  bool found = false;
  for (const AttemptRecord& attempt : asked.reader.attempts(asked.experiment, options.trial)) {
    if (options.attempt && *options.attempt != attempt.attempt) continue;
    found = true;
    const std::string path = path_beside(asked.reader.path(), attempt.log);
    std::ifstream log(path, std::ios::binary);
    out << "== trial " << options.trial << ", attempt " << attempt.attempt << " on "
        << printable(attempt.executor);
    if (attempt.log.empty())
      out << ": keeps no log ==\n";
    else if (!log)
      out << ": wrote nothing, or its log is gone: " << printable(path) << " ==\n";
    else
      out << ": " << printable(path) << " ==\n";
    if (!attempt.log.empty() && log) copy(log, out);
  }
  if (found) return 0;
  if (options.attempt)
    throw UserError("trial " + std::to_string(options.trial) + " has no attempt " +
                    std::to_string(*options.attempt));
  out << "trial " << options.trial << " has not been started: it has no log\n";
  return 1;
}

}  // namespace brood
