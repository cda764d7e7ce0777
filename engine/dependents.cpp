#include "engine/dependents.h"

#include <array>
#include <atomic>
#include <csignal>

namespace brood {

namespace {

// Read by a signal handler, so of a fixed size and without locks; 0: free.
std::array<std::atomic<pid_t>, 64> groups{};
static_assert(std::atomic<pid_t>::is_always_lock_free);

void on_termination(int number) {
  for (const auto& group : groups)
    if (const pid_t pid = group.load(); pid > 0) ::kill(-pid, SIGKILL);
  ::signal(number, SIG_DFL);  // and then as if there were no handler
  ::raise(number);
}

class TerminationWaits {
 public:
  TerminationWaits() {
    sigset_t termination;
    ::sigemptyset(&termination);
    ::sigaddset(&termination, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &termination, &before_);
  }
  ~TerminationWaits() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  TerminationWaits(const TerminationWaits&) = delete;
  TerminationWaits& operator=(const TerminationWaits&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

DependentGroup::DependentGroup(const std::function<pid_t()>& start) : place_(-1) {
  const TerminationWaits waits;
  const pid_t group = start();
  for (std::size_t i = 0; i < groups.size() && place_ < 0; ++i) {
    pid_t free = 0;
    if (groups[i].compare_exchange_strong(free, group)) place_ = static_cast<int>(i);
  }
}

DependentGroup::~DependentGroup() {
  if (place_ >= 0) groups[static_cast<std::size_t>(place_)] = 0;
}

void end_dependents_on_termination() { ::signal(SIGTERM, on_termination); }

}  // namespace brood
