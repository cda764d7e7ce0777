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

// In words; empty when the place has room for it.
std::string Controller::short_of_memory(TrialId k, Place place) {
  const Node& node = *executors_.node(place.worker.node);
  if (!node.free) return {};
  const std::uint64_t planned = planned_bytes(k);
  if (planned == 0) return {};
  const auto [promised, held] = executors_.used(node);
  const WorkerRecord& worker = *executors_.worker(place.worker);
  const std::uint64_t needs =
      Executors::still_to_take(worker, planned) - Executors::still_to_take(worker);
  if (held == 0 || needs + promised <= *node.free) return {};
  const std::uint64_t left = *node.free > promised ? *node.free - promised : 0;
  return "it waits for memory: its plan needs " + size_text(planned) + ", and " + node.hello.host +
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
