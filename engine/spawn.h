// A child process with nothing inherited by accident: no descriptors, no signal mask, no MPI job.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/descriptor.h"

namespace brood {

using Environment = std::vector<std::string>;  // NAME=value

// This process's environment as a child should see it: without the variables of an MPI launcher
// (an MPI program among the children would try to join the job), with one thread for the usual
// numerics libraries unless the user asked for more.
Environment child_environment();

void set_variable(Environment& environment, std::string_view name, std::string_view value);

struct SpawnRequest {
  std::vector<std::string> argv;  // argv[0] without a slash is looked up in PATH
  Environment environment;
  std::string directory;         // working directory; empty: this process's
  std::string log;               // takes standard output and error, appended; empty: see below
  bool inherit_output = false;   // without a log: to this process's standard error, else /dev/null
  int input = -1;                // its standard input; -1: /dev/null
  int third = -1;                // its descriptor 3; -1: none
  int death_signal = SIGKILL;    // what it gets when the calling thread ends
  bool own_session = false;      // else a process group of its own in this session
  std::uint64_t data_bytes = 0;  // soft RLIMIT_DATA; 0: as high as allowed
};

struct Spawned {
  pid_t pid = 0;
  Descriptor pidfd;  // readable once it has ended
};

// The child gets its death signal when the calling thread ends. Throws UserError, naming the
// program and the reason, when it cannot be started.
Spawned spawn(const SpawnRequest& request);

// "ended with status 3", "was killed by signal 11 (Segmentation fault)".
std::string describe_status(int wait_status);

}  // namespace brood
