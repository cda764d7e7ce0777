#include "cli/export.h"

#include <filesystem>

#include "cli/asked.h"
#include "engine/error.h"
#include "engine/message.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/cnn/cnn.h"
#include "trainers/cnn/model.h"
#include "trainers/cnn/onnx.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

struct Found {
  cnn::Model model;
  std::string source;  // for people
};

TrialId best_of(Asked& asked) {
  const auto best = asked.reader.best(asked.experiment, 1);
  if (best.empty())
    throw UserError("experiment \"" + asked.experiment.name +
                    "\" has no trial with an objective yet");
  return best.front();
}

// `brood train` for this trial.
std::string train_words(Asked& asked, TrialId id) {
  std::string out = "brood train " + shell_word(asked.reader.path());
  if (asked.reader.experiments().size() > 1) out += " -e " + shell_word(asked.experiment.name);
  return out + " --trial " + std::to_string(id);
}

[[noreturn]] void refuse_lost(Asked& asked, TrialId id) {
  throw UserError(
      "trial " + std::to_string(id) +
      " has no checkpoint (those of the output.checkpoints.keep_best best trials are kept). Train "
      "it again, to the same bits, and export that:\n  " +
      train_words(asked, id) + " --save model.safetensors\n" +
      "  brood export model.safetensors --onnx model.onnx");
}

// The newest one whose file is there; "": none.
std::string newest_checkpoint(Asked& asked, TrialId id) {
  std::string path;
  int epoch = 0;
  for (const CheckpointSaved& saved : asked.reader.checkpoints(asked.experiment, id)) {
    const std::string file = path_beside(asked.reader.path(), saved.path);
    std::error_code missing;
    if (saved.epoch <= epoch || !fs::is_regular_file(file, missing)) continue;
    epoch = saved.epoch;
    path = file;
  }
  return path;
}

cnn::Model read_checkpointed(const TrainerSetup& setup, const Trial& trial,
                             const std::string& path) {
  try {
    return cnn::read_model(path);
  } catch (const UserError&) {
    // Made by a version whose checkpoints did not describe themselves; or damaged, which shows
    // again.
    Assignment assignment;
    assignment.params = trial.params;
    assignment.seed = trial.seed;
    return cnn::read_model(path, describe_cnn(setup, assignment));
  }
}

Found from_record(const ExportOptions& options, std::ostream& out) {
  Asked asked = ask(options.where);
  const TrainerSetup setup = recorded_setup(asked);
  if (setup.name != "cnn")
    throw UserError("experiment \"" + asked.experiment.name + "\" trains by \"" + setup.name +
                    "\": only models of the built-in trainer \"cnn\" can be exported");
  const TrialId id = options.trial ? *options.trial : best_of(asked);
  const Trial trial = with_result(asked.reader, asked.experiment, id);
  const std::string path = newest_checkpoint(asked, trial.same_as.value_or(id));
  if (path.empty()) refuse_lost(asked, id);
  Found found;
  found.model = read_checkpointed(setup, trial, path);
  found.source = "experiment \"" + asked.experiment.name + "\", trial " + std::to_string(id) +
                 ", after epoch " + std::to_string(found.model.epochs);
  // With "reduce": "best" the objective is that of an earlier epoch, perhaps.
  if (trial.best_epoch && *trial.best_epoch != found.model.epochs)
    out << "The trial was best after epoch " << *trial.best_epoch
        << ", and its checkpoint is of epoch " << found.model.epochs
        << "; for that epoch's model: " << train_words(asked, id) << " --epoch "
        << *trial.best_epoch << " --save model.safetensors\n";
  return found;
}

std::string shape_text(const cnn::DataShape& data) {
  return "[N, " + std::to_string(data.channels) + ", " + std::to_string(data.height) + ", " +
         std::to_string(data.width) + "]";
}

}  // namespace

int export_command(const ExportOptions& options, std::ostream& out) {
  if (options.onnx.empty() && options.weights.empty())
    throw UserError(
        "brood export: say what to write: --onnx FILE for other runtimes, --weights FILE for brood "
        "predict and whatever reads safetensors");
  const bool file = cnn::looks_like_model(options.where.database);
  if (file && (options.trial || !options.where.experiment.empty()))
    throw UserError(options.where.database +
                    ": is a model, which has no trials: leave out --trial and --experiment");
  const Found found = file ? Found{cnn::read_model(options.where.database), options.where.database}
                           : from_record(options, out);
  out << found.source << ": " << found.model.plan.parameter_count << " parameters, "
      << found.model.plan.data.classes << " classes\n";
  if (!options.onnx.empty()) {
    cnn::write_file(options.onnx, cnn::to_onnx(found.model, found.source, build_id()));
    const cnn::DataShape& data = found.model.plan.data;
    out << options.onnx << ": ONNX, opset " << cnn::kOnnxOpset << ", IR version "
        << cnn::kOnnxIrVersion << "; image float " << shape_text(data)
        << " with pixels 0 to 255 -> logits, probabilities float [N, " << data.classes << "]\n";
  }
  if (!options.weights.empty()) {
    cnn::write_model(options.weights, found.model);
    out << options.weights << ": safetensors, for brood predict\n";
  }
  return 0;
}

}  // namespace brood
