// Which idle executor a trial may take: one whose worker may have it, and whose host has the memory
// that the plan asks for. A host where nothing runs takes any trial, so that none waits for ever.
#include <algorithm>

#include "engine/controller.h"
#include "engine/units.h"

namespace brood {

namespace {

constexpr Millis kWorkersCome{10000};

}  // namespace

std::uint64_t Controller::planned_bytes(TrialId k) {
  Live& live = live_.at(k);
  if (!live.bytes) live.bytes = planner_.estimate(trial(k).params).bytes;
  return *live.bytes;
}

// The same for a worker that has memory of its own to give: a device's. Alone a trial may always
// try: the trainer says whether it can ever fit.
std::string Controller::short_of_device(TrialId k, const WorkerRecord& worker) {
  if (worker.planned_sum == 0) return {};
  const Estimate estimate = planner_.estimate(trial(k).params);
  const std::uint64_t needs = worker.planned_sum + estimate.shared_bytes + estimate.bytes;
  if (needs <= worker.hello.offer.bytes) return {};
  return "it waits for memory of " + worker.hello.offer.device + " on " + worker.hello.host +
         ": its plan needs " + size_text(estimate.bytes) + ", the trials there have " +
         size_text(worker.planned_sum) + " of " + size_text(worker.hello.offer.bytes);
}

// In words; empty when the place has room for it.
std::string Controller::short_of_memory(TrialId k, Place place) {
  const WorkerRecord& worker = *executors_.worker(place.worker);
  if (worker.hello.offer.bytes > 0) return short_of_device(k, worker);
  const Node& node = *executors_.node(place.worker.node);
  if (!node.free) return {};
  const std::uint64_t planned = planned_bytes(k);
  if (planned == 0) return {};
  const auto [promised, held] = executors_.used(node);
  const std::uint64_t needs =
      Executors::still_to_take(worker, planned) - Executors::still_to_take(worker);
  if (held == 0 || needs + promised <= *node.free) return {};
  const std::uint64_t left = *node.free > promised ? *node.free - promised : 0;
  return "it waits for memory: its plan needs " + size_text(planned) + ", and " + node.hello.host +
         " has " + size_text(left) + " left beside the trials that run there";
}

// Until the other workers have come, or for a while, one with several slots gets a single trial:
// else the first to come would take them all, and its device would train what others wait for.
bool Controller::too_early(const WorkerRecord& worker) const {
  return worker.held > 0 && executors_.workers().size() < workers_asked_ &&
         clock_.now() - workers_asked_at_ < kWorkersCome;
}

// In the worker with the fewest trials. nullopt: no idle executor has room; the trial waits and its
// row says why.
std::optional<Place> Controller::place_for(TrialId k) {
  std::string why;
  std::optional<Place> best;
  int company = 0;  // there
  for (const Place place : executors_.idle()) {
    const WorkerRecord& worker = *executors_.worker(place.worker);
    if (best && worker.held >= company) continue;
    std::string here = too_early(worker) ? "it waits for other workers to start" : "";
    if (here.empty()) here = short_of_room(k, place);
    if (here.empty()) here = short_of_memory(k, place);
    if (here.empty()) {
      best = place;
      company = worker.held;
      if (company == 0) break;
    } else {
      why = here;
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
