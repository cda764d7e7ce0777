// What people may ask of a run while it goes on. Obeyed by engine/controller_commands.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/params.h"
#include "engine/trial.h"

namespace brood {

struct Command {
  enum class Kind : std::uint8_t { pause, go_on, stop, cancel, add, set };
  Kind kind = Kind::pause;
  std::uint64_t id = 0;         // of the request, for its answer
  bool now = false;             // pause: running trials stop at their next checkpoint
  TrialId trial = 0;            // cancel
  std::string why;              // cancel: the user's reason; may be empty
  ParamSet params;              // add: a member of the space
  std::string key;              // set: max_trials, max_failed_trials, max_wall_time or target
  std::optional<double> value;  // set: the limit, max_wall_time in seconds; nullopt: none
  std::string json = "null";    // set: the same as the config writes it
};

struct CommandAnswer {
  bool done = false;                            // else refused, and nothing was changed
  std::string text;                             // one sentence
  std::optional<TrialId> trial = std::nullopt;  // that it is about
};

// Where commands come from. The controller asks between two frames, from its one thread.
class CommandDesk {
 public:
  virtual ~CommandDesk() = default;

  // nullopt: nobody asks anything. Never waits.
  virtual std::optional<Command> next() = 0;

  // Once what the command changed is durable.
  virtual void answer(std::uint64_t id, const CommandAnswer& answer) = 0;
};

}  // namespace brood
