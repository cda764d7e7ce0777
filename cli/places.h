// Where the trials of a run are trained: on what, how many workers, with how many trials each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/experiment.h"
#include "engine/message.h"
#include "engine/trainer.h"

namespace brood {

// Does the trainer's block ask for bf16, which only a GPU computes in?
bool asks_for_bf16(const ExperimentSpec& spec);

// What `resources.devices` comes to.
struct Grounds {
  std::vector<std::string> devices;  // for the controller; empty: executors without a device
  std::string device;                // what a plan is made for: cpu, cuda:0; empty: as devices
  std::vector<Device> gpus;          // that are used, of this machine or of those of a job
  std::uint64_t bytes = 0;           // of the smallest of those; 0: none is known
  std::vector<std::string> notes;    // for people, each a sentence
  std::string architecture;          // the only one whose bits are wanted; empty: any
  std::string no_gpu;                // why "auto" came to CPU cores; empty: it did not
  std::string warning;  // what must be read before a number is believed; empty: nothing

  bool on_gpus() const { return are_gpus(devices); }
};

struct GroundsWanted {
  std::string numeric_class;  // of the record, which the choice has to keep to; empty: none
  bool executors = false;     // --executors was given: it counts CPU cores
  bool plan_only = false;     // this machine need not have what the config names
  // What the ranks of a job said of themselves, rank 0, which trains nothing, too. Null: this
  // machine trains.
  const std::map<int, NodeHello>* nodes = nullptr;
};

// Does it matter which GPUs there are?
bool may_use_gpus(const ExperimentSpec& spec, const GroundsWanted& wanted);

// Throws UserError, with the reason.
Grounds grounds_of(const ExperimentSpec& spec, const GroundsWanted& wanted);

// What the smallest GPU has for trials.
std::uint64_t memory_of(const Grounds& grounds);

// What that leaves beside the images of the largest data set; 0: no GPU here.
std::uint64_t memory_beside_images(const ExperimentSpec& spec, const Grounds& grounds,
                                   const Planner& planner);

// memory_per_trial where the config does not say, of a machine or a GPU with so many bytes: whole
// MiB. It decides which points are infeasible, so a record keeps it.
std::uint64_t default_memory(std::uint64_t bytes);

struct Places {
  int executors = 1;    // trials at a time: on one node, or on all GPUs that are known
  int workers = 1;      // of a node, or of a device where devices are named
  int slots = 1;        // trials in each worker
  bool choose = false;  // fewer of those, as a worker measures
  std::string from;     // what decided, in words
};

// asked: --executors. otherwise, and what that is called: where neither it nor the config says.
// Throws UserError when --executors has no effect.
Places places_of(const ExperimentSpec& spec, const TrainerSetup& setup, const Grounds& grounds,
                 const Planner& planner, std::optional<int> asked, int otherwise,
                 const std::string& called);

}  // namespace brood
