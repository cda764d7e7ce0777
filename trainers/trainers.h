// The table of contents of the trainers: cnn, command, synthetic.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/trainer.h"
#include "trainers/data_identity.h"

namespace brood {

std::vector<std::string> trainer_names();

// The numeric classes of the built-in trainer that this machine can run, with these of its GPUs:
// those of its CPU first, best first.
std::vector<std::string> numeric_classes(const std::vector<Device>& gpus = {});

// Those of them that a block allows, on the kind of device that the setup names.
bool computes_in(const TrainerSetup& setup, const std::string& numeric_class);

// The GPUs of this machine that a trainer can use, and why there are none.
Devices usable_devices(std::string_view trainer);

// What people must know of them before they trust a number; empty: nothing.
std::string device_warning();

// Throws UserError for an unknown name, a data set that is missing, a block that is no JSON.
std::unique_ptr<Trainer> make_trainer(const TrainerSetup& setup);

// Trials that one worker may train at a time: 1, unless the trainer's block says more.
int worker_slots(const TrainerSetup& setup);

// Why this trainer cannot be given GPUs; empty: it can.
std::string no_gpu_reason(std::string_view trainer);

// Before the first trial: makes what all trials read, so that a broken file ends the run and not
// each of its trials. Throws UserError.
void prepare_trainer(const TrainerSetup& setup);

// What a record keeps of the data, so that a change is noticed. Throws UserError for data that is
// missing.
DataIdentity data_identity(const TrainerSetup& setup);

// What people should know of the data before they train on it, each a sentence. Decodes every image
// of a data set that is not large. Throws UserError, as prepare_trainer does.
std::vector<std::string> data_notes(const TrainerSetup& setup);

// What a point will cost. Runs in the controller, so it never runs user code.
std::unique_ptr<Planner> make_planner(const TrainerSetup& setup);

// What is wrong with a trainer's block once its references are resolved for one point, with
// pointers relative to the block. Empty: nothing.
std::vector<Problem> check_trainer(std::string_view name, const std::string& resolved_json);

// The exact metrics that a trainer reports with such a block; a name that ends in "_class_" is
// followed by the number of a class. Empty: not known before it runs.
std::vector<std::string> reported_metrics(std::string_view name, const std::string& resolved_json);

}  // namespace brood
