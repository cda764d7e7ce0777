// A whole cluster in one thread and in virtual time: the real controller, supervisors and workers,
// with made-up processes between them. Seeded delays; at any chosen event the power is cut; workers
// die, nodes die, hang and are cut off, frames and checkpoint files are lost as told.
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
  // Per event: a random node is cut off or hangs for up to so long, or dies (the first never does,
  // so that somebody is left).
  double node_chance = 0.0;
  Millis node_trouble_max{12000};
  // Per event: a checkpoint file in the folders below `files` vanishes, is cut short, or a stale
  // one appears.
  double file_chance = 0.0;
  std::string files;
  std::function<bool()> power_is_off = nullptr;  // asked at every event: throws PowerCut
  std::string vfs;  // under the database, which is then written as safely as a real one
};

struct Shape {
  int nodes = 1;
  int workers_per_node = 1;
  std::uint64_t seed = 1;  // of the delays and faults, not of the experiment
  Millis delay_max{20};    // of a frame
  Millis slice{50};        // virtual time that a worker's turn takes, up to twice of it
  std::optional<std::uint64_t> free_bytes;  // what each node says that it could still give
  std::vector<std::vector<std::string>> numeric_classes;  // that the nodes offer; empty: any
  int slots = 1;                                          // trials in each worker
  std::vector<std::string> devices;                       // named by the config
  std::vector<std::string> devices_here;                  // that each node has
  std::map<std::string, std::uint64_t> offers;            // bytes that a device's worker offers
  bool one_host = false;                                  // all nodes are on it
  bool set_clock = false;  // the wall clock is set forth and back all the time
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
  std::int64_t node_troubles() const { return node_troubles_; }
  std::int64_t file_troubles() const { return file_troubles_; }
  // "node device share/shares" of every worker, in the order of their starts.
  const std::vector<std::string>& places() const { return places_; }

 private:
  class Host;
  class VirtualClock final : public Clock {
   public:
    Millis now() const override { return Millis{us_ / 1000}; }
    std::int64_t wall_us() const override {
      constexpr std::int64_t kHour = std::int64_t{3600} * 1'000'000;
      return us_ + (is_set ? (100 + (us_ >> 14) % 3) * kHour : 0);
    }
    bool is_set = false;  // the wall clock, all the time, by hours forth and back
    std::int64_t us_ = 0;
  };
  struct NodeState {
    std::unique_ptr<Host> host;
    std::unique_ptr<Supervisor> supervisor;
    // cut off: it works on, frames wait until the network is back. hung: nothing of it moves.
    enum class Condition : std::uint8_t { well, cut_off, hung, dead } condition = Condition::well;
    std::int64_t until_us = 0;                           // cut off and hung
    std::vector<std::pair<int, std::string>> held_down;  // worker, frame
    std::vector<Envelope> held_up;
  };
  static constexpr int kNoNode = -1;
  struct Item {
    std::int64_t at_us;
    std::int64_t order;  // ties in the order of making
    int node;            // that acts; kNoNode: the network or the controller's side
    std::function<void()> act;
    bool operator>(const Item& o) const {
      return std::tie(at_us, order) > std::tie(o.at_us, o.order);
    }
  };

  std::string host_of(int node) const {
    return shape_.one_host ? "host" : "host" + std::to_string(node);
  }
  void later(int node, Millis delay_max, std::function<void()> act);
  void in_order(int node, std::int64_t& last_us, Millis delay_max, std::function<void()> act);
  void tick(int node);
  void from_node(int node, Address from, std::string_view frame);
  void up(int node, Envelope envelope);
  void maybe_kill();
  void maybe_trouble_a_node();
  void maybe_trouble_a_file();
  void trouble(int node, NodeState::Condition condition, std::int64_t for_us);
  void heal(int node);
  void act(Item item);

  Shape shape_;
  Faults faults_;
  MakeTrainer make_trainer_;
  Rng rng_;
  VirtualClock clock_;
  std::vector<NodeState> nodes_;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> agenda_;
  std::queue<Envelope> arrived_;
  std::int64_t order_ = 0, events_ = 0, kills_ = 0, node_troubles_ = 0, file_troubles_ = 0;
  std::vector<std::string> places_;
  std::map<std::string, std::int64_t> channel_us_;  // last delivery on each channel
};

}  // namespace brood::simulation
