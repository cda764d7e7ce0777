#include "bench/model_cluster.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "engine/rng.h"

namespace brood {

namespace {

double cpu_us(clockid_t which) {
  timespec now{};
  clock_gettime(which, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

}  // namespace

double thread_cpu_us() { return cpu_us(CLOCK_THREAD_CPUTIME_ID); }
double process_cpu_us() { return cpu_us(CLOCK_PROCESS_CPUTIME_ID); }

ModelCluster::ModelCluster(ModelOptions options) : options_(options) {
  workers_.resize(static_cast<std::size_t>(options_.nodes) *
                  static_cast<std::size_t>(options_.workers_per_node));
  for (int node = 0; node < options_.nodes; ++node) {
    NodeHello hello;
    hello.host = "node" + std::to_string(node);
    hello.build = build_id();
    hello.cores = options_.workers_per_node;
    up(node, 0, hello, 0);
  }
}

std::int64_t ModelCluster::exact_now_us() const {
  if (!options_.charge || returned_at_us_ < 0.0) return clock_.us_;
  const double used_us = thread_cpu_us() - returned_at_us_ - elsewhere_us_;
  return clock_.us_ + std::max<std::int64_t>(0, static_cast<std::int64_t>(used_us));
}

void ModelCluster::beat(int node) {
  Beat out;
  out.free = options_.free_bytes;
  for (int i = 0; i < options_.workers_per_node; ++i) {
    const WorkerState& worker =
        workers_[static_cast<std::size_t>(node * options_.workers_per_node + i)];
    if (worker.busy) out.slots.push_back({i + 1, 0, worker.assignment.trial, 0, 1U << 20});
  }
  up(node, 0, out, clock_.us_);
  agenda_.push({clock_.us_ + 1'000'000, order_++, kBeat, node, {}});
}

void ModelCluster::up(int node, int worker, const Message& message, std::int64_t at_us) {
  agenda_.push(
      {at_us + options_.latency_us, order_++, kFrame, 0, {{node, worker}, encode(message)}});
}

void ModelCluster::start_node(int node) {
  for (int worker = 1; worker <= options_.workers_per_node; ++worker) {
    Hello hello;
    hello.build = build_id();
    hello.host = "node" + std::to_string(node);
    hello.offer.numeric_class = "any";
    up(node, worker, hello, clock_.us_);
    up(node, worker, Idle{0}, clock_.us_);
  }
  // Nodes do not beat in step.
  if (options_.free_bytes)
    agenda_.push({clock_.us_ + 1'000'000 * node / options_.nodes, order_++, kBeat, node, {}});
}

void ModelCluster::go_idle(int index, std::int64_t at_us) {
  WorkerState& worker = workers_[static_cast<std::size_t>(index)];
  worker.busy = false;
  ++worker.turn;
  worker.idle_at_us = at_us;
  up(index / options_.workers_per_node, index % options_.workers_per_node + 1, Idle{0}, at_us);
}

void ModelCluster::obey(int index, const Message& message) {
  WorkerState& worker = workers_[static_cast<std::size_t>(index)];
  const std::int64_t here_us = exact_now_us() + options_.latency_us;
  if (const auto* assign = std::get_if<Assign>(&message)) {
    worker.assignment = assign->assignment;
    worker.busy = true;
    worker.epoch = assign->assignment.first_epoch;
    worker.sum = 0.0;
    for (const auto& [name, value] : worker.assignment.params.entries()) {
      double real = 0.0;
      if (as_real(value, real)) worker.sum += real;
    }
    Rng rng(1, static_cast<std::uint64_t>(worker.assignment.trial), Purpose::simulate);
    const double factor = 1.0 + options_.spread * (2.0 * rng.uniform() - 1.0);
    worker.epoch_us = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(static_cast<double>(options_.trial_us) * factor) /
               worker.assignment.last_epoch);
    agenda_.push({here_us + worker.epoch_us, order_++, index, ++worker.turn, {}});
    if (worker.idle_at_us < 0) return;
    waits_us_.push_back(here_us - worker.idle_at_us);
    lengths_us_.push_back(worker.epoch_us * worker.assignment.last_epoch);
  } else if (const auto* stop = std::get_if<Stop>(&message)) {
    const bool holds = worker.busy && worker.assignment.trial == stop->trial;
    if (holds) go_idle(index, here_us);
  }
}

void ModelCluster::epoch_ends(int index) {
  WorkerState& worker = workers_[static_cast<std::size_t>(index)];
  const int node = index / options_.workers_per_node;
  const int number = index % options_.workers_per_node + 1;
  Told told;
  told.sequence = ++worker.sequence;
  told.trial = worker.assignment.trial;
  told.attempt = worker.assignment.attempt;
  told.event.kind = Event::Kind::report;
  told.event.report = {worker.epoch, {{"loss", worker.sum * (1.0 + 1.0 / worker.epoch), true}}};
  up(node, number, told, clock_.us_);
  if (worker.epoch++ < worker.assignment.last_epoch) {
    agenda_.push({clock_.us_ + worker.epoch_us, order_++, index, worker.turn, {}});
    return;
  }
  told.sequence = ++worker.sequence;
  told.event.kind = Event::Kind::ended;
  told.event.epoch = worker.assignment.last_epoch;
  up(node, number, told, clock_.us_);
  go_idle(index, clock_.us_);
}

void ModelCluster::advance_to(std::int64_t at_us) {
  while (!agenda_.empty() && agenda_.top().at_us <= at_us) {
    Item next = agenda_.top();
    agenda_.pop();
    // What the controller hears late because it was busy was on its way at its own time.
    const std::int64_t now_us = std::max(clock_.us_, next.at_us);
    clock_.us_ = next.at_us;
    if (next.worker == kBeat)
      beat(static_cast<int>(next.turn));
    else if (next.worker == kFrame)
      arrived_.push(std::move(next.envelope));
    else if (workers_[static_cast<std::size_t>(next.worker)].turn == next.turn)
      epoch_ends(next.worker);
    clock_.us_ = now_us;
  }
}

std::optional<Envelope> ModelCluster::receive(Millis wait_max) {
  const double called_us = thread_cpu_us();
  if (returned_at_us_ >= 0.0) {
    const double used_us = std::max(0.0, called_us - returned_at_us_ - elsewhere_us_);
    controller_us_ += used_us;
    if (options_.charge) clock_.us_ += static_cast<std::int64_t>(used_us + 0.5);
  }
  elsewhere_us_ = 0.0;
  advance_to(clock_.us_);
  const std::int64_t until_us = clock_.us_ + wait_max.count() * 1000;
  while (arrived_.empty() && clock_.us_ < until_us) {
    std::int64_t next_us = agenda_.empty() ? until_us : std::min(until_us, agenda_.top().at_us);
    bool woken = false;
    if (const auto wake_us = next_wake_us ? next_wake_us() : std::nullopt;
        wake_us && *wake_us <= next_us) {
      next_us = std::max(clock_.us_, *wake_us);
      woken = true;
    }
    clock_.us_ = next_us;
    advance_to(next_us);
    if (woken) break;
  }
  std::optional<Envelope> out;
  if (!arrived_.empty()) {
    out = std::move(arrived_.front());
    arrived_.pop();
  }
  returned_at_us_ = thread_cpu_us();
  return out;
}

void ModelCluster::send(Address to, std::string_view frame) {
  const double began_us = thread_cpu_us();
  const Message message = decode(frame);
  elsewhere_us_ += thread_cpu_us() - began_us;
  const double decoded_us = thread_cpu_us();
  if (to.worker == 0) {
    if (std::holds_alternative<Setup>(message)) start_node(to.node);
  } else {
    obey(to.node * options_.workers_per_node + to.worker - 1, message);
  }
  elsewhere_us_ += thread_cpu_us() - decoded_us;
}

}  // namespace brood
