// An experiment: one config, one seed, one history. Plain data, made by cli/config.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/params.h"
#include "engine/space.h"
#include "engine/trial.h"

namespace brood {

using Millis = std::chrono::milliseconds;

struct Objective {
  enum class Reduce : std::uint8_t { last, best };
  std::string metric = "val_accuracy";
  bool maximize = true;
  Reduce reduce = Reduce::last;
  std::optional<double> target;
};

// On an exact metric; checked before training when the plan knows it (parameters, flops,
// memory_bytes), else on the last official report.
struct Constraint {
  std::string metric;
  std::optional<double> min, max;
};

struct Budget {
  std::optional<std::int64_t> max_trials;         // duplicates do not count
  std::optional<std::int64_t> max_failed_trials;  // counted in id order
  std::optional<Millis> max_wall_time;            // of one session; cuts the sequence
  std::optional<Millis> max_trial_time;           // of one attempt
};

struct FaultTolerance {
  int max_retries_per_trial = 2;         // charged attempts beyond the first
  int max_initial_failures = 5;          // the run ends when the first n fail alike; 0: never
  int checkpoint_every_epochs = 0;       // 0: none
  std::optional<Millis> report_timeout;  // silence that fails an attempt
};

struct Output {
  std::string database = "experiments.db";  // absolute once read
  int keep_best = 1;                        // checkpoints of the best n trials are kept
  std::optional<std::uint64_t> max_bytes;   // of all checkpoints
};

struct Resources {
  std::optional<int> executors;                   // nullopt: auto, one a core
  std::optional<std::uint64_t> memory_per_trial;  // bytes; resolved and stored at creation
  std::vector<std::string> devices;               // cpu, or cuda:0, cuda:2 ...; empty: auto
  int trials_per_device = 0;                      // 0: auto
};

// Trials of another experiment that are told to the strategy first.
struct WarmStart {
  std::string database;              // absolute once read
  std::string experiment;            // empty: the newest there
  std::optional<std::int64_t> best;  // only so many; nullopt: all
  bool skip_outside = false;         // points outside the space are left out, else refused
};

// A named algorithm and its settings as JSON text with defaults filled in.
struct Algorithm {
  std::string name;
  std::string settings = "{}";
};

struct ExperimentSpec {
  std::string file;  // where it was read, for messages
  std::string name;
  std::string description;
  std::uint64_t seed = 0;
  Objective objective;
  std::vector<Constraint> constraints;
  SearchSpace space;
  Algorithm search;
  std::optional<Algorithm> stopper;
  int verdict_lag = 16;  // the stopper's L
  std::vector<ParamSet> initial_points;
  std::optional<WarmStart> warm_start;
  Budget budget;
  FaultTolerance fault_tolerance;
  Resources resources;
  Output output;
  std::string trainer_name;
  std::string trainer;    // the config's `trainer` block, JSON text, with its $param and $expr
  std::string data_dir;   // absolute; empty: the usual places
  std::string cache_dir;  // absolute, for decoded data; empty: the user's cache folder
  std::string config;     // the whole config as canonical JSON text (comments gone, keys sorted)
};

}  // namespace brood
