#include "cli/train.h"

#include <poll.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "cli/asked.h"
#include "cli/chosen_point.h"
#include "cli/config.h"
#include "cli/places.h"
#include "cli/run.h"
#include "cli/same_data.h"
#include "cli/train_network.h"
#include "engine/device.h"
#include "engine/error.h"
#include "engine/rng.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

// On what a run of this config would train here: a GPU, or CPU cores.
void choose_device(const ExperimentSpec& spec, TrainJob& job) {
  if (spec.trainer_name != "cnn") return;
  const Grounds grounds = grounds_of(spec, {});
  job.notes = grounds.notes;
  if (!grounds.on_gpus()) return;
  job.setup.device = grounds.gpus.front().name;
  for (const std::string& name : numeric_classes({grounds.gpus.front()}))
    if (computes_in(job.setup, name)) job.setup.numeric_class = name;
}

// What is to be trained, and how its messages call it.
TrainJob job_of_config(const TrainOptions& options) {
  if (is_database(options.where.database))
    throw UserError(options.where.database +
                    ": is a database: say which of its trials with --trial, or name a config");
  if (!options.where.experiment.empty())
    throw UserError("--experiment goes with --trial; a config has one experiment");
  const ExperimentSpec spec = read_config(options.where.database, options.overrides);
  TrainJob job;
  job.name = options.where.database;
  job.setup = trainer_setup(spec, fs::absolute(spec.file).parent_path().lexically_normal(), "");
  choose_device(spec, job);
  job.assignment.params = chosen_point(spec.space, options.params);
  // As the first trial of a run of this config would be trained.
  job.assignment.last_epoch = 0;  // not known yet
  job.assignment.seed = Rng(spec.seed, 0, Purpose::train).bits();
  return job;
}

TrainJob job_of_trial(const TrainOptions& options) {
  if (!options.overrides.empty() || !options.params.empty())
    throw UserError("--trial trains what the record says: leave out --set and --param");
  Asked asked = ask(options.where);
  const Trial trial = with_result(asked.reader, asked.experiment, *options.trial);
  if (trial.origin == Origin::warm)
    throw UserError("trial " + std::to_string(trial.id) +
                    " was not trained here: its result came with warm_start; train it from the "
                    "database that it came from");
  if (trial.parent)
    throw UserError("trial " + std::to_string(trial.id) + " went on from trial " +
                    std::to_string(*trial.parent) + ": it cannot be trained from the beginning");
  TrainJob job;
  job.name = "trial " + std::to_string(trial.id) + " of \"" + asked.experiment.name + "\"";
  job.setup = recorded_setup(asked);
  require_same_data(asked.reader, asked.experiment, data_identity(job.setup));
  job.assignment.trial = trial.id;
  job.assignment.params = trial.params;
  job.assignment.seed = trial.seed;
  job.assignment.last_epoch = 0;  // not known yet
  // A stopped trial's result is that of the epoch where it was stopped.
  if (trial.state == TrialState::stopped) job.assignment.last_epoch = trial.judged_epoch;
  return job;
}

// Trials of the other trainers are a program's business: they are shown, and nothing is kept.
int train_elsewhere(const TrainJob& job, TrainDisplay& display) {
  const auto trainer = make_trainer(job.setup);
  Assignment assignment = job.assignment;
  assignment.log =
      (fs::temp_directory_path() / ("brood-train-" + std::to_string(getpid()) + ".log")).string();
  display.note("Training " + job.name + " (its own output goes to " + assignment.log + ")");
  trainer->start(0, assignment);
  for (;;) {
    if (const int descriptor = trainer->wait_on(); descriptor >= 0) {
      pollfd ready{descriptor, POLLIN, 0};
      poll(&ready, 1, 100);
    }
    for (const Event& event : trainer->advance(Millis{100})) {
      if (event.kind == Event::Kind::report) display.report(event.report, assignment.last_epoch);
      if (event.kind == Event::Kind::failed) throw TrialFailure(event.cause, event.why);
      if (event.kind == Event::Kind::ended) return 0;
    }
  }
}

// The last epoch: what is asked for, of what the config trains.
void set_last_epoch(TrainJob& job, const TrainOptions& options) {
  const Estimate estimate = make_planner(job.setup)->estimate(job.assignment.params);
  if (!estimate.infeasible.empty())
    throw UserError(job.name + ": cannot be trained: " + estimate.infeasible);
  if (job.assignment.last_epoch == 0) job.assignment.last_epoch = estimate.epochs;
  if (!options.epoch) return;
  if (*options.epoch > estimate.epochs)
    throw UserError("--epoch " + std::to_string(*options.epoch) + " is above the " +
                    std::to_string(estimate.epochs) +
                    " epochs of the config; its schedule ends there");
  job.assignment.last_epoch = *options.epoch;
}

}  // namespace

int train_command(const TrainOptions& options, std::ostream& out) {
  TrainJob job = options.trial ? job_of_trial(options) : job_of_config(options);
  set_last_epoch(job, options);
  const bool network = job.setup.name == "cnn";
  if (!network && !options.save.empty())
    throw UserError("--save keeps models of the built-in trainer \"cnn\"; those of \"" +
                    job.setup.name + "\" are its own business");
  TrainDisplay display(out, options.format, options.quiet);
  const bool on_gpu = !architecture_of(job.setup.numeric_class).empty();
  if (on_gpu && !device_warning().empty()) std::cerr << device_warning() << std::endl;
  for (const std::string& note : job.notes) display.note(note);
  try {
    return network ? train_network(job, options.save, display) : train_elsewhere(job, display);
  } catch (const TrialFailure& failure) {
    std::cerr << job.name << ": failed: " << printable(failure.what(), true) << std::endl;
    return kExitFailed;
  }
}

}  // namespace brood
