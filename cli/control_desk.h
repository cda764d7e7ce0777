// Commands of people to the run that this process leads: the control socket's lines, checked
// against the config and turned into what the controller obeys.
#pragma once

#include <memory>
#include <string>

#include "engine/command.h"
#include "engine/experiment.h"

namespace brood {

// The socket is made in the folder. The spec outlives it. Throws UserError when there can be none.
std::unique_ptr<CommandDesk> make_control_desk(const std::string& folder,
                                               const ExperimentSpec& spec);

// One line of a client as a command. `config` is the canonical config that holds now. Throws
// UserError with what is wrong with it.
Command command_from(const std::string& line, const ExperimentSpec& spec,
                     const std::string& config);

}  // namespace brood
