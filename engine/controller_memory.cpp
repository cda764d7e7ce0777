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

// In words; empty when the place has room for it. A worker keeps what earlier trials took, and uses
// it again.
std::string Controller::short_of_memory(TrialId k, Place place) {
  const Node& node = *executors_.node(place.worker.node);
  if (!node.free) return {};
  const std::uint64_t own = planned_bytes(k);
  if (own == 0) return {};
  std::uint64_t others = 0, needs = 0;  // beyond what the workers have
  bool empty = true;
  for (const auto& [address, worker] : executors_.workers()) {
    // Ranks of one host share its memory.
    if (executors_.node(address.node)->hello.host != node.hello.host) continue;
    std::uint64_t planned = 0;
    for (const auto& held : worker.slots) {
      empty = empty && !held;
      if (held && live_.count(*held) > 0) planned += planned_bytes(*held);
    }
    const auto beyond = [&](std::uint64_t bytes) {
      return bytes > worker.rss ? bytes - worker.rss : 0;
    };
    others += beyond(planned);
    if (address == place.worker) needs = beyond(planned + own) - beyond(planned);
  }
  if (empty || needs + others <= *node.free) return {};
  const std::uint64_t left = *node.free > others ? *node.free - others : 0;
  return "it waits for memory: its plan needs " + size_text(own) + ", and " + node.hello.host +
         " has " + size_text(left) + " left beside the trials that run there";
}

// nullopt: no idle executor has room; the trial waits and its row says why.
std::optional<Place> Controller::place_for(TrialId k) {
  std::string why;
  for (const Place place : executors_.idle()) {
    why = short_of_room(k, place);
    if (why.empty()) why = short_of_memory(k, place);
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
