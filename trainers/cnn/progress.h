// How far a trial has come, as its checkpoints and reports tell it: the same on every backend, so
// that a checkpoint of one goes on on another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/trainer.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/cnn/network_spec.h"

namespace brood::cnn {

// Sums over the samples seen so far of one part of the data.
struct Tally {
  struct Class {
    std::int64_t samples = 0, correct = 0;
  };

  std::int64_t samples = 0, correct = 0;
  double loss = 0.0;
  std::vector<Class> classes;  // empty unless asked for

  void clear();
};

struct TrialProgress {
  enum class Phase : std::uint8_t { train, validation, test, done };
  static constexpr std::size_t kParts = 3;
  static constexpr const char* kPartNames[kParts] = {"train", "val", "test"};

  int epoch = 1;           // under way; 1, 2, ...
  std::int64_t batch = 0;  // training batches done since the start
  Phase phase = Phase::train;
  std::int64_t position = 0;  // samples of the phase's part done
  Tally parts[kParts];

  // Tallies with as many classes as the config asks for.
  void count_classes(const NetworkSpec& spec, int classes);
  // When a part is through: the next one that has samples, or done.
  void next_phase(const std::int64_t (&samples)[kParts]);
  // When all parts are through.
  void next_epoch();
};

// format, model, epoch, batch, ...
void write_progress(const TrialProgress& progress, const std::string& description, Checkpoint& to);
// Throws UserError for a checkpoint of another format or of another epoch than progress has.
void read_progress(const Checkpoint& from, TrialProgress& progress);

// Losses and accuracies of the parts.
Report report_of(const TrialProgress& progress);

// Throws TrialFailure for a loss that is no finite number, unless the objective says so itself. A
// network of NaN answers every image alike, and its accuracy is a number like any other.
void require_finite(const Report& report, const std::string& objective);

}  // namespace brood::cnn
