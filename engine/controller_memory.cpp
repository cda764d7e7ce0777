// Which idle executor a trial may take: one whose worker may have it, and whose host has the memory
// that the plan asks for. A host where nothing runs takes any trial, so that none waits for ever.
#include <algorithm>

#include "engine/controller.h"
#include "engine/units.h"

namespace brood {

namespace {

constexpr Millis kWorkersCome{60000};

}  // namespace

const Estimate& Controller::planned_for(TrialId k) {
  Live& live = live_.at(k);
  if (!live.planned) live.planned = planner_.estimate(trial(k).params);
  return *live.planned;
}

// Is there a device that, if nobody else used it, has room for so much that a worker's has not?
// By devices, not by what their workers offer now: a trial is not to fail on a small one because
// the large one's memory is held by others, or its worker starts again.
bool Controller::larger_device_has(std::uint64_t bytes, Address worker, const std::string& device) {
  bool here = false, elsewhere = false;
  for (const auto& [number, node] : executors_.nodes()) {
    if (node.gone) continue;
    for (const Device& one : node.hello.devices) {
      if (std::find(node.devices.begin(), node.devices.end(), one.name) == node.devices.end())
        continue;
      const bool fits = memory_for_trials(one.bytes) >= bytes;
      (number == worker.node && one.name == device ? here : elsewhere) |= fits;
    }
  }
  return elsewhere && !here;
}

// The same for a worker that has memory of its own to give: a device's. Alone a trial that fits no
// worker may try: the trainer says whether it can ever fit, or waits for what others hold.
std::string Controller::short_of_device(TrialId k, Address address, const WorkerRecord& worker) {
  const Offer& offer = worker.hello.offer;
  const Estimate& estimate = planned_for(k);
  const std::uint64_t alone = estimate.shared_bytes + estimate.bytes;
  if (worker.planned_sum + alone <= offer.bytes) return {};
  if (worker.planned_sum == 0) {
    const auto& all = executors_.workers();
    const bool elsewhere = std::any_of(all.begin(), all.end(), [&](const auto& entry) {
      return entry.second.hello.offer.bytes >= alone;
    });
    const bool later = workers_come(std::max(workers_asked_at_, worker_lost_at_));
    if (!elsewhere && !later && !larger_device_has(alone, address, offer.device)) return {};
  }
  return "it waits for memory of " + offer.device + " on " + worker.hello.host +
         ": its plan needs " + size_text(estimate.bytes) + ", the trials there have " +
         size_text(worker.planned_sum) + " of " + size_text(offer.bytes);
}

// Others may have been there first. A trial is not to blame, and people should know.
// before: it has been said.
void Controller::note_short_device(const Node& node, const Offer& offer, bool before) {
  for (const Device& device : node.hello.devices) {
    if (device.name != offer.device || offer.bytes == 0) continue;
    const std::uint64_t planned = memory_for_trials(device.bytes);
    if (before)
      observer_.note(offer.device + " on " + node.hello.host + ": its trials have " +
                     size_text(offer.bytes) + " now");
    if (before || offer.bytes >= planned - planned / 20) continue;
    observer_.note(offer.device + " on " + node.hello.host + ": its trials have " +
                   size_text(offer.bytes) + " instead of " + size_text(planned) + " of its " +
                   size_text(device.bytes) +
                   ", the rest is held by other processes; a trial that needs more trains on "
                   "another GPU, or waits until they leave");
  }
}

// In words; empty when the place has room for it.
std::string Controller::short_of_memory(TrialId k, Place place) {
  const WorkerRecord& worker = *executors_.worker(place.worker);
  if (worker.hello.offer.bytes > 0) return short_of_device(k, place.worker, worker);
  const Node& node = *executors_.node(place.worker.node);
  if (!node.free) return {};
  const std::uint64_t planned = planned_for(k).bytes;
  if (planned == 0) return {};
  const auto [promised, held] = executors_.used(node);
  const std::uint64_t needs =
      Executors::still_to_take(worker, planned) - Executors::still_to_take(worker);
  if (held == 0 || needs + promised <= *node.free) return {};
  const std::uint64_t left = *node.free > promised ? *node.free - promised : 0;
  return "it waits for memory: its plan needs " + size_text(planned) + ", and " + node.hello.host +
         " has " + size_text(left) + " left beside the trials that run there";
}

// Are there workers that have not said hello, though it is not long ago that they were asked for?
bool Controller::workers_come(Millis asked_at) {
  if (clock_.now() - asked_at >= kWorkersCome) return false;
  std::size_t asked = 0;
  for (const auto& [number, node] : executors_.nodes())
    if (!node.gone) asked += static_cast<std::size_t>(node.workers);
  return executors_.workers().size() < asked;
}

// In the worker with the fewest trials. nullopt: no idle executor has room; the trial waits and its
// row says why.
std::optional<Place> Controller::place_for(TrialId k) {
  std::string why;
  std::optional<Place> best;
  int company = 0;  // there
  std::vector<Address> refused;
  for (const Place place : executors_.idle()) {
    const WorkerRecord& worker = *executors_.worker(place.worker);
    if (best && worker.held >= company) continue;
    if (std::find(refused.begin(), refused.end(), place.worker) != refused.end()) continue;
    // Else the first worker to come would take all, and its device train what others wait for.
    const bool early = worker.held > 0 && workers_come(workers_asked_at_);
    std::string here = early ? "it waits for other workers to start" : "";
    if (here.empty()) here = short_of_room(k, place);
    if (here.empty()) here = short_of_memory(k, place);
    if (here.empty()) {
      best = place;
      company = worker.held;
      if (company == 0) break;
    } else {
      why = here;
      if (worker.slots.size() > 1) refused.push_back(place.worker);  // with all its slots
    }
  }
  if (best) return best;
  retry_.insert(k);
  Trial& t = trial(k);
  if (t.why.empty()) {
    t.why = why;
    change(t);
  }
  return std::nullopt;
}

}  // namespace brood
