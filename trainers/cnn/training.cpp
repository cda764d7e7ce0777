#include "trainers/cnn/training.h"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <vector>

#include "engine/rng.h"
#include "trainers/cnn/augment.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/cnn/model.h"
#include "trainers/cnn/network.h"
#include "trainers/cnn/progress.h"
#include "trainers/cnn/schedule.h"

namespace brood::cnn {

namespace {

using Clock = std::chrono::steady_clock;

// How long step() works before it returns, so that a worker can answer.
constexpr auto kSlice = std::chrono::milliseconds(30);

// Of this process, which may have had other trials.
double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

void add(Tally& tally, const BatchResult& batch, std::int64_t size) {
  tally.samples += size;
  tally.correct += batch.correct;
  tally.loss += batch.loss;
}

class CnnTraining final : public Training {
 public:
  CnnTraining(TrainingInput input, const Assignment& assignment)
      : input_(std::move(input)),
        spec_(input_.spec),
        data_(*input_.data),
        seed_(assignment.seed),
        dropout_key_(Rng(assignment.seed, 0, Purpose::dropout).bits()),
        augmenter_(spec_.augment, data_, assignment.seed),
        description_(describe(spec_, data_, numeric_class(*input_.kernels), input_.experiment_seed,
                              assignment.seed)) {
    split_ = make_split(spec_, shape_of(data_), input_.experiment_seed);
    Plan plan = make_plan(spec_, description_.data);
    if (!plan.infeasible.empty())
      throw TrialFailure(Cause::trainer, plan.infeasible_pointer + ": " + plan.infeasible);
    check_memory(plan);
    network_ = std::make_unique<Network>(std::move(plan), spec_.optimizer, *input_.kernels,
                                         spec_.label_smoothing);
    const auto batch = static_cast<std::size_t>(network_->plan().batch_size);
    labels_.resize(batch);
    partner_labels_.resize(batch);
    shares_.resize(batch);
    progress_.epoch = assignment.first_epoch;
    progress_.count_classes(spec_, data_.classes);
    if (assignment.resume_from.empty()) {
      if (assignment.first_epoch != 1)
        throw UserError("trial starts at epoch " + std::to_string(assignment.first_epoch) +
                        " without a checkpoint");
      network_->initialise(seed_);
    } else {
      resume(assignment.resume_from);
    }
    shuffle();
  }

  std::optional<Report> step() override {
    const FlushDenormals flush;
    const auto start = Clock::now();
    auto now = start;
    std::optional<Report> report;
    do {
      const bool training = progress_.phase == Phase::train;
      work();
      const auto then = now;
      now = Clock::now();
      if (training) train_seconds_ += std::chrono::duration<double>(now - then).count();
      if (progress_.phase == Phase::done) {
        seconds_ += std::chrono::duration<double>(now - start).count();
        report = finish_epoch();
      }
    } while (!report && now - start < kSlice);
    if (!report) seconds_ += std::chrono::duration<double>(now - start).count();
    return report;
  }

  void save(const std::string& path) const override {
    Checkpoint out;
    write_progress(progress_, to_json(description_), out);
    out.arrays = network_->arrays();
    write_checkpoint(path, out);
  }

  std::int64_t steps() const override { return progress_.batch; }
  bool saves_any_time() const override { return true; }

 private:
  using Phase = TrialProgress::Phase;

  // Data of files is mapped and shared; a trial is not charged for it.
  std::uint64_t own_data_bytes() const { return data_.made_up ? data_.bytes() : 0; }

  void check_memory(const Plan& plan) const {
    const Memory memory =
        make_memory(plan, moment_count(spec_.optimizer), spec_.optimizer.ema > 0.0);
    const std::uint64_t need = memory.total_bytes() + own_data_bytes();
    if (!memory.too_large.empty()) throw TrialFailure(Cause::memory, memory.too_large);
    if (input_.memory_max > 0 && need > input_.memory_max)
      throw TrialFailure(Cause::memory, "the trial needs " + std::to_string(need >> 20) +
                                            " MiB, memory_per_trial allows " +
                                            std::to_string(input_.memory_max >> 20) + " MiB");
  }

  // A checkpoint does not hold what follows from the trial: a copy may go on with another seed.
  void resume(const std::string& path) {
    try {
      const Checkpoint from = read_checkpoint(path);
      read_progress(from, progress_);
      network_->restore(from.arrays);
      if (progress_.position > static_cast<std::int64_t>(part().size()))
        throw UserError("it was made with more samples");
      samples_before_ = progress_.parts[0].samples;
    } catch (const UserError& problem) {
      const std::string why = problem.what();
      throw TrialFailure(
          Cause::checkpoint,
          (why.starts_with(path) ? why : path + ": " + why) +
              "; remove it, and the trial starts from an earlier one or from the beginning");
    }
  }

  // Part 0 is shuffled anew in every epoch, by (trial's seed, epoch).
  void shuffle() {
    const auto order =
        shuffled(static_cast<std::int64_t>(split_.train.size()),
                 Rng(seed_, static_cast<std::uint64_t>(progress_.epoch), Purpose::shuffle));
    order_.resize(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) order_[i] = split_.train[order[i]];
  }

