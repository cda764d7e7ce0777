#include "tests/simulation.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <utility>

#include "engine/error.h"
#include "tests/toy.h"

namespace brood::simulation {

namespace {

// A trainer that has a device with memory of its own.
class OnDevice final : public Trainer {
 public:
  OnDevice(std::unique_ptr<Trainer> trainer, std::string device, std::uint64_t bytes)
      : trainer_(std::move(trainer)), device_(std::move(device)), bytes_(bytes) {}

  Offer offer() const override {
    Offer out = trainer_->offer();
    out.device = device_;
    out.bytes = bytes_;
    return out;
  }
  void start(int slot, const Assignment& assignment) override { trainer_->start(slot, assignment); }
  void stop(int slot) override { trainer_->stop(slot); }
  void save(int slot) override { trainer_->save(slot); }
  int wait_on() const override { return trainer_->wait_on(); }
  std::vector<Event> advance(Millis slice) override { return trainer_->advance(slice); }

 private:
  const std::unique_ptr<Trainer> trainer_;
  const std::string device_;
  const std::uint64_t bytes_;
};

}  // namespace

// The made-up processes of one node.
class Cluster::Host final : public ProcessHost {
 public:
  Host(Cluster& cluster, int node) : cluster_(cluster), node_(node) {}

  void start(int worker, const ProcessLimits&) override { children_[worker]; }

  void send(int worker, std::string_view frame) override {
    cluster_.in_order(node_, cluster_.channel_us_["down" + name(worker)], cluster_.shape_.delay_max,
                      [this, worker, copy = std::string(frame)] { deliver(worker, copy); });
  }

  void kill(int worker) override { die(worker, SIGKILL, true); }

  std::uint64_t memory_in_use(int worker) override {
    return children_.count(worker) ? 1U << 20 : 0;
  }

  std::optional<std::uint64_t> memory_free() override { return cluster_.shape_.free_bytes; }

  // The process ends by this signal; its supervisor hears of it a little later.
  void die(int worker, int signal, bool by_us) {
    const auto at = children_.find(worker);
    if (at == children_.end() || at->second.dead) return;
    at->second.dead = true;
    cluster_.in_order(node_, cluster_.channel_us_["up" + name(worker)], cluster_.shape_.delay_max,
                      [this, worker, signal, by_us] {
                        children_.erase(worker);
                        Exit exit;
                        exit.status = signal;  // as waitpid() encodes a signal
                        exit.killed_by_us = by_us;
                        supervisor().exited(worker, exit, cluster_.clock_.now());
                      });
  }

  std::vector<int> alive() const {
    std::vector<int> out;
    for (const auto& [worker, child] : children_)
      if (!child.dead) out.push_back(worker);
    return out;
  }

 private:
  struct Child {
    std::unique_ptr<Worker> worker;  // after its Setup
    bool dead = false;
    bool turning = false;
  };

  std::string name(int worker) const {
    return std::to_string(node_) + "." + std::to_string(worker);
  }
  Supervisor& supervisor() { return *cluster_.nodes_[static_cast<std::size_t>(node_)].supervisor; }

  void deliver(int worker, const std::string& frame) {
    const auto at = children_.find(worker);
    if (at == children_.end() || at->second.dead) return;
    Child& child = at->second;
    if (!child.worker) {
      const TrainerSetup told = std::get<Setup>(decode(frame)).trainer;
      cluster_.places_.push_back(std::to_string(node_) + ' ' + told.device + ' ' +
                                 std::to_string(told.share) + '/' + std::to_string(told.shares));
      Hello hello;
      hello.build = build_id();
      hello.host = cluster_.host_of(node_);
      hello.pid = worker;
      auto trainer = cluster_.make_trainer_();
      if (const auto bytes = cluster_.shape_.offers.find(told.device);
          bytes != cluster_.shape_.offers.end())
        trainer = std::make_unique<OnDevice>(std::move(trainer), told.device, bytes->second);
      child.worker = std::make_unique<Worker>(std::move(trainer), hello,
                                              [this, worker](auto out) { up(worker, out); });
      child.worker->begin();
    } else {
      child.worker->receive(frame, cluster_.clock_.now());
    }
    turn_soon(worker);
  }

  void up(int worker, std::string_view frame) {
    cluster_.in_order(node_, cluster_.channel_us_["up" + name(worker)], cluster_.shape_.delay_max,
                      [this, worker, copy = std::string(frame)] {
                        supervisor().from_worker(worker, copy, cluster_.clock_.now());
                      });
  }

