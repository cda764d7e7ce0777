#include "trainers/cnn/cnn.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "engine/resolve.h"
#include "trainers/cnn/dataset.h"
#include "trainers/cnn/gpu.h"
#include "trainers/cnn/kernels.h"
#include "trainers/cnn/memory.h"
#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"
#include "trainers/cnn/training.h"
#include "trainers/data/cache.h"

namespace brood {

namespace {

std::string list(const std::vector<Problem>& problems, const Resolved& resolved) {
  std::string text;
  for (const Problem& problem : problems)
    text += (text.empty() ? "" : "; ") + ("/trainer" + resolved.origin(problem.pointer)) + ": " +
            problem.message;
  return text;
}

data::Places places_of(const TrainerSetup& setup) {
  return {setup.data_dir, setup.base_dir, setup.cache_dir};
}

// How the metrics of single classes go on behind the name of a part.
const char* const kClassAccuracy = "_accuracy_class_";

// Empty: a metric of that name is possible with so many classes.
std::string missing_class(const std::string& metric, int classes) {
  const std::size_t at = metric.find(kClassAccuracy);
  if (at == std::string::npos) return "";
  const double number = std::atof(metric.c_str() + at + std::string(kClassAccuracy).size());
  if (number < classes) return "";
  return "the objective is " + metric + ", and the last class of the data set is " +
         std::to_string(classes - 1);
}

// What a block says of its data; nullopt for one that needs a point to be read.
std::optional<cnn::NetworkSpec> data_part_of(const Template& block) {
  std::vector<Problem> problems;
  cnn::NetworkSpec spec;
  try {
    spec = cnn::parse_network(block.resolve({}).json, problems);
  } catch (const ResolveError&) {
    return std::nullopt;
  }
  for (const Problem& problem : problems)
    if (problem.pointer.starts_with("/dataset")) return std::nullopt;
  return spec;
}

// The data set that a block names.
std::optional<data::DatasetSpec> dataset_of(const Template& block) {
  const auto spec = data_part_of(block);
  return spec ? std::optional(spec->dataset) : std::nullopt;
}

// Decoded in seconds: looked at before a run is planned.
constexpr std::uint64_t kQuickBytes = std::uint64_t{1} << 28;

std::string few(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 8;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
    out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kShown) out += " and " + std::to_string(names.size() - kShown) + " more";
  return out;
}

// The classes of which the validation part has no image; counts alone tell of some.
std::string missing_classes(const cnn::NetworkSpec& spec, const data::Contents& contents,
                            const data::Dataset* data, std::uint64_t seed) {
  const cnn::DataShape shape = cnn::divided(spec, cnn::shape_of(contents));
  if (shape.validation == 0) return "";
  const std::string part = "the validation part has " + std::to_string(shape.validation) +
                           (shape.validation == 1 ? " image" : " images");
  if (data == nullptr)
    return shape.validation < shape.classes
               ? part + " for " + std::to_string(shape.classes) + " classes: some have none"
               : "";
  std::vector<bool> seen(static_cast<std::size_t>(shape.classes));
  for (const std::uint32_t sample : cnn::make_split(spec, cnn::shape_of(*data), seed).validation)
    seen[data->train.labels[sample]] = true;
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < seen.size(); ++i)
    if (!seen[i]) missing.push_back(data->class_names[i]);
  return missing.empty() ? "" : part + ", and none of class " + few(missing);
}

// Before the first trial, so that a missing file ends the run and not each of its trials.
void touch_data(const Template& block, data::Library& library) {
  if (const auto dataset = dataset_of(block)) library.contents(*dataset);
}

class CnnPlanner final : public Planner {
 public:
  explicit CnnPlanner(const TrainerSetup& setup)
      : block_(setup.config),
        library_(places_of(setup)),
        objective_(setup.objective),
        on_gpu_(cnn::wants_gpu(setup)) {
    touch_data(block_, library_);
  }

