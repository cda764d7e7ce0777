// One experiment on the simulated cluster: what most tests of the engine start from.
#pragma once

#include <filesystem>
#include <string>

#include "engine/controller.h"
#include "tests/simulation.h"
#include "tests/toy.h"

namespace brood::simulation {

// A fresh folder that is removed at the end.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string file(const std::string& name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};

struct Case {
  std::string search = "random";
  std::string stopper;       // empty: none
  std::int64_t trials = 24;  // max_trials; grid and genetic end by themselves
  int epochs = 6;
  int verdict_lag = 4;
  std::uint64_t seed = 7;
  ToyOptions toy;
  std::optional<double> target;
  int max_retries = 1;
  int checkpoint_every = 0;                // epochs; 0: none
  std::optional<std::int64_t> max_failed;  // max_failed_trials
  std::vector<Constraint> constraints;     // on parameters, or on the toy's "size"
  std::optional<std::uint64_t> memory;     // per trial; see make_toy_planner()
  int max_initial_failures = 5;
  std::optional<Millis> max_wall_time;
  std::vector<ParamSet> initial_points;
  std::vector<Trial> known;  // of a warm start
};

ExperimentSpec make_spec(const Case& c, const std::string& database);

struct Outcome {
  bool cut = false;  // the power was cut
  Ending ending;
  std::string table;  // all that must not depend on executors, order and crashes
  std::int64_t events = 0, kills = 0, node_troubles = 0, file_troubles = 0;
  std::vector<std::string> strays;  // checkpoints that only the record, or only the disk, knows
  Progress progress;
  std::vector<std::string> places;  // of the workers, see Cluster::places()
  std::vector<Trial> trials;
};

// The first line in which two tables differ, both sides of it; empty when they are the same.
std::string difference(const std::string& table, const std::string& expected);

// Where the case's checkpoints lie.
std::string files_of(const std::string& database);

// Runs, or goes on with, the case in this database; with `events` it repeats that one's event log;
// with a desk it obeys the commands that come there.
Outcome run(const Case& c, const std::string& database, Shape shape, Faults faults = {},
            const std::string& events = "", CommandDesk* desk = nullptr);

}  // namespace brood::simulation
