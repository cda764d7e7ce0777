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
#include "trainers/cnn/schedule.h"

namespace brood::cnn {

namespace {

using Clock = std::chrono::steady_clock;

// How long step() works before it returns, so that a worker can answer.
constexpr auto kSlice = std::chrono::milliseconds(30);

std::string bits_text(std::uint64_t bits) { return std::to_string(bits); }

std::uint64_t bits_of(const Checkpoint& checkpoint, const std::string& key) {
  const std::string& text = checkpoint.text(key);
  std::uint64_t bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (error != std::errc() || end != text.data() + text.size())
    throw UserError("its entry \"" + key + "\" is \"" + text + "\", not a whole number");
  return bits;
}

// Of this process, which may have had other trials.
double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

// Sums over the samples seen so far of one part of the data.
struct Tally {
  struct Class {
    std::int64_t samples = 0, correct = 0;
  };

  std::int64_t samples = 0, correct = 0;
  double loss = 0.0;
  std::vector<Class> classes;  // empty unless asked for

  void clear() {
    samples = correct = 0;
    loss = 0.0;
    std::fill(classes.begin(), classes.end(), Class{});
  }

  void add(const BatchResult& batch, std::int64_t size) {
    samples += size;
    correct += batch.correct;
    loss += batch.loss;
  }
};

class CnnTraining final : public Training {
 public:
  CnnTraining(TrainingInput input, const Assignment& assignment)
      : input_(std::move(input)),
        spec_(input_.spec),
        data_(*input_.data),
        epoch_(assignment.first_epoch),
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
    if (spec_.report_classes)
      for (std::size_t i = 1; i < kParts; ++i)
        tallies_[i].classes.resize(static_cast<std::size_t>(data_.classes));
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
      const bool training = phase_ == Phase::train;
      work();
      const auto then = now;
      now = Clock::now();
      if (training) train_seconds_ += std::chrono::duration<double>(now - then).count();
      if (phase_ == Phase::done) {
        seconds_ += std::chrono::duration<double>(now - start).count();
        report = finish_epoch();
      }
    } while (!report && now - start < kSlice);
    if (!report) seconds_ += std::chrono::duration<double>(now - start).count();
    return report;
  }

  void save(const std::string& path) const override {
    Checkpoint out;
    const auto add = [&out](const std::string& key, std::uint64_t bits) {
      out.metadata.emplace_back(key, bits_text(bits));
    };
    out.metadata.emplace_back("format", kCheckpointFormat);
    out.metadata.emplace_back("model", to_json(description_));
    add("epoch", static_cast<std::uint64_t>(epoch_));
    add("batch", static_cast<std::uint64_t>(batch_));
    add("phase", static_cast<std::uint64_t>(phase_));
    add("position", static_cast<std::uint64_t>(position_));
    for (std::size_t i = 0; i < kParts; ++i) {
      const std::string prefix = kPartNames[i];
      add(prefix + "_samples", static_cast<std::uint64_t>(tallies_[i].samples));
      add(prefix + "_correct", static_cast<std::uint64_t>(tallies_[i].correct));
      add(prefix + "_loss", std::bit_cast<std::uint64_t>(tallies_[i].loss));
      for (std::size_t c = 0; c < tallies_[i].classes.size(); ++c) {
        const std::string name = prefix + "_class_" + std::to_string(c);
        add(name + "_samples", static_cast<std::uint64_t>(tallies_[i].classes[c].samples));
        add(name + "_correct", static_cast<std::uint64_t>(tallies_[i].classes[c].correct));
      }
    }
    out.arrays = network_->arrays();
    write_checkpoint(path, out);
  }

  std::int64_t steps() const override { return batch_; }

