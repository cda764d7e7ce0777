#include "cli/places.h"

#include <algorithm>

#include "engine/device.h"
#include "engine/error.h"
#include "trainers/trainers.h"

namespace brood {

bool names_gpus(const ExperimentSpec& spec) {
  const auto& devices = spec.resources.devices;
  return !devices.empty() && devices.front() != "cpu";
}

Places places_of(const ExperimentSpec& spec, const TrainerSetup& setup, std::optional<int> asked,
                 int otherwise, const std::string& called) {
  Places out;
  int here = 1;  // executors of a node, or of a device
  if (names_gpus(spec)) {
    if (asked)
      throw UserError(
          "--executors has no effect beside resources.devices: the trials at a time are the "
          "devices times resources.trials_per_device");
    here = spec.resources.trials_per_device;
    out.from = std::to_string(here) + " on each of";
    for (const std::string& device : spec.resources.devices) out.from += " " + device;
  } else {
    here = asked.value_or(spec.resources.executors.value_or(otherwise));
    out.from = asked ? "--executors" : spec.resources.executors ? "resources.executors" : called;
  }
  const int slots_max = std::max(1, worker_slots(setup));
  out.workers = (here + slots_max - 1) / slots_max;
  out.slots = (here + out.workers - 1) / out.workers;
  out.executors = out.workers * out.slots;
  if (names_gpus(spec)) out.executors *= static_cast<int>(spec.resources.devices.size());
  return out;
}

void require_devices(const ExperimentSpec& spec) {
  if (!names_gpus(spec)) return;
  const Devices here = find_devices();
  const std::string missing = missing_devices(spec.resources.devices, here.found);
  if (missing.empty()) return;
  throw UserError(spec.file + ": /resources/devices: this machine cannot be used: " + missing +
                  (here.why_none.empty() ? "" : ": " + here.why_none) +
                  "; brood doctor lists what it has");
}

}  // namespace brood
