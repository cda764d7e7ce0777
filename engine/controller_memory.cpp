// Which idle executor a trial may take: one whose worker may have it, and whose host has the memory
// that the plan asks for. A host where nothing runs takes any trial, so that none waits for ever.
#include <algorithm>

#include "engine/controller.h"
#include "engine/units.h"

namespace brood {

std::uint64_t Controller::planned_bytes(TrialId k) {
  Live& live = live_.at(k);
  if (!live.bytes) live.bytes = planner_.estimate(trial(k).params).bytes;
  return *live.bytes;
}

// What the trials of this worker, with so many bytes more, will take beyond what the worker has
// now. A worker keeps what an earlier trial took, and uses it again.
std::uint64_t Controller::still_to_take(Address address, std::uint64_t more) {
  const WorkerRecord& worker = *executors_.worker(address);
  std::uint64_t planned = more;
  for (const auto& held : worker.slots)
    if (held && live_.count(*held) > 0) planned += planned_bytes(*held);
  return planned > worker.rss ? planned - worker.rss : 0;
}

// Ranks of one host share its memory.
Controller::HostUsed Controller::host_used(const std::string& host) {
  HostUsed out;
  for (const int node : executors_.nodes_of(host)) {
    const auto& workers = executors_.workers();
    for (auto at = workers.lower_bound({node, 0}); at != workers.end() && at->first.node == node;
         ++at) {
      for (const auto& held : at->second.slots) out.empty = out.empty && !held;
      out.promised += still_to_take(at->first);
    }
  }
  return out;
}

// In words; empty when the place has room for it.
std::string Controller::short_of_memory(TrialId k, Place place, HostsUsed& used) {
  const Node& node = *executors_.node(place.worker.node);
  if (!node.free) return {};
  const std::uint64_t planned = planned_bytes(k);
  if (planned == 0) return {};
  auto known = used.find(node.hello.host);
  if (known == used.end()) known = used.emplace(node.hello.host, host_used(node.hello.host)).first;
  const auto [promised, empty] = known->second;
  const std::uint64_t needs = still_to_take(place.worker, planned) - still_to_take(place.worker);
  if (empty || needs + promised <= *node.free) return {};
  const std::uint64_t left = *node.free > promised ? *node.free - promised : 0;
  return "it waits for memory: its plan needs " + size_text(planned) + ", and " + node.hello.host +
         " has " + size_text(left) + " left beside the trials that run there";
}

// nullopt: no idle executor has room; the trial waits and its row says why.
std::optional<Place> Controller::place_for(TrialId k) {
  std::string why;
  HostsUsed used;
  for (const Place place : executors_.idle()) {
    why = short_of_room(k, place);
    if (why.empty()) why = short_of_memory(k, place, used);
    if (why.empty()) return place;
  }
  retry_.insert(k);
  Trial& t = trial(k);
  if (t.why.empty()) {
    t.why = why;
    change(t);
  }
  return std::nullopt;
}

}  // namespace brood
