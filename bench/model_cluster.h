// Executors that compute nothing, in virtual time: they speak the real frames, take as long over an
// epoch as they are told, and notice how long they waited for their next trial.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <string>
#include <tuple>
#include <vector>

#include "engine/clock.h"
#include "engine/message.h"
#include "engine/transport.h"

namespace brood {

// CPU time of the calling thread and of the whole process, in microseconds.
double thread_cpu_us();
double process_cpu_us();

struct ModelOptions {
  int nodes = 1;
  int workers_per_node = 16;
  std::int64_t trial_us = 1000;  // all epochs of a trial, on average
  double spread = 0.0;           // 0.5: trials take from half to one and a half of it
  std::int64_t latency_us = 0;   // of a frame, either way
  bool charge = false;           // the controller's own CPU time passes in virtual time, too
  std::optional<std::uint64_t> free_bytes;  // beats say so once a second; nullopt: no beats
};

// One thread. The metric is "loss": the sum of the parameters, falling from epoch to epoch.
class ModelCluster final : public Transport {
 public:
  explicit ModelCluster(ModelOptions options);

  std::optional<Envelope> receive(Millis wait_max) override;
  void send(Address to, std::string_view frame) override;
  void wake() noexcept override {}

  const Clock& clock() const { return clock_; }
  std::int64_t now_us() const { return clock_.us_; }
  // The controller stands still so long, as it does when the store lets it wait.
  void hold_up(std::int64_t us) { clock_.us_ += us; }
  // So much of the thread's time was not the controller's.
  void not_the_controller(double us) { elsewhere_us_ += us; }
  // Time now, with what the controller has used since receive() returned.
  std::int64_t exact_now_us() const;
  // Somebody may want to be heard in between: the time of the next such moment.
  std::function<std::optional<std::int64_t>()> next_wake_us;

  // From a worker's word that its slot is idle to its next assignment, both at the worker; and how
  // long the trials then take that were assigned. Of every assignment but each worker's first.
  const std::vector<std::int64_t>& waits_us() const { return waits_us_; }
  const std::vector<std::int64_t>& lengths_us() const { return lengths_us_; }
  double controller_us() const { return controller_us_; }  // CPU time between its receive() calls

 private:
  class VirtualClock final : public Clock {
   public:
    Millis now() const override { return Millis{us_ / 1000}; }
    std::int64_t wall_us() const override { return us_; }
    std::int64_t us_ = 0;
  };
  struct WorkerState {
    Assignment assignment;
    bool busy = false;
    int epoch = 0;
    std::int64_t epoch_us = 0, sequence = 0;
    std::int64_t turn = 0;  // tells an epoch of a trial that was stopped from one of the next
    std::int64_t idle_at_us = -1;
    double sum = 0.0;
  };
  static constexpr int kFrame = -1, kBeat = -2;
  struct Item {
    std::int64_t at_us;
    std::int64_t order;
    int worker;  // kFrame: a frame arrives at the controller; kBeat: `turn` is the node
    std::int64_t turn;
    Envelope envelope;
    bool operator>(const Item& o) const {
      return std::tie(at_us, order) > std::tie(o.at_us, o.order);
    }
  };

  void up(int node, int worker, const Message& message, std::int64_t at_us);
  void start_node(int node);
  void beat(int node);
  void obey(int index, const Message& message);
  void epoch_ends(int index);
  void go_idle(int index, std::int64_t at_us);
  void advance_to(std::int64_t at_us);

  const ModelOptions options_;
  VirtualClock clock_;
  std::vector<WorkerState> workers_;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> agenda_;
  std::queue<Envelope> arrived_;
  std::int64_t order_ = 0;
  std::vector<std::int64_t> waits_us_, lengths_us_;
  double returned_at_us_ = -1.0, elsewhere_us_ = 0.0, controller_us_ = 0.0;
};

}  // namespace brood
