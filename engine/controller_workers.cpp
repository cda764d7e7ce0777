// Workers with several trials: which of them may share one, and what becomes of them when it dies.
#include <algorithm>
#include <set>

#include "engine/controller.h"

namespace brood {

void Controller::lose_worker(Address address, const Lost& lost) {
  const auto held = executors_.remove_worker(address);
  worker_lost_at_ = clock_.now();
  // Not only what it held: a trial that had ended there may have been told of in vain.
  std::vector<TrialId> hit;
  for (const auto& [k, live] : live_)
    if (live.place && live.place->worker == address) hit.push_back(k);
  std::sort(hit.begin(), hit.end());
  for (const TrialId k : hit) {
    Live& live = live_.at(k);
    // A crash is the trial's own fault only when nobody shared the worker with it, or when its
    // supervisor says so.
    const bool alone = held.size() == 1 && held.front() == k;
    const bool charged = alone || lost.trial == k;
    if (!charged && lost.cause != Cause::lost && lost.trial < 0) suspect(live, held.size());
    std::string why = lost.why;
    if (!charged && held.size() > 1 && lost.cause != Cause::lost)
      why = "it shared a worker with " + std::to_string(held.size() - 1) + " more: " + why;
    crash(k, live, charged ? lost.cause : Cause::lost, why, lost.max_rss);
  }
}

// One of the trials that shared a worker brought it down. They run again together, and when it
// happens again in halves, down to a trial alone, which is charged. Gaining a checkpoint clears.
void Controller::suspect(Live& live, std::size_t company) {
  if (live.gained_checkpoint) live.shared_crashes = 0;
  if (++live.shared_crashes > 1) live.company_max = static_cast<int>((company + 1) / 2);
}

// In words; empty when the trials in that worker and this one may share it.
std::string Controller::short_of_room(TrialId k, Place place) {
  int company = 1, company_max = live_.at(k).company_max;
  for (const auto& held : executors_.worker(place.worker)->slots) {
    if (!held) continue;
    ++company;
    if (const auto live = live_.find(*held); live != live_.end())
      company_max = std::min(company_max, live->second.company_max);
  }
  if (company <= company_max) return {};
  return "it waits for a worker with at most " + std::to_string(company_max - 1) +
         " other trials: trials that shared one brought it down, and run apart until it is known "
         "which";
}

// Those that the config names, or all, of the architecture that the numeric class asks for. Empty:
// the node was refused.
std::vector<Device> Controller::usable_devices(int number) {
  const Node& node = executors_.nodes().at(number);
  const bool all = options_.devices.front() == "auto";
  const std::string architecture = architecture_of(numeric_class_);
  std::vector<Device> out;
  std::string others;
  for (const Device& device : node.hello.devices) {
    const bool named = std::find(options_.devices.begin(), options_.devices.end(), device.name) !=
                       options_.devices.end();
    if (!all && !named) continue;
    if (architecture.empty() || device.architecture == architecture)
      out.push_back(device);
    else
      others += (others.empty() ? "" : ", ") + device.name + " (" + device.architecture + ")";
  }
  std::string why;
  if (!all) why = missing_devices(options_.devices, node.hello.devices);
  if (why.empty() && !all && !others.empty())
    why = others + " would not compute the bits of the experiment's numeric class " +
          numeric_class_ + ": name GPUs of one architecture";
  if (why.empty() && out.empty()) why = "it has no GPU of the architecture " + architecture;
  if (why.empty()) return out;
  refuse_node(number, why);
  return {};
}

// Ranks of one host divide its devices. Empty: the node was refused.
std::vector<std::string> Controller::devices_for(int number) {
  if (options_.devices.front() == "cpu") return options_.devices;
  auto& nodes = executors_.nodes();
  const std::vector<Device> usable = usable_devices(number);
  if (usable.empty()) return {};
  const std::string host = nodes.at(number).hello.host;
  // Each rank may see the others' under other names, or see its own alone.
  std::set<std::string> taken;
  std::size_t ranks = 0;  // of the host, that have none yet and see one of these
  for (const auto& [other, peer] : nodes) {
    if (peer.gone || peer.hello.host != host) continue;
    bool sees = false;
    for (const Device& device : peer.hello.devices) {
      if (std::find(peer.devices.begin(), peer.devices.end(), device.name) != peer.devices.end())
        taken.insert(identity_of(device));
      sees = sees || std::any_of(usable.begin(), usable.end(), [&](const Device& mine) {
               return identity_of(mine) == identity_of(device);
             });
    }
    if (!peer.set_up && sees) ++ranks;
  }
  std::vector<std::string> mine;
  std::size_t left = 0;
  for (const Device& device : usable)
    if (!taken.contains(identity_of(device)) && left++ % ranks == 0) mine.push_back(device.name);
  if (mine.empty())
    refuse_node(number,
                "every GPU that it sees has a rank already: one for each GPU of a host, or "
                "one for each host, is enough");
  return mine;
}

}  // namespace brood
