// Worker processes of the operating system: started, framed, measured, reaped. Linux.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/experiment.h"
#include "engine/process_host.h"
#include "engine/spawn.h"

namespace brood {

struct OsProcessesOptions {
  // What a worker runs. It finds its control socket at descriptor 3.
  std::vector<std::string> argv = {"/proc/self/exe", "worker"};
  Environment environment = child_environment();
};

// One thread makes, uses and destroys it, and must outlive the workers: they die with it.
class OsProcesses final : public ProcessHost {
 public:
  using OnFrame = std::function<void(int worker, std::string_view frame)>;
  using OnExit = std::function<void(int worker, const Exit& exit)>;

  explicit OsProcesses(OsProcessesOptions options = {});
  ~OsProcesses() override;  // kills and reaps all

  void start(int worker, const ProcessLimits& limits) override;
  void send(int worker, std::string_view frame) override;
  void kill(int worker) override;
  std::uint64_t memory_in_use(int worker) override;
  std::optional<std::uint64_t> memory_free() override;

  // Readable when dispatch() has something to tell.
  int descriptor() const { return epoll_.get(); }

  // Tells what has arrived; a worker's frames come before its exit. The functions may call start,
  // send and kill. Also enforces limits, so call it at least every 100 ms.
  void dispatch(const OnFrame& on_frame, const OnExit& on_exit);

  // Workers whose exit has not been told.
  std::size_t alive() const { return children_.size(); }

 private:
  struct Child;
  bool launch(int worker, Child& child);
  void tell_frames(int worker, const OnFrame& on_frame, std::size_t bytes_max);
  void tell_exit(int worker, const OnFrame& on_frame, const OnExit& on_exit);
  void update_interest(int worker, Child& child);
  void enforce_limits();
  void end(Child& child);

  OsProcessesOptions options_;
  Descriptor epoll_;
  Descriptor news_;  // an eventfd: a child could not be started, which dispatch() has to tell
  std::map<int, std::unique_ptr<Child>> children_;
  std::chrono::steady_clock::time_point measured_;
  std::uint64_t out_of_memory_kills_ = 0;
};

}  // namespace brood
