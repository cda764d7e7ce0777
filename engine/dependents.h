// Process groups that must not outlive this process, whoever ends it.
//
// A program that a worker runs dies with the worker by its death signal, but what the program has
// started itself has no such signal. The supervisor clears up after a worker; when the supervisor
// is gone too, the worker does, with the signal that it then gets itself.
#pragma once

#include <sys/types.h>

#include <functional>

namespace brood {

class DependentGroup {
 public:
  // `start` starts the group's leader and returns its process id, which is the group's. SIGTERM to
  // this thread waits meanwhile: between the start and the list nobody would take the group along.
  explicit DependentGroup(const std::function<pid_t()>& start);
  ~DependentGroup();
  DependentGroup(const DependentGroup&) = delete;
  DependentGroup& operator=(const DependentGroup&) = delete;

 private:
  int place_;  // -1: the list was full
};

// From now on SIGTERM first kills the groups that depend on this process.
void end_dependents_on_termination();

}  // namespace brood
