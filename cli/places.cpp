#include "cli/places.h"

#include <algorithm>

#include "cli/nodes.h"
#include "engine/error.h"
#include "engine/json_library.h"
#include "engine/rng.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

constexpr int kFusedMax = 64;  // the worker trains as many of them at a time as pay (docs/cuda.md)
constexpr int kSample = 64;    // points looked at for what a trial takes

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : " ") + name;
  return out;
}

[[noreturn]] void refuse(const ExperimentSpec& spec, const std::string& why) {
  throw UserError(spec.file + ": /resources/devices: " + why);
}

// The GPUs of one architecture, that of the record or the one with most memory in all: others would
// compute other bits.
void keep_one_architecture(std::string architecture, const std::vector<Device>& usable,
                           Grounds& out) {
  if (architecture.empty()) {
    std::map<std::string, std::uint64_t> bytes;
    for (const Device& device : usable) bytes[device.architecture] += device.bytes;
    architecture = usable.front().architecture;  // where they have the same
    for (const auto& [name, sum] : bytes)
      if (sum > bytes[architecture]) architecture = name;
  }
  for (const Device& device : usable)
    if (device.architecture == architecture)
      out.gpus.push_back(device);
    else
      out.notes.push_back(device.name + " (" + device.architecture +
                          ") is not used: it would not compute the bits of " + architecture);
}

Devices offered(const ExperimentSpec& spec, const GroundsWanted& wanted) {
  return wanted.nodes == nullptr ? usable_devices(spec.trainer_name)
                                 : devices_of(*wanted.nodes, spec.trainer_name == "cnn");
}

// "auto", for the cnn trainer.
void choose(const ExperimentSpec& spec, const GroundsWanted& wanted, Grounds& out) {
  const std::string recorded = architecture_of(wanted.numeric_class);
  if (!may_use_gpus(spec, wanted)) return;
  const Devices usable = offered(spec, wanted);
  if (!usable.found.empty()) keep_one_architecture(recorded, usable.found, out);
  if (!recorded.empty() && out.gpus.empty())
    refuse(spec, "the experiment computes in " + wanted.numeric_class + ", and " +
                     (wanted.nodes == nullptr ? "this machine has no such GPU"
                                              : "no rank that trains has such a GPU") +
                     (usable.why_none.empty() ? "" : ": " + usable.why_none));
  if (out.gpus.empty()) {
    out.no_gpu = "no GPU: " + usable.why_none;
    if (!usable.driver.empty())  // somebody may have expected one
      out.notes.push_back("no GPU is used, trials train on CPU cores: " + usable.why_none);
    return;
  }
  if (wanted.nodes != nullptr)
    out.devices = {"auto"};
  else
    for (const Device& device : out.gpus) out.devices.push_back(device.name);
}

// GPUs that the config names, of this machine.
void take_named(const ExperimentSpec& spec, const GroundsWanted& wanted, Grounds& out) {
  const Devices usable = usable_devices(spec.trainer_name);
  const std::string missing = missing_devices(out.devices, usable.found);
  if (!missing.empty()) {
    const std::string why = missing + (usable.why_none.empty() ? "" : ": " + usable.why_none);
    if (!wanted.plan_only)
      refuse(spec, "this machine cannot be used: " + why + "; brood doctor lists what it has");
    out.notes.push_back("this machine could not train this: " + why);
    return;
  }
  for (const Device& device : usable.found)
    if (std::find(out.devices.begin(), out.devices.end(), device.name) != out.devices.end())
      out.gpus.push_back(device);
  if (spec.trainer_name != "cnn") return;
  const std::string& numeric_class = wanted.numeric_class;
  const std::string first =
      numeric_class.empty() ? out.gpus.front().architecture : architecture_of(numeric_class);
  for (const Device& device : out.gpus)
    if (device.architecture != first)
      refuse(spec,
             device.name + " is " + device.architecture +
                 (numeric_class.empty() ? " and " + out.gpus.front().name + " is " + first
                                        : ", and the experiment computes in " + numeric_class) +
                 ": they would not compute the same bits; name GPUs of one architecture");
}