  void turn_soon(int worker) {
    Child& child = children_.at(worker);
    if (child.turning || !(child.worker->busy() || child.worker->unacknowledged())) return;
    child.turning = true;
    cluster_.later(node_, 2 * cluster_.shape_.slice, [this, worker] {
      const auto at = children_.find(worker);
      if (at == children_.end() || at->second.dead) return;
      at->second.turning = false;
      try {
        at->second.worker->turn(cluster_.shape_.slice, cluster_.clock_.now());
        turn_soon(worker);
      } catch (const ToyCrash&) {
        die(worker, SIGSEGV, false);
      }
    });
  }

  Cluster& cluster_;
  int node_;
  std::map<int, Child> children_;
};

Cluster::Cluster(Shape shape, Faults faults, MakeTrainer make_trainer)
    : shape_(std::move(shape)),
      faults_(std::move(faults)),
      make_trainer_(std::move(make_trainer)),
      rng_(shape_.seed, 0, Purpose::simulate) {
  clock_.is_set = shape_.set_clock;
  for (int node = 0; node < shape_.nodes; ++node) {
    NodeState state;
    state.host = std::make_unique<Host>(*this, node);
    NodeHello self;
    self.host = host_of(node);
    for (const std::string& name : shape_.devices_here)
      self.devices.push_back({name, "", "", 0, ""});
    self.build = build_id();
    self.cores = shape_.workers_per_node;
    if (!shape_.numeric_classes.empty())
      self.numeric_classes = shape_.numeric_classes.at(static_cast<std::size_t>(node));
    state.supervisor = std::make_unique<Supervisor>(
        node, self, *state.host,
        [this, node](Address from, std::string_view frame) { from_node(node, from, frame); });
    nodes_.push_back(std::move(state));
  }
  for (int node = 0; node < shape_.nodes; ++node) {
    nodes_[static_cast<std::size_t>(node)].supervisor->begin(clock_.now());
    tick(node);
  }
}

Cluster::~Cluster() = default;

void Cluster::from_node(int node, Address from, std::string_view frame) {
  NodeState& state = nodes_[static_cast<std::size_t>(node)];
  if (rng_.chance(faults_.drop_chance) && std::holds_alternative<Told>(decode(frame))) return;
  Envelope envelope{from, std::string(frame)};
  if (state.condition == NodeState::Condition::cut_off)
    state.held_up.push_back(std::move(envelope));
  else
    up(node, std::move(envelope));
}

void Cluster::up(int node, Envelope envelope) {
  in_order(kNoNode, channel_us_["node" + std::to_string(node)], shape_.delay_max,
           [this, arriving = std::move(envelope)] { arrived_.push(arriving); });
}

void Cluster::later(int node, Millis delay_max, std::function<void()> act) {
  const auto delay = 1 + rng_.below(static_cast<std::uint64_t>(delay_max.count()) * 1000);
  agenda_.push({clock_.us_ + static_cast<std::int64_t>(delay), order_++, node, std::move(act)});
}

// After a random delay, but never before what was sent earlier on the same channel.
void Cluster::in_order(int node, std::int64_t& last_us, Millis delay_max,
                       std::function<void()> act) {
  const auto delay = 1 + rng_.below(static_cast<std::uint64_t>(delay_max.count()) * 1000);
  last_us = std::max(last_us + 1, clock_.us_ + static_cast<std::int64_t>(delay));
  agenda_.push({last_us, order_++, node, std::move(act)});
}

void Cluster::tick(int node) {
  NodeState& state = nodes_[static_cast<std::size_t>(node)];
  state.supervisor->tick(clock_.now());
  if (state.supervisor->finished()) return;
  agenda_.push({clock_.us_ + 100000, order_++, node, [this, node] { tick(node); }});
}

void Cluster::maybe_kill() {
  const bool crash = rng_.chance(faults_.crash_chance);
  if (!crash && !rng_.chance(faults_.kill_chance)) return;
  const auto node = rng_.below(nodes_.size());
  const auto alive = nodes_[node].host->alive();
  if (alive.empty() || nodes_[node].condition == NodeState::Condition::dead) return;
  ++kills_;
  nodes_[node].host->die(alive[rng_.below(alive.size())], crash ? SIGSEGV : SIGKILL, false);
}

void Cluster::maybe_trouble_a_node() {
  if (events_ == faults_.node_silent_at && nodes_.size() > 1)
    trouble(1, NodeState::Condition::cut_off, std::numeric_limits<std::int64_t>::max() / 2);
  if (!rng_.chance(faults_.node_chance)) return;
  const int node = static_cast<int>(rng_.below(nodes_.size()));
  const auto kind = rng_.below(5);
  const auto for_us = static_cast<std::int64_t>(
      rng_.below(static_cast<std::uint64_t>(faults_.node_trouble_max.count()) * 1000));
  if (kind == 0 && node > 0)
    trouble(node, NodeState::Condition::dead, 0);
  else
    trouble(node, kind < 3 ? NodeState::Condition::cut_off : NodeState::Condition::hung, for_us);
}

void Cluster::trouble(int node, NodeState::Condition condition, std::int64_t for_us) {
  NodeState& state = nodes_[static_cast<std::size_t>(node)];
  if (state.condition != NodeState::Condition::well) return;
  // A node's own controller is beside it where there is one node.
  if (nodes_.size() == 1) return;
  ++node_troubles_;
  state.condition = condition;
  state.until_us = clock_.us_ + for_us;
  if (condition != NodeState::Condition::dead)
    agenda_.push({state.until_us, order_++, kNoNode, [this, node] { heal(node); }});
}

void Cluster::heal(int node) {
  NodeState& state = nodes_[static_cast<std::size_t>(node)];
  state.condition = NodeState::Condition::well;
  for (Envelope& envelope : std::exchange(state.held_up, {})) up(node, std::move(envelope));
  for (const auto& [worker, frame] : std::exchange(state.held_down, {}))
    state.supervisor->from_controller(worker, frame, clock_.now());
}

void Cluster::maybe_trouble_a_file() {
  namespace fs = std::filesystem;
  if (!rng_.chance(faults_.file_chance)) return;
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(faults_.files, ignored))
    if (entry.path().extension() == ".ckpt") files.push_back(entry.path());
  if (files.empty()) return;
  std::sort(files.begin(), files.end());  // the order of a folder is the file system's own
  ++file_troubles_;
  const fs::path chosen = files[rng_.below(files.size())];
  switch (rng_.below(3)) {
    case 0:
      fs::remove(chosen, ignored);
      break;
    case 1:
      fs::resize_file(chosen, fs::file_size(chosen, ignored) / 2, ignored);
      break;
    default:
      // Another trial's, of an epoch that this one has not reached.
      fs::copy_file(files[rng_.below(files.size())], chosen.parent_path() / "epoch_99.ckpt",
                    fs::copy_options::overwrite_existing, ignored);
  }
}