 private:
  enum class Phase : std::uint8_t { train, validation, test, done };
  static constexpr std::size_t kParts = 3;
  static constexpr const char* kPartNames[kParts] = {"train", "val", "test"};

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
      if (from.text("format") != kCheckpointFormat)
        throw UserError("its format is \"" + from.text("format") + "\", expected \"" +
                        kCheckpointFormat + "\"");
      network_->restore(from.arrays);
      const auto number = [&from](const std::string& key) {
        return static_cast<std::int64_t>(bits_of(from, key) & 0x7fff'ffff'ffffU);
      };
      if (number("epoch") != epoch_)
        throw UserError("it continues at epoch " + std::to_string(number("epoch")) +
                        ", the trial at epoch " + std::to_string(epoch_));
      batch_ = number("batch");
      if (number("phase") >= static_cast<std::int64_t>(Phase::done))
        throw UserError("its phase is " + std::to_string(number("phase")));
      phase_ = static_cast<Phase>(number("phase"));
      position_ = number("position");
      for (std::size_t i = 0; i < kParts; ++i) {
        const std::string prefix = kPartNames[i];
        tallies_[i].samples = number(prefix + "_samples");
        tallies_[i].correct = number(prefix + "_correct");
        tallies_[i].loss = std::bit_cast<double>(bits_of(from, prefix + "_loss"));
        for (std::size_t c = 0; c < tallies_[i].classes.size(); ++c) {
          const std::string name = prefix + "_class_" + std::to_string(c);
          tallies_[i].classes[c] = {number(name + "_samples"), number(name + "_correct")};
        }
      }
      if (position_ > static_cast<std::int64_t>(part().size()))
        throw UserError("it was made with more samples");
      samples_before_ = tallies_[0].samples;
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
    const auto order = shuffled(static_cast<std::int64_t>(split_.train.size()),
                                Rng(seed_, static_cast<std::uint64_t>(epoch_), Purpose::shuffle));
    order_.resize(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) order_[i] = split_.train[order[i]];
  }

  const std::vector<std::uint32_t>& part() const {
    if (phase_ == Phase::train) return split_.train;
    return phase_ == Phase::validation ? split_.validation : split_.test;
  }

  void load_train(std::int64_t size) {
    for (std::int64_t i = 0; i < size; ++i) {
      const auto place = static_cast<std::size_t>(i);
      const std::uint32_t sample = order_[static_cast<std::size_t>(position_ + i)];
      const Augmenter::Sample image = augmenter_.image(epoch_, sample, split_.train);
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
    tallies_[0].add(
        network_->train({labels_.data(), count}, dropout_key_, static_cast<std::uint64_t>(batch_),
                        augmenter_.mixes() ? &mixing : nullptr),
        size);
    network_->update(learning_rate(spec_, network_->plan().steps_per_epoch(), batch_), batch_ + 1);
    ++batch_;
  }

  void evaluate_batch(std::int64_t size) {
    network_->use_average(true);
    const Images& images = phase_ == Phase::test ? data_.test : data_.train;
    for (std::int64_t i = 0; i < size; ++i) {
      const std::uint32_t sample = part()[static_cast<std::size_t>(position_ + i)];
      network_->set_image(static_cast<int>(i), data_.pixels(images, sample));
      labels_[static_cast<std::size_t>(i)] = images.labels[sample];
    }
    Tally& tally = tallies_[static_cast<std::size_t>(phase_)];
    tally.add(network_->evaluate({labels_.data(), static_cast<std::size_t>(size)}), size);
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
        std::min<std::int64_t>(count - position_, network_->plan().batch_size);
    if (phase_ == Phase::train)
      train_batch(size);
    else
      evaluate_batch(size);
    position_ += size;
    if (position_ < count) return;
    position_ = 0;
    do {
      phase_ = static_cast<Phase>(static_cast<std::uint8_t>(phase_) + 1);
    } while (phase_ != Phase::done &&
             (part().empty() || (phase_ == Phase::test && !spec_.evaluate_test)));
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

  // A network of NaN answers every image alike, and its accuracy is a number like any other.
  void require_finite(const Report& report) const {
    const Metric* objective = report.find(input_.objective);
    const bool told = objective != nullptr && !std::isfinite(objective->value);
    if (input_.objective.empty() || told) return;
    for (const char* part : kPartNames) {
      const Metric* loss = report.find(std::string(part) + "_loss");
      if (loss != nullptr && !std::isfinite(loss->value))
        throw TrialFailure(Cause::nan, loss->name + " became " +
                                           (std::isnan(loss->value) ? "NaN" : "infinite") +
                                           " in epoch " + std::to_string(report.epoch));
    }
  }

  Report finish_epoch() {
    Report report;
    report.epoch = epoch_;
    for (std::size_t i = 0; i < kParts; ++i) {
      const Tally& tally = tallies_[i];
      if (tally.samples == 0) continue;
      const auto samples = static_cast<double>(tally.samples);
      const std::string prefix = kPartNames[i];
      report.metrics.push_back({prefix + "_loss", tally.loss / samples});
      report.metrics.push_back(
          {prefix + "_accuracy", static_cast<double>(tally.correct) / samples});
      for (std::size_t c = 0; c < tally.classes.size(); ++c)
        if (tally.classes[c].samples > 0)
          report.metrics.push_back({prefix + "_accuracy_class_" + std::to_string(c),
                                    static_cast<double>(tally.classes[c].correct) /
                                        static_cast<double>(tally.classes[c].samples)});
    }
    require_finite(report);
    if (spec_.report_cost) report_cost(report);
    report.metrics.push_back({"seconds", seconds_, false});
    // Of what was trained here: a checkpoint's share of the epoch took another process's time.
    if (const std::int64_t here = tallies_[0].samples - samples_before_; here > 0)
      report.metrics.push_back(
          {"images_per_second", static_cast<double>(here) / std::max(train_seconds_, 1e-9), false});
    samples_before_ = 0;
    ++epoch_;
    phase_ = Phase::train;
    for (Tally& tally : tallies_) tally.clear();
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

  int epoch_;  // under way; 1, 2, ...
  const std::uint64_t seed_, dropout_key_;
  Augmenter augmenter_;
  const Description description_;  // for whoever finds the checkpoint
  std::int64_t batch_ = 0;         // training batches done since the start
  Phase phase_ = Phase::train;
  std::int64_t position_ = 0;  // samples of the phase's part done
  Tally tallies_[kParts];
  std::int64_t samples_before_ = 0;             // of this epoch's training, before the checkpoint
  double seconds_ = 0.0, train_seconds_ = 0.0;  // of this epoch, in this process
};

}  // namespace

std::unique_ptr<Training> make_training(TrainingInput input, const Assignment& assignment) {
  return std::make_unique<CnnTraining>(std::move(input), assignment);
}

}  // namespace brood::cnn
