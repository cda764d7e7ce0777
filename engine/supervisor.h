// One per node: keeps its worker processes alive, relays frames byte for byte, and is the only one
// that kills.
//
// A state machine without system calls: the operating system is a ProcessHost, time is an argument.
// So the simulation runs this very class. Locally it lives in the controller's process, under MPI
// in every executor rank.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/message.h"
#include "engine/process_host.h"
#include "engine/transport.h"

namespace brood {

// One thread. `now` is monotonic, in milliseconds since any moment.
class Supervisor {
 public:
  using Uplink = std::function<void(Address from, std::string_view frame)>;

  // The process host outlives the supervisor. uplink must not call back.
  Supervisor(int node, NodeHello self, ProcessHost& processes, Uplink uplink);

  // Introduces the node to the controller.
  void begin(Millis now);

  // worker 0: for the supervisor itself; else forwarded to that worker.
  void from_controller(int worker, std::string_view frame, Millis now);

  // A frame of a child: forwarded up, and read for deadlines.
  void from_worker(int worker, std::string_view frame, Millis now);

  // A child has ended: the controller hears Lost, a replacement starts.
  void exited(int worker, const Exit& exit, Millis now);

  // Deadlines, memory, beats, lease. To be called at least every 100 ms.
  void tick(Millis now);

  // Shutdown was asked for and every child is gone.
  bool finished() const { return shutting_down_ && children_.empty(); }

  // The controller was silent for the length of the lease; children are being killed.
  bool lease_lost() const { return lease_lost_; }

 private:
  struct Slot {
    TrialId trial = -1;  // -1: idle
    int attempt = 0;
    Millis assigned{0}, heard{0};
    std::optional<Millis> stop_asked;
    std::int64_t step = 0;
  };
  struct Child {
    std::int64_t sequence = 0;  // of the last Told that was relayed
    bool greeted = false;       // its hello came
    int place = 0;              // 0 to workers - 1; a replacement takes the same
    std::map<int, Slot> slots;
    std::optional<Cause> killed_for;  // by us
    std::string why;
    TrialId culprit = -1;  // whose deadline it was
  };

  void start_worker(int place);
  void end_child(int worker, Cause cause, std::string why);
  void obey(const Message& message, Millis now);
  void watch_slots(int worker, Child& child, Millis now);
  void beat(Millis now);
  void forgive(Millis now, Millis stood_still);
  Lost lost(int worker, const Child& child, const Exit& exit) const;
  std::uint64_t memory_limit() const;

  int node_;
  NodeHello self_;
  ProcessHost& processes_;
  Uplink uplink_;

  std::optional<Setup> setup_;
  std::map<int, Child> children_;
  int next_worker_ = 1;
  std::deque<std::pair<Millis, int>> starts_;  // when replacements are due, and their places
  int early_deaths_ = 0;                       // in a row, before a hello
  Millis next_beat_{0};
  Millis leased_until_{0};
  std::optional<Millis> ticked_;
  bool lease_lost_ = false;
  bool shutting_down_ = false;
};

}  // namespace brood
