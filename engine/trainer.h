// How a point becomes a metric. A trainer lives in a worker process and serves `slots` trials.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/experiment.h"
#include "engine/trial.h"

namespace brood {

// All a worker needs to know of a trial.
struct Assignment {
  TrialId trial = 0;
  int attempt = 1;
  ParamSet params;
  int first_epoch = 1;  // > 1 when resume_from holds the epochs before it
  int last_epoch = 1;
  std::uint64_t seed = 0;
  std::string resume_from;    // checkpoint to start from; empty: from scratch
  std::string save_dir;       // folder for checkpoints, made on demand; empty: never save
  int save_every_epochs = 0;  // and after the last one; 0: only when asked
  // What makes a checkpoint after the last epoch needless: it would be deleted at once. A hint.
  struct Worth {
    double better_than = 0;  // the objective of the last trial that is kept now
    bool maximize = true;
    bool any_epoch = false;  // the objective's best value counts, not its last
  };
  std::optional<Worth> save_last_if;  // absent: always
  std::string log;                    // file that takes the trial's own output
};

struct Event {
  enum class Kind : std::uint8_t { progress, report, saved, ended, failed };
  Kind kind = Kind::progress;
  int slot = 0;
  std::int64_t step = 0;      // progress: batches so far
  Report report;              // report
  int epoch = 0;              // saved: the epoch the checkpoint holds; ended: the last one trained
  std::string path;           // saved
  Cause cause = Cause::none;  // failed
  std::string why;            // failed: one sentence
};

// What a worker brings: where it runs and which bits it produces.
struct Offer {
  std::string device = "cpu";
  std::string numeric_class;  // kernel set, instruction set, precision, numerics version
  int slots = 1;
  std::uint64_t bytes = 0;  // memory for trials; 0: not limited by the device
};

// One thread calls. Never calls back, never blocks longer than the slice.
class Trainer {
 public:
  virtual ~Trainer() = default;
  virtual Offer offer() const = 0;
  virtual void start(int slot, const Assignment& assignment) = 0;  // the slot is free
  virtual void stop(int slot) = 0;  // the slot is free when it returns; no event follows
  virtual void save(int slot) = 0;  // a `saved` event follows when the trainer can save
  virtual int wait_on()
      const = 0;  // descriptor that is readable when advance() has news; -1: always
  virtual std::vector<Event> advance(Millis slice) = 0;
};

// All that a one-trial trainer has to write. step() trains until the next report, or for a while
// (returning nothing). Throws TrialFailure, or any std::exception, to fail the trial.
class Training {
 public:
  virtual ~Training() = default;
  virtual std::optional<Report> step() = 0;
  virtual void save(const std::string& path) const = 0;  // atomically: written beside, renamed
  virtual std::int64_t steps() const { return 0; }       // batches so far; -1: it waits to begin
  // Can it save between two reports? The checkpoint then goes on in the middle of an epoch.
  virtual bool saves_any_time() const { return false; }
};

// A failure with its cause, thrown by a Training.
class TrialFailure : public UserError {
 public:
  TrialFailure(Cause cause, const std::string& why) : UserError(why), cause_(cause) {}
  Cause cause() const { return cause_; }

 private:
  Cause cause_;
};

using TrainingFactory = std::function<std::unique_ptr<Training>(const Assignment&)>;

// The Trainer of one slot made of a Training: saves at epoch ends as the assignment asks, ends
// after last_epoch, turns exceptions into `failed` events and a NaN in `objective` into Cause::nan.
std::unique_ptr<Trainer> one_slot(Offer offer, std::string objective, TrainingFactory factory);

// One Trainer of trainers with one slot each, which take turns.
std::unique_ptr<Trainer> many_slots(std::vector<std::unique_ptr<Trainer>> slots);

// What is known of a point before it is trained. Zero where nothing is known.
struct Estimate {
  int epochs = 1;  // how long the config trains it
  std::int64_t parameters = 0;
  double flops = 0.0;              // of the whole training
  std::uint64_t bytes = 0;         // peak memory of the trial
  std::uint64_t shared_bytes = 0;  // more, once a machine: what all its trials map
  std::string infeasible;          // why it cannot be trained; empty: it can
};

// Thread-safe, cheap (well under a millisecond).
class Planner {
 public:
  virtual ~Planner() = default;
  virtual Estimate estimate(const ParamSet& params) const = 0;
};

// What a worker is told once, before any assignment; but for its device, all workers of an
// experiment are told the same.
struct TrainerSetup {
  std::string name;                    // cnn, command, synthetic
  std::string config;                  // the config's `trainer` block with its $param and $expr
  std::string objective;               // the metric a NaN of which fails the trial
  std::uint64_t seed = 0;              // the experiment's
  std::string data_dir;                // absolute; empty: the usual places
  std::string cache_dir;               // absolute; empty: the user's cache folder
  std::string base_dir;                // absolute folder of the config file: where commands run
  std::string numeric_class;           // to use; empty: the best on this machine
  std::uint64_t memory_per_trial = 0;  // bytes; 0: no limit
  // Of this worker. cpu, or cuda:0 and so on; empty: the trainer's choice.
  std::string device;
  int share = 0, shares = 1;  // its number among the workers that share the device, and how many
  int slots = 1;              // trials that it may train at a time
  bool choose_slots = false;  // fewer, where more at a time do not raise the throughput
};

// What the workers of this experiment are told. numeric_class "any" or "": the machine's best.
TrainerSetup trainer_setup(const ExperimentSpec& spec, const std::string& base_dir,
                           const std::string& numeric_class);

}  // namespace brood