// The same of every machine of a job: one that lacks some of them, or has others, is not used.
void take_named_of_each(const ExperimentSpec& spec, const GroundsWanted& wanted, Grounds& out) {
  const bool cnn = spec.trainer_name == "cnn";
  std::string why;
  std::map<int, NodeHello> able;
  for (const auto& [rank, node] : *wanted.nodes) {
    const std::string missing = missing_devices(out.devices, node.devices);
    if (rank > 0 && !missing.empty())
      why += (why.empty() ? "" : "; ") + rank_name(rank, node) + ": " + missing;
    if (rank == 0 || !missing.empty()) continue;
    able[rank] = node;
    std::erase_if(able[rank].devices, [&](const Device& device) {
      return std::find(out.devices.begin(), out.devices.end(), device.name) == out.devices.end();
    });
  }
  const Devices usable = devices_of(able, cnn);
  Grounds kept;  // the ranks are told of, each with its reason, by the controller
  if (!usable.found.empty() && cnn)
    keep_one_architecture(architecture_of(wanted.numeric_class), usable.found, kept);
  out.gpus = cnn ? kept.gpus : usable.found;
  if (why.empty()) why = usable.why_none;
  if (out.gpus.empty())
    refuse(spec, "no rank has what it names" + (why.empty() ? "" : ": " + why) +
                     "; mpirun with brood doctor lists what each has");
}

// What the config says of GPUs, where "auto" came to CPU cores.
void require_use_on_cpus(const ExperimentSpec& spec, const GroundsWanted& wanted, Grounds& out) {
  const std::string reason = out.no_gpu.empty() ? "" : ": " + out.no_gpu;
  if (asks_for_bf16(spec)) {
    const std::string why =
        "/trainer/precision: bf16 is for GPUs, and the trials would train on "
        "CPU cores here" +
        reason;
    if (!wanted.plan_only) throw UserError(spec.file + ": " + why);
    out.notes.push_back(why);
  }
  if (spec.resources.trials_per_device > 0)
    out.notes.push_back("trials_per_device has no effect, trials train on CPU cores" + reason);
}

struct Largest {
  std::uint64_t bytes = 1, shared = 0;
};

// Of a sample of the points that may be tried.
Largest largest_of(const ExperimentSpec& spec, const Planner& planner) {
  Rng rng(spec.seed, 0, Purpose::simulate);
  Largest out;
  for (int i = 0; i < kSample; ++i) {
    const Estimate estimate = planner.estimate(spec.space.mask(spec.space.sample(rng)));
    if (!estimate.infeasible.empty()) continue;
    out.shared = std::max(out.shared, estimate.shared_bytes);
    const auto limit = spec.resources.memory_per_trial;
    if (!limit || estimate.bytes <= *limit) out.bytes = std::max(out.bytes, estimate.bytes);
  }
  return out;
}

// For "trials_per_device": "auto": so many of the largest trials as fit.
int fitting_trials(const ExperimentSpec& spec, const Planner& planner, const Grounds& grounds) {
  const std::uint64_t room = memory_of(grounds);
  if (room == 0) return kFusedMax;
  const Largest largest = largest_of(spec, planner);
  if (room <= largest.shared + largest.bytes) return 1;
  return static_cast<int>(
      std::min<std::uint64_t>((room - largest.shared) / largest.bytes, kFusedMax));
}

}  // namespace

bool asks_for_bf16(const ExperimentSpec& spec) {
  return parse_json(spec.trainer).value("precision", Json()) == "bf16";
}

bool may_use_gpus(const ExperimentSpec& spec, const GroundsWanted& wanted) {
  if (!spec.resources.devices.empty()) return are_gpus(spec.resources.devices);
  if (spec.trainer_name != "cnn") return false;
  // An experiment stays where it began; a number of executors counts cores.
  if (!wanted.numeric_class.empty()) return !architecture_of(wanted.numeric_class).empty();
  return !wanted.executors && !spec.resources.executors;
}