void Cluster::act(Item item) {
  if (item.node != kNoNode) {
    const NodeState& state = nodes_[static_cast<std::size_t>(item.node)];
    if (state.condition == NodeState::Condition::dead) return;
    if (state.condition == NodeState::Condition::hung) {
      item.at_us = state.until_us + 1;
      agenda_.push(std::move(item));
      return;
    }
  }
  item.act();
}

std::optional<Envelope> Cluster::receive(Millis wait_max) {
  if (wait_max > Millis{0}) {
    if (++events_ == faults_.cut_at_event) throw PowerCut{};
    if (faults_.power_is_off && faults_.power_is_off()) throw PowerCut{};
    CHECK(events_ < 3000000, "the simulated run does not end");
    maybe_kill();
    maybe_trouble_a_node();
    maybe_trouble_a_file();
  }
  const std::int64_t until = clock_.us_ + wait_max.count() * 1000;
  while (arrived_.empty() && !agenda_.empty() && agenda_.top().at_us <= until) {
    Item next = agenda_.top();
    agenda_.pop();
    clock_.us_ = std::max(clock_.us_, next.at_us);
    act(std::move(next));
  }
  if (arrived_.empty()) {
    clock_.us_ = until;
    return std::nullopt;
  }
  Envelope out = std::move(arrived_.front());
  arrived_.pop();
  return out;
}

void Cluster::send(Address to, std::string_view frame) {
  NodeState& state = nodes_[static_cast<std::size_t>(to.node)];
  if (state.condition == NodeState::Condition::well)
    state.supervisor->from_controller(to.worker, frame, clock_.now());
  else if (state.condition != NodeState::Condition::dead)
    state.held_down.emplace_back(to.worker, std::string(frame));
}

}  // namespace brood::simulation
