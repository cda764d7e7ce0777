// `brood plan x.json`: what a run will do and cost, without training anything.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/plan_schedule.h"
#include "engine/experiment.h"
#include "engine/trainer.h"

namespace brood {

struct PlanOptions {
  std::string config;
  std::vector<std::string> overrides;  // of --set
  std::optional<int> executors;        // instead of the config's
  bool json = false;
};

// Returns the exit status: 0, or 1 when no point can be trained. UserError is for main() to print.
int plan_command(const PlanOptions& options, std::ostream& out);

struct PlannedTrial {
  ParamSet params;
  Estimate estimate;
  std::string infeasible;  // why it will not be trained; empty: it will
};

struct RunPlan {
  std::optional<std::int64_t> trials;  // nullopt: as many as max_wall_time allows
  bool exact = false;                  // `points` are the trials, in order; else a sample
  std::vector<PlannedTrial> points;
  int executors = 1;
  std::string executors_from;  // the command line, the config, or this machine's cores
  std::optional<int> enough;   // so many executors would be done in about the same time
  std::int64_t simulated = 0;  // trials played through
  Schedule schedule;
  std::vector<std::string> notes;  // of the devices and the data, each a sentence
  std::uint64_t device_bytes = 0;  // memory for trials of the smallest GPU used; 0: not known
  bool on_gpus = false;            // bytes are those of a GPU
  int together = 1;                // trials on one GPU
};

RunPlan make_plan(const ExperimentSpec& spec, std::optional<int> executors);

void print_plan(const ExperimentSpec& spec, const RunPlan& plan, std::ostream& out);
std::string plan_json(const ExperimentSpec& spec, const RunPlan& plan);

// "uniform", "32, 48, 64": what a field draws from, for tables.
std::string kind_text(const Field& field);

// A number as people write it: 0.0005, 1e-06, 32.
std::string number_text(double number);

// 1.25e+09 as "1.25 G".
std::string count_text(double count);

}  // namespace brood
