// `brood pause`, `continue`, `stop`, `cancel`, `add` and `set`: asks the process that runs an
// experiment, over its control socket.
#pragma once

#include <optional>
#include <ostream>
#include <string>

#include "cli/questions.h"

namespace brood {

struct ControlOptions {
  Where where;
  std::string command;     // pause, continue, stop, cancel, add, set
  bool now = false;        // pause
  TrialId trial = 0;       // cancel
  std::string why;         // cancel
  std::string params;      // add: JSON
  std::string key, value;  // set
};

// Exit status 0. UserError when nobody runs the experiment, or when the run refuses.
int control_command(const ControlOptions& options, std::ostream& out);

}  // namespace brood
