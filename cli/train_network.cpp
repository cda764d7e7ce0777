#include "cli/train_network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>

#include "cli/run.h"
#include "engine/error.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/cnn/cnn.h"
#include "trainers/cnn/model.h"

namespace brood {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t interrupted = 0;

// The first request ends the training at its next batch; a second one is obeyed by the system.
class Interrupts {
 public:
  Interrupts() {
    interrupted = 0;
    for (const int signal : kSignals) {
      struct sigaction action {};
      action.sa_handler = [](int) { interrupted = 1; };
      action.sa_flags = SA_RESETHAND;
      sigaction(signal, &action, nullptr);
    }
  }
  ~Interrupts() {
    for (const int signal : kSignals) std::signal(signal, SIG_DFL);
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
};

// What a checkpoint and the training at hand do not share; "": nothing.
std::string difference(const cnn::Description& theirs, const cnn::Description& ours) {
  if (theirs.trainer != ours.trainer) return "its trainer block differs";
  if (theirs.numeric_class != ours.numeric_class)
    return "its numeric class is " + theirs.numeric_class + ", this one is " + ours.numeric_class;
  if (theirs.experiment_seed != ours.experiment_seed || theirs.trial_seed != ours.trial_seed)
    return "its seed differs";
  return theirs == ours ? "" : "its data set differs";
}

class Foreground {
 public:
  Foreground(const TrainJob& job, std::string save, TrainDisplay& display)
      : job_(job),
        save_(std::move(save)),
        checkpoint_(save_ + ".checkpoint"),
        display_(display),
        assignment_(job.assignment) {
    if (!save_.empty() && fs::exists(checkpoint_)) find_place();
  }

  int run() {
    const auto training = make_cnn_training(job_.setup, assignment_);
    std::optional<Interrupts> interrupts;
    if (!save_.empty()) interrupts.emplace();
    start(*training);
    for (int done = assignment_.first_epoch - 1; done < assignment_.last_epoch;) {
      if (interrupted != 0) return stop(*training);
      if (const auto report = training->step())
        done = take(*report);
      else
        show(*training, done);
      if (!save_.empty() && Clock::now() > next_save_) save(*training);
    }
    if (!save_.empty()) finish(*training);
    return 0;
  }

 private:
  // Goes on where the checkpoint is.
  void find_place() {
    const std::string remedy =
        "; remove " + checkpoint_ + " to train from the beginning, or save to another file";
    try {
      const cnn::Checkpoint found = cnn::read_checkpoint(checkpoint_);
      const std::string differs = difference(cnn::description_from_json(found.text("model")),
                                             describe_cnn(job_.setup, assignment_));
      if (!differs.empty()) throw UserError(checkpoint_ + ": is of another training: " + differs);
      assignment_.first_epoch = std::stoi(found.text("epoch"));
      if (assignment_.first_epoch > assignment_.last_epoch + 1)
        throw UserError(checkpoint_ + ": has " + std::to_string(assignment_.first_epoch - 1) +
                        " epochs already, above the " + std::to_string(assignment_.last_epoch) +
                        " wanted");
    } catch (const UserError& error) {
      throw UserError(error.what() + remedy);
    }
    assignment_.resume_from = checkpoint_;
  }

  void start(const Training& training) {
    const cnn::Description own = describe_cnn(job_.setup, assignment_);
    const cnn::Plan plan = cnn::network_of(own).plan;
    steps_per_epoch_ = plan.steps_per_epoch();
    std::string what = "Training " + job_.name;
    if (!assignment_.resume_from.empty())
      what = "Going on with " + job_.name + " after " + std::to_string(training.steps()) +
             " batches (" + checkpoint_ + ")";
    display_.note(what + ": " + std::to_string(plan.parameter_count) + " parameters, " +
                  std::to_string(own.data.train) + " training images, " +
                  std::to_string(own.data.validation) + " for validation, seed " +
                  std::to_string(job_.setup.seed) + ", " + own.numeric_class);
    next_save_ = Clock::now() + kSaveEvery;
  }

  int take(const Report& report) {
    display_.report(report, assignment_.last_epoch);
    const Metric* objective = report.find(job_.setup.objective);
    if (objective != nullptr && !std::isfinite(objective->value))
      throw TrialFailure(Cause::nan, objective->name + " became " +
                                         (std::isnan(objective->value) ? "NaN" : "infinite") +
                                         " in epoch " + std::to_string(report.epoch));
    return report.epoch;
  }

  void show(const Training& training, int done) {
    const auto steps = static_cast<double>(training.steps() - steps_per_epoch_ * done);
    display_.progress(done + 1, assignment_.last_epoch,
                      steps / static_cast<double>(steps_per_epoch_));
  }

  // A slow disk is asked less often: saving takes a fiftieth of the time at most.
  void save(const Training& training) {
    const auto before = Clock::now();
    training.save(checkpoint_);
    const auto after = Clock::now();
    next_save_ = after + std::max<Clock::duration>(kSaveEvery, 50 * (after - before));
  }

  int stop(const Training& training) {
    training.save(checkpoint_);
    display_.note("Interrupted after " + std::to_string(training.steps()) +
                  " batches. The same command goes on from " + checkpoint_ + ", to the same bits.");
    return kExitInterrupted;
  }

  // The last update may have spoilt what the losses before it did not show.
  void require_finite(const cnn::Model& model) const {
    for (const cnn::NamedArray& array : model.parameters) {
      if (std::all_of(array.values.begin(), array.values.end(),
                      [](float value) { return std::isfinite(value); }))
        continue;
      std::error_code ignored;
      fs::remove(checkpoint_, ignored);
      throw TrialFailure(Cause::nan, "its weights (" + array.name + ") are no finite numbers");
    }
  }

  void finish(const Training& training) {
    training.save(checkpoint_);
    const cnn::Model model = cnn::read_model(checkpoint_);
    require_finite(model);
    cnn::write_model(save_, model);
    std::error_code ignored;
    fs::remove(checkpoint_, ignored);
    display_.note("Saved " + save_ + ": " + std::to_string(model.plan.parameter_count) +
                  " parameters after epoch " + std::to_string(model.epochs) +
                  "; brood predict and brood export take it");
  }

  static constexpr std::chrono::seconds kSaveEvery{5};

  const TrainJob& job_;
  const std::string save_, checkpoint_;
  TrainDisplay& display_;
  Assignment assignment_;
  std::int64_t steps_per_epoch_ = 1;
  Clock::time_point next_save_;
};

}  // namespace

int train_network(const TrainJob& job, const std::string& save, TrainDisplay& display) {
  return Foreground(job, save, display).run();
}

}  // namespace brood
