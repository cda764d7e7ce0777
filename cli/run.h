// `brood run` and `brood resume`: an experiment from its config to its end, on this machine or as
// a rank under mpirun.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/progress_display.h"
#include "engine/clock.h"

namespace brood {

struct RunOptions {
  std::string config;                  // run: a config; resume: a config or a database
  std::string experiment;              // resume from a database: which one; empty: the newest
  std::vector<std::string> overrides;  // key=value
  std::optional<int> executors;        // instead of the config's
  Display display = Display::automatic;
  bool resume = false;  // the experiment must exist
  Millis lease{10000};  // under mpirun: how long a host may be silent
  std::string events;   // a database: repeats the event log that it has of this experiment
};

// Exit statuses beside 0 (the experiment is complete) and 2 (an error, by UserError).
inline constexpr int kExitFailed = 1;  // too many trials failed
// Resumable: Ctrl-C, SIGTERM, SIGUSR1, max_wall_time, every executor's host lost.
inline constexpr int kExitInterrupted = 75;

int run_command(const RunOptions& options);

}  // namespace brood
