// One trial of the built-in CNN: epochs over the training part, each followed by an evaluation.
#pragma once

#include <memory>
#include <string>

#include "engine/trainer.h"
#include "trainers/cnn/dataset.h"
#include "trainers/cnn/kernels.h"
#include "trainers/cnn/network_spec.h"

namespace brood::cnn {

// What a trial needs beyond its assignment.
struct TrainingInput {
  NetworkSpec spec;
  std::shared_ptr<const Dataset> data;  // shared with the process's other trials
  const Kernels* kernels = nullptr;
  std::uint64_t experiment_seed = 0;  // decides the split
  std::uint64_t memory_max = 0;       // bytes; 0: no limit
  std::string objective;              // the metric that is judged; empty: none
};

// Throws TrialFailure for a network that cannot be built or does not fit, UserError for a
// checkpoint that is not its own.
//
// A report has the exact metrics train_loss, train_accuracy (means over the epoch, while it
// learned), val_loss and val_accuracy when there is a validation part, test_loss and test_accuracy
// when the config asks for them; and the measured ones seconds and images_per_second. train_loss is
// what is minimised, with smoothed and mixed targets; the others are plain cross-entropies. With
// "report": class_accuracy adds val_accuracy_class_0, ... (and of the test), where a class has
// samples; cost adds the exact parameters, flops (of the whole training) and memory_bytes, as
// planned, and the measured peak_memory_bytes of the process. A loss that is no finite number is
// a TrialFailure where there is an objective, unless that is not finite either: then the report
// says so itself.
std::unique_ptr<Training> make_training(TrainingInput input, const Assignment& assignment);

}  // namespace brood::cnn