  const std::vector<std::uint32_t>& part() const {
    if (progress_.phase == Phase::train) return split_.train;
    return progress_.phase == Phase::validation ? split_.validation : split_.test;
  }

  void load_train(std::int64_t size) {
    for (std::int64_t i = 0; i < size; ++i) {
      const auto place = static_cast<std::size_t>(i);
      const std::uint32_t sample = order_[static_cast<std::size_t>(progress_.position + i)];
      const Augmenter::Sample image = augmenter_.image(progress_.epoch, sample, split_.train);
      labels_[place] = data_.train.labels[sample];
      if (!image.other) {
        network_->set_image(static_cast<int>(i), image.pixels);
        continue;
      }
      network_->set_mixed_image(static_cast<int>(i), image.pixels, image.other, image.share);
      partner_labels_[place] = data_.train.labels[image.partner];
      shares_[place] = image.share;
    }
  }

  void train_batch(std::int64_t size) {
    const auto count = static_cast<std::size_t>(size);
    network_->use_average(false);
    load_train(size);
    const Mixing mixing{{partner_labels_.data(), count}, {shares_.data(), count}};
    add(progress_.parts[0],
        network_->train({labels_.data(), count}, dropout_key_,
                        static_cast<std::uint64_t>(progress_.batch),
                        augmenter_.mixes() ? &mixing : nullptr),
        size);
    network_->update(learning_rate(spec_, network_->plan().steps_per_epoch(), progress_.batch),
                     progress_.batch + 1);
    ++progress_.batch;
  }

  void evaluate_batch(std::int64_t size) {
    network_->use_average(true);
    const Images& images = progress_.phase == Phase::test ? data_.test : data_.train;
    for (std::int64_t i = 0; i < size; ++i) {
      const std::uint32_t sample = part()[static_cast<std::size_t>(progress_.position + i)];
      network_->set_image(static_cast<int>(i), data_.pixels(images, sample));
      labels_[static_cast<std::size_t>(i)] = images.labels[sample];
    }
    Tally& tally = progress_.parts[static_cast<std::size_t>(progress_.phase)];
    add(tally, network_->evaluate({labels_.data(), static_cast<std::size_t>(size)}), size);
    if (tally.classes.empty()) return;
    for (std::size_t i = 0; i < static_cast<std::size_t>(size); ++i) {
      ++tally.classes[labels_[i]].samples;
      tally.classes[labels_[i]].correct += network_->hits()[i];
    }
  }

  // One batch of the present phase.
  void work() {
    const auto count = static_cast<std::int64_t>(part().size());
    const std::int64_t size =
        std::min<std::int64_t>(count - progress_.position, network_->plan().batch_size);
    if (progress_.phase == Phase::train)
      train_batch(size);
    else
      evaluate_batch(size);
    progress_.position += size;
    if (progress_.position < count) return;
    const std::int64_t samples[TrialProgress::kParts] = {
        static_cast<std::int64_t>(split_.train.size()),
        static_cast<std::int64_t>(split_.validation.size()),
        spec_.evaluate_test ? static_cast<std::int64_t>(split_.test.size()) : 0};
    progress_.next_phase(samples);
  }

  // The planner's figures, so that a constraint means the same before and after.
  void report_cost(Report& report) const {
    const Plan& plan = network_->plan();
    report.metrics.push_back({"parameters", static_cast<double>(plan.parameter_count)});
    report.metrics.push_back({"flops", plan.total_flops(spec_.epochs, spec_.evaluate_test)});
    report.metrics.push_back(
        {"memory_bytes", static_cast<double>(network_->memory().total_bytes() + own_data_bytes())});
    report.metrics.push_back({"peak_memory_bytes", peak_memory_bytes(), false});
  }

  Report finish_epoch() {
    Report report = report_of(progress_);
    require_finite(report, input_.objective);
    if (spec_.report_cost) report_cost(report);
    report.metrics.push_back({"seconds", seconds_, false});
    // Of what was trained here: a checkpoint's share of the epoch took another process's time.
    if (const std::int64_t here = progress_.parts[0].samples - samples_before_; here > 0)
      report.metrics.push_back(
          {"images_per_second", static_cast<double>(here) / std::max(train_seconds_, 1e-9), false});
    samples_before_ = 0;
    progress_.next_epoch();
    seconds_ = train_seconds_ = 0.0;
    shuffle();
    return report;
  }

  const TrainingInput input_;
  const NetworkSpec& spec_;
  const Dataset& data_;
  Split split_;
  std::unique_ptr<Network> network_;
  std::vector<std::uint16_t> labels_, partner_labels_;  // of the batch
  std::vector<double> shares_;                          // of the batch's own labels
  std::vector<std::uint32_t> order_;                    // of the training part in this epoch

  const std::uint64_t seed_, dropout_key_;
  Augmenter augmenter_;
  const Description description_;  // for whoever finds the checkpoint
  TrialProgress progress_;
  std::int64_t samples_before_ = 0;             // of this epoch's training, before the checkpoint
  double seconds_ = 0.0, train_seconds_ = 0.0;  // of this epoch, in this process
};

}  // namespace

std::unique_ptr<Training> make_training(TrainingInput input, const Assignment& assignment) {
  return std::make_unique<CnnTraining>(std::move(input), assignment);
}

}  // namespace brood::cnn
