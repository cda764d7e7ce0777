// The built-in trainer of convolutional networks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/trainer.h"
#include "trainers/cnn/model.h"
#include "trainers/data_identity.h"

namespace brood {

// Throws UserError for a numeric class that this machine lacks, a data set that is missing or
// damaged, a trainer block that is no JSON.
std::unique_ptr<Trainer> make_cnn(const TrainerSetup& setup);

std::unique_ptr<Planner> make_cnn_planner(const TrainerSetup& setup);

// A trial's training on its own, for a caller that is no worker. Throws UserError as make_cnn does,
// TrialFailure for a point that cannot be trained.
std::unique_ptr<Training> make_cnn_training(const TrainerSetup& setup,
                                            const Assignment& assignment);

// What make_cnn_training's checkpoints would say of themselves.
cnn::Description describe_cnn(const TrainerSetup& setup, const Assignment& assignment);

// Decodes the data set that the block names at every point into its cache, if it is one alone.
void prepare_cnn(const TrainerSetup& setup);

// As trainers.h has them.
DataIdentity cnn_data_identity(const TrainerSetup& setup);
std::vector<std::string> cnn_data_notes(const TrainerSetup& setup);

// What is wrong with a trainer block whose references are resolved. Pointers are relative to it.
std::vector<Problem> check_cnn(const std::string& resolved_json);

// The exact metrics that it reports with such a block (see trainers.h, reported_metrics).
std::vector<std::string> cnn_metrics(const std::string& resolved_json);

// The numeric classes that this machine can produce, those of its CPU first, best first.
std::vector<std::string> cnn_numeric_classes(const std::vector<Device>& gpus = {});

// As trainers.h has them.
bool cnn_computes_in(const TrainerSetup& setup, const std::string& numeric_class);
Devices cnn_gpus();
std::string cnn_gpu_warning();

}  // namespace brood