Grounds grounds_of(const ExperimentSpec& spec, const GroundsWanted& wanted) {
  Grounds out;
  out.devices = spec.resources.devices;
  const bool built_in = spec.trainer_name == "cnn";
  const std::string& numeric_class = wanted.numeric_class;
  const bool recorded_gpu = !architecture_of(numeric_class).empty();
  if (out.devices.empty()) {
    if (built_in) choose(spec, wanted, out);
  } else if (!are_gpus(out.devices)) {
    if (built_in && recorded_gpu)
      refuse(spec, "the experiment computes in " + numeric_class +
                       ": on CPUs its trials would get other bits; name GPUs, or start a new "
                       "experiment");
  } else if (built_in && !numeric_class.empty() && !recorded_gpu) {
    refuse(spec, "the experiment computes in " + numeric_class +
                     ": on GPUs its trials would get other bits; say \"cpu\", or start a new "
                     "experiment");
  } else if (wanted.nodes != nullptr) {
    take_named_of_each(spec, wanted, out);
  } else {
    take_named(spec, wanted, out);
  }
  // The planner and the slots need the name of some GPU, whichever it is.
  out.device = !out.on_gpus()                  ? "cpu"
               : out.devices.front() == "auto" ? "cuda:0"
                                               : out.devices.front();
  for (const Device& device : out.gpus)
    out.bytes = out.bytes == 0 ? device.bytes : std::min(out.bytes, device.bytes);
  if (built_in && out.on_gpus()) out.warning = device_warning();
  if (built_in && !out.gpus.empty()) out.architecture = out.gpus.front().architecture;
  if (built_in && !out.on_gpus()) require_use_on_cpus(spec, wanted, out);
  if (wanted.nodes != nullptr) {
    if (out.on_gpus()) out.notes.push_back(where_they_train(out.gpus));
    note_what_rank_0_has(*wanted.nodes, out.notes);
  }
  return out;
}

std::uint64_t default_memory(std::uint64_t bytes) { return (bytes / 10 * 9) >> 20 << 20; }

std::uint64_t memory_of(const Grounds& grounds) { return memory_for_trials(grounds.bytes); }

std::uint64_t memory_beside_images(const ExperimentSpec& spec, const Grounds& grounds,
                                   const Planner& planner) {
  const std::uint64_t room = memory_of(grounds);
  if (room == 0) return 0;
  constexpr std::uint64_t kLeast = 2 << 20;  // none at all would mean no limit
  const std::uint64_t images = largest_of(spec, planner).shared;
  return room < images + kLeast ? kLeast : room - images;
}

Places places_of(const ExperimentSpec& spec, const TrainerSetup& setup, const Grounds& grounds,
                 const Planner& planner, std::optional<int> asked, int otherwise,
                 const std::string& called) {
  Places out;
  int here = 1;  // executors of a node, or of a device
  if (grounds.on_gpus()) {
    if (asked || spec.resources.executors)
      throw UserError(std::string(asked ? "--executors" : "resources.executors") +
                      " has no effect on GPUs: the trials at a time are the devices times "
                      "resources.trials_per_device; leave it out");
    here = spec.resources.trials_per_device;
    out.choose = here == 0 && spec.trainer_name == "cnn";
    if (here == 0) here = out.choose ? fitting_trials(spec, planner, grounds) : 1;
    out.from = (out.choose ? "up to " : "") + std::to_string(here) + " on each of " +
               listed(grounds.devices);
  } else {
    here = asked.value_or(spec.resources.executors.value_or(otherwise));
    out.from = asked ? "--executors" : spec.resources.executors ? "resources.executors" : called;
  }
  const int slots_max = std::max(1, worker_slots(setup));
  out.workers = (here + slots_max - 1) / slots_max;
  out.slots = (here + out.workers - 1) / out.workers;
  out.executors = out.workers * out.slots;
  // On a machine without them a plan is made for those that the config names.
  if (grounds.on_gpus())
    out.executors *= static_cast<int>(std::max(grounds.devices.size(), grounds.gpus.size()));
  return out;
}

}  // namespace brood
