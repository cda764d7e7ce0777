// A whole cluster in one thread and in virtual time: the real controller, supervisors and workers,
// with made-up processes between them. Seeded delays; at any chosen event the power is cut; workers
// die and nodes fall silent as told.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <tuple>
#include <vector>

#include "engine/clock.h"
#include "engine/rng.h"
#include "engine/supervisor.h"
#include "engine/trainer.h"
#include "engine/transport.h"
#include "engine/worker.h"

namespace brood::simulation {

struct PowerCut {};

struct Faults {
  std::int64_t cut_at_event = -1;    // throws PowerCut from the n-th receive(); -1: never
  double kill_chance = 0.0;          // per event: a random worker is killed from outside
  double crash_chance = 0.0;         // per event: a random worker dies of a SIGSEGV of its own
  double drop_chance = 0.0;          // per Told: lost between supervisor and controller
  std::int64_t node_silent_at = -1;  // from this event on node 1 says nothing and hears nothing
};

struct Shape {
  int nodes = 1;
  int workers_per_node = 1;
  std::uint64_t seed = 1;  // of the delays and faults, not of the experiment
  Millis delay_max{20};    // of a frame
  Millis slice{50};        // virtual time that a worker's turn takes, up to twice of it
};

using MakeTrainer = std::function<std::unique_ptr<Trainer>()>;

class Cluster final : public Transport {
 public:
  Cluster(Shape shape, Faults faults, MakeTrainer make_trainer);
  ~Cluster() override;

  std::optional<Envelope> receive(Millis wait_max) override;
  void send(Address to, std::string_view frame) override;
  void wake() noexcept override {}

  const Clock& clock() const { return clock_; }
  std::int64_t events() const { return events_; }
  std::int64_t kills() const { return kills_; }

 private:
  class Host;
  class VirtualClock final : public Clock {
   public:
    Millis now() const override { return Millis{us_ / 1000}; }
    std::int64_t wall_us() const override { return us_; }
    std::int64_t us_ = 0;
  };
  struct NodeState {
    std::unique_ptr<Host> host;
    std::unique_ptr<Supervisor> supervisor;
    bool silent = false;
  };
  struct Item {
    std::int64_t at_us;
    std::int64_t order;  // ties in the order of making
    std::function<void()> act;
    bool operator>(const Item& o) const {
      return std::tie(at_us, order) > std::tie(o.at_us, o.order);
    }
  };

  void later(Millis delay_max, std::function<void()> act);
  void in_order(std::int64_t& last_us, Millis delay_max, std::function<void()> act);
  void tick(int node);
  void maybe_kill();

  Shape shape_;
  Faults faults_;
  MakeTrainer make_trainer_;
  Rng rng_;
  VirtualClock clock_;
  std::vector<NodeState> nodes_;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> agenda_;
  std::queue<Envelope> arrived_;
  std::int64_t order_ = 0, events_ = 0, kills_ = 0;
  std::map<std::string, std::int64_t> channel_us_;  // last delivery on each channel
};

}  // namespace brood::simulation
