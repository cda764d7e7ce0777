#include "engine/executors.h"

#include <algorithm>

#include "engine/error.h"

namespace brood {

void Executors::add_node(int node, const NodeHello& hello, Millis now) {
  Node fresh;
  fresh.hello = hello;
  fresh.heard = now;
  nodes_[node] = std::move(fresh);
  hosts_[hello.host];
}

Node* Executors::node(int number) {
  const auto at = nodes_.find(number);
  return at == nodes_.end() ? nullptr : &at->second;
}

void Executors::add_worker(Address address, const Hello& hello) {
  if (WorkerRecord* known = worker(address)) {  // it came twice, or offers more now
    known->hello = hello;
    return;
  }
  WorkerRecord record;
  record.hello = hello;
  record.slots.resize(static_cast<std::size_t>(std::max(1, hello.offer.slots)));
  record.idle.resize(record.slots.size());
  record.planned.resize(record.slots.size());
  total_ += static_cast<int>(record.slots.size());
  workers_[address] = std::move(record);
}

WorkerRecord* Executors::worker(Address address) {
  const auto at = workers_.find(address);
  return at == workers_.end() ? nullptr : &at->second;
}

void Executors::take_beat(int node, const Beat& beat) {
  if (Node* known = this->node(node)) known->free = beat.free;
  for (const SlotBeat& slot : beat.slots)
    if (WorkerRecord* record = worker({node, slot.worker})) {
      HostUsed& used = hosts_.at(nodes_.at(node).hello.host);
      used.promised -= still_to_take(*record);
      record->rss = slot.rss;
      used.promised += still_to_take(*record);
    }
}

std::vector<TrialId> Executors::remove_worker(Address address) {
  std::vector<TrialId> held;
  const auto at = workers_.find(address);
  if (at == workers_.end()) return held;
  for (const auto& trial : at->second.slots)
    if (trial) held.push_back(*trial);
  for (std::size_t slot = 0; slot < at->second.slots.size(); ++slot)
    if (at->second.slots[slot]) plan({address, static_cast<int>(slot)}, at->second, 0, -1);
  busy_ -= static_cast<int>(held.size());
  total_ -= static_cast<int>(at->second.slots.size());
  workers_.erase(at);
  std::erase_if(idle_, [&](const Place& place) { return place.worker == address; });
  std::sort(held.begin(), held.end());
  return held;
}

void Executors::set_idle(Place place) {
  WorkerRecord* record = worker(place.worker);
  const auto slot = static_cast<std::size_t>(place.slot);
  if (record == nullptr || slot >= record->slots.size()) return;
  if (record->slots[slot]) {
    record->slots[slot].reset();
    plan(place, *record, 0, -1);
    --busy_;
  }
  if (!record->idle[slot]) idle_.push_back(place);
  record->idle[slot] = true;
}

std::uint64_t Executors::still_to_take(const WorkerRecord& worker, std::uint64_t more) {
  if (worker.hello.offer.bytes > 0) return 0;  // its trials take a device's memory, not the host's
  const std::uint64_t needs = worker.planned_sum + more;
  return needs > worker.rss ? needs - worker.rss : 0;
}

// The slot's trial comes (held 1) or goes (-1).
void Executors::plan(Place place, WorkerRecord& worker, std::uint64_t bytes, int held) {
  HostUsed& used = hosts_.at(nodes_.at(place.worker.node).hello.host);
  std::uint64_t& planned = worker.planned[static_cast<std::size_t>(place.slot)];
  used.held += held;
  worker.held += held;
  used.promised -= still_to_take(worker);
  worker.planned_sum += bytes - planned;
  planned = bytes;
  used.promised += still_to_take(worker);
}

void Executors::occupy(Place place, TrialId trial, std::uint64_t planned) {
  const auto at = std::find(idle_.begin(), idle_.end(), place);
  CHECK(at != idle_.end(), "a trial was given to a slot that is not idle");
  idle_.erase(at);
  WorkerRecord& record = workers_.at(place.worker);
  record.idle[static_cast<std::size_t>(place.slot)] = false;
  record.slots[static_cast<std::size_t>(place.slot)] = trial;
  plan(place, record, planned, 1);
  ++busy_;
}

std::string Executors::name(Place place) const {
  const auto at = workers_.find(place.worker);
  const std::string host = at == workers_.end() ? "gone" : at->second.hello.host;
  return host + "/" + std::to_string(place.worker.node) + "." +
         std::to_string(place.worker.worker) + "." + std::to_string(place.slot);
}

}  // namespace brood