  Estimate estimate(const ParamSet& params) const override {
    Estimate out;
    try {
      const Resolved resolved = block_.resolve(params);
      std::vector<Problem> problems;
      const cnn::NetworkSpec spec = cnn::parse_network(resolved.json, problems);
      if (!problems.empty()) {
        out.infeasible = list(problems, resolved);
        return out;
      }
      const data::Contents& data = library_.contents(spec.dataset);
      const cnn::DataShape files = cnn::shape_of(data);
      cnn::DataShape shape;
      try {
        shape = cnn::divided(spec, files);
      } catch (const UserError& error) {
        out.infeasible = error.what();
        return out;
      }
      const cnn::Plan plan = cnn::make_plan(spec, shape);
      out.epochs = spec.epochs;
      out.parameters = plan.parameter_count;
      if (!plan.infeasible.empty()) {
        out.infeasible = list({{plan.infeasible_pointer, plan.infeasible}}, resolved);
        return out;
      }
      out.flops = plan.total_flops(spec.epochs, spec.evaluate_test);
      if (on_gpu_)
        cnn::estimate_on_gpu(spec, data, plan, out);
      else
        estimate_on_cpu(spec, data, plan, out);
      if (out.infeasible.empty()) out.infeasible = missing_class(objective_, shape.classes);
    } catch (const ResolveError& error) {
      out.infeasible = "/trainer" + error.problem().pointer + ": " + error.problem().message;
    }
    return out;
  }

 private:
  static void estimate_on_cpu(const cnn::NetworkSpec& spec, const data::Contents& data,
                              const cnn::Plan& plan, Estimate& out) {
    const cnn::Memory memory =
        cnn::make_memory(plan, cnn::moment_count(spec.optimizer), spec.optimizer.ema > 0.0);
    out.bytes = memory.total_bytes() + (data.made_up ? data.bytes() : 0);
    out.shared_bytes = data.made_up ? 0 : data.bytes();
    out.infeasible = memory.too_large;
  }

  const Template block_;
  mutable data::Library library_;  // thread-safe
  const std::string objective_;
  const bool on_gpu_;
};

cnn::TrainingInput input_of(const TrainerSetup& setup, const Template& block,
                            data::Library& library, const cnn::Kernels& kernels,
                            const Assignment& assignment) {
  const Resolved resolved = block.resolve(assignment.params);
  std::vector<Problem> problems;
  cnn::TrainingInput input;
  input.spec = cnn::parse_network(resolved.json, problems);
  if (!problems.empty()) throw TrialFailure(Cause::trainer, list(problems, resolved));
  input.data = library.load(input.spec.dataset);
  input.kernels = &kernels;
  input.experiment_seed = setup.seed;
  input.memory_max = setup.memory_per_trial;
  input.objective = setup.objective;
  return input;
}

}  // namespace

std::unique_ptr<Trainer> make_cnn(const TrainerSetup& setup) {
  const bool on_gpu = cnn::wants_gpu(setup);
  const cnn::Kernels& kernels = cnn::kernels_of(on_gpu ? "" : setup.numeric_class);
  Offer offer;
  offer.numeric_class = cnn::numeric_class(kernels);
  // The factory is copied; the parsed block and what it opens are shared by the copies.
  const auto block = std::make_shared<const Template>(setup.config);
  const auto library = std::make_shared<data::Library>(places_of(setup));
  touch_data(*block, *library);
  const auto input = [=, &kernels](const Assignment& assignment) {
    return input_of(setup, *block, *library, kernels, assignment);
  };
  if (on_gpu) return cnn::make_on_gpu(setup, input);
  return one_slot(offer, setup.objective, [=](const Assignment& assignment) {
    return cnn::make_training(input(assignment), assignment);
  });
}

std::unique_ptr<Planner> make_cnn_planner(const TrainerSetup& setup) {
  return std::make_unique<CnnPlanner>(setup);
}

