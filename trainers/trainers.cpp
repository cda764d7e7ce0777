#include "trainers/trainers.h"

#include "engine/suggest.h"
#include "trainers/cnn/cnn.h"
#include "trainers/command.h"
#include "trainers/synthetic.h"

namespace brood {

namespace {

constexpr int kFusedMax = 1024;  // trials of one worker on a GPU

[[noreturn]] void refuse_name(std::string_view name) {
  std::string known;
  for (const std::string& one : trainer_names()) known += (known.empty() ? "" : ", ") + one;
  throw UserError("there is no trainer \"" + std::string(name) + "\"" +
                  did_you_mean(name, trainer_names()) + "; known are " + known);
}

}  // namespace

std::vector<std::string> trainer_names() { return {"cnn", "command", "synthetic"}; }

std::vector<std::string> numeric_classes(const std::vector<Device>& gpus) {
  return cnn_numeric_classes(gpus);
}

bool computes_in(const TrainerSetup& setup, const std::string& numeric_class) {
  return setup.name != "cnn" || cnn_computes_in(setup, numeric_class);
}

Devices usable_devices(std::string_view trainer) {
  return trainer == "cnn" ? cnn_gpus() : find_devices();
}

std::string device_warning() { return cnn_gpu_warning(); }

std::unique_ptr<Trainer> make_trainer(const TrainerSetup& setup) {
  std::unique_ptr<Trainer> trainer;
  if (setup.name == "cnn") trainer = make_cnn(setup);
  if (setup.name == "command") trainer = make_command(setup);
  if (setup.name == "synthetic") trainer = make_synthetic(setup);
  if (!trainer) refuse_name(setup.name);
  const std::string offered = trainer->offer().numeric_class;
  if (!setup.numeric_class.empty() && offered != setup.numeric_class)
    throw UserError("the experiment computes in the numeric class \"" + setup.numeric_class +
                    "\"; this machine offers \"" + offered + "\"");
  return trainer;
}

int worker_slots(const TrainerSetup& setup) {
  if (setup.name == "cnn") return cuda_number(setup.device) >= 0 ? kFusedMax : 1;
  return setup.name == "synthetic" ? synthetic_slots(setup) : 1;
}

std::string no_gpu_reason(std::string_view trainer) {
  if (trainer == "synthetic") return "the synthetic trainer uses no GPU: take it out";
  return "";
}

void prepare_trainer(const TrainerSetup& setup) {
  if (setup.name == "cnn") prepare_cnn(setup);
}

DataIdentity data_identity(const TrainerSetup& setup) {
  return setup.name == "cnn" ? cnn_data_identity(setup) : DataIdentity{};
}

std::vector<std::string> data_notes(const TrainerSetup& setup) {
  return setup.name == "cnn" ? cnn_data_notes(setup) : std::vector<std::string>();
}

std::unique_ptr<Planner> make_planner(const TrainerSetup& setup) {
  if (setup.name == "cnn") return make_cnn_planner(setup);
  if (setup.name == "command") return make_command_planner(setup);
  if (setup.name == "synthetic") return make_synthetic_planner(setup);
  refuse_name(setup.name);
}

std::vector<Problem> check_trainer(std::string_view name, const std::string& resolved_json) {
  if (name == "cnn") return check_cnn(resolved_json);
  if (name == "command") return check_command(resolved_json);
  if (name == "synthetic") return check_synthetic(resolved_json);
  refuse_name(name);
}

std::vector<std::string> reported_metrics(std::string_view name, const std::string& resolved_json) {
  return name == "cnn" ? cnn_metrics(resolved_json) : std::vector<std::string>();
}

}  // namespace brood
