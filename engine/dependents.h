// Process groups that must not outlive this process, whoever ends it.
//
// A program that a worker runs dies with the worker by its death signal, but what the program has
// started itself has no such signal. The supervisor clears up after a worker; when the supervisor
// is gone too, the worker does, with the signal that it then gets itself.
#pragma once

#include <sys/types.h>

namespace brood {

class DependentGroup {
 public:
  explicit DependentGroup(pid_t group);
  ~DependentGroup();
  DependentGroup(const DependentGroup&) = delete;
  DependentGroup& operator=(const DependentGroup&) = delete;

 private:
  int place_;  // -1: the list was full
};

// From now on SIGTERM first kills the groups that depend on this process.
void end_dependents_on_termination();

}  // namespace brood