std::unique_ptr<Training> make_cnn_training(const TrainerSetup& setup,
                                            const Assignment& assignment) {
  data::Library library(places_of(setup));
  const bool on_gpu = cnn::wants_gpu(setup);
  const cnn::Kernels& kernels = cnn::kernels_of(on_gpu ? "" : setup.numeric_class);
  auto input = input_of(setup, Template(setup.config), library, kernels, assignment);
  return on_gpu ? cnn::make_training_on_gpu(setup, std::move(input), assignment)
                : cnn::make_training(std::move(input), assignment);
}

cnn::Description describe_cnn(const TrainerSetup& setup, const Assignment& assignment) {
  data::Library library(places_of(setup));
  const cnn::Kernels& kernels = cnn::kernels_of("");  // it trains nothing
  const auto input = input_of(setup, Template(setup.config), library, kernels, assignment);
  return cnn::describe(
      input.spec, *input.data,
      setup.numeric_class.empty() ? cnn::numeric_class(kernels) : setup.numeric_class, setup.seed,
      assignment.seed);
}

DataIdentity cnn_data_identity(const TrainerSetup& setup) {
  const auto dataset = dataset_of(Template(setup.config));
  if (!dataset) return {};
  const data::DatasetKey key = data::dataset_key(*dataset, places_of(setup));
  return {key.text, dataset->format + (key.folder.empty() ? "" : " in " + key.folder)};
}

std::vector<std::string> cnn_data_notes(const TrainerSetup& setup) {
  const auto spec = data_part_of(Template(setup.config));
  if (!spec) return {};
  const data::Places places = places_of(setup);
  const data::Contents contents = data::dataset_contents(spec->dataset, places);
  std::shared_ptr<const data::Dataset> data;
  if (contents.bytes() <= kQuickBytes) data = data::load_dataset(spec->dataset, places);
  try {
    const std::string missing = missing_classes(*spec, contents, data.get(), setup.seed);
    if (missing.empty()) return {};
    return {missing + "; a larger \"validation\" measures all of them"};
  } catch (const UserError&) {
    return {};  // no point can be trained, and each says so
  }
}

void prepare_cnn(const TrainerSetup& setup) {
  const Template block(setup.config);
  if (const auto dataset = dataset_of(block)) data::load_dataset(*dataset, places_of(setup));
}

std::vector<Problem> check_cnn(const std::string& resolved_json) {
  std::vector<Problem> problems;
  cnn::parse_network(resolved_json, problems);
  return problems;
}

std::vector<std::string> cnn_metrics(const std::string& resolved_json) {
  std::vector<Problem> ignored;
  const cnn::NetworkSpec spec = cnn::parse_network(resolved_json, ignored);
  std::vector<std::string> out = {"train_loss", "train_accuracy"};
  const auto part = [&](const std::string& name) {
    out.insert(out.end(), {name + "_loss", name + "_accuracy"});
    if (spec.report_classes) out.push_back(name + kClassAccuracy);
  };
  if (spec.validation_count > 0 || spec.validation_fraction > 0.0) part("val");
  if (spec.evaluate_test) part("test");
  if (spec.report_cost) out.insert(out.end(), {"parameters", "flops", "memory_bytes"});
  return out;
}

std::vector<std::string> cnn_numeric_classes(const std::vector<Device>& gpus) {
  std::vector<std::string> out;
  for (const cnn::Kernels* kernels : cnn::available_kernels())
    out.push_back(cnn::numeric_class(*kernels));
  for (std::string& name : cnn::gpu_numeric_classes(gpus)) out.push_back(std::move(name));
  return out;
}

bool cnn_computes_in(const TrainerSetup& setup, const std::string& numeric_class) {
  const bool of_gpu = !architecture_of(numeric_class).empty();
  if (!cnn::wants_gpu(setup)) return !of_gpu;
  return of_gpu && numeric_class.find(cnn::gpu_precision_part(setup.config)) != std::string::npos;
}

Devices cnn_gpus() { return cnn::usable_gpus(); }

std::string cnn_gpu_warning() { return cnn::gpu_warning(); }

}  // namespace brood
