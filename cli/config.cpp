#include "cli/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "cli/config_block.h"
#include "cli/config_document.h"
#include "cli/config_metrics.h"
#include "cli/config_space.h"
#include "cli/config_trainer.h"
#include "cli/places.h"
#include "engine/suggest.h"
#include "engine/units.h"
#include "strategies/strategies.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kProblemsMax = 100;

// Fills a spec from the parts of a config that need no knowledge of the others.
class Reader {
 public:
  Reader(const JsonPlace& root, const std::string& path, std::vector<Problem>& problems)
      : top_(root, "", problems), path_(path), problems_(problems) {}

  ExperimentSpec read() {
    spec_.file = path_;
    if (!top_.is_object()) return spec_;
    if (const auto block = section("experiment")) experiment(*block);
    if (const auto block = section("objective")) objective(*block);
    if (const auto list = top_.find("constraints"))
      for (const JsonPlace& element : list->elements()) constraint(element);
    if (const auto block = section("budget")) budget(*block);
    if (const auto block = section("resources")) resources(*block);
    if (const auto block = section("fault_tolerance")) fault_tolerance(*block);
    output();
    if (const std::optional<std::string> folder = top_.text("data_dir"))
      spec_.data_dir = absolute("data_dir", *folder);
    if (const std::optional<std::string> folder = top_.text("cache_dir"))
      spec_.cache_dir = absolute("cache_dir", *folder);
    if (const auto block = section("warm_start")) warm_start(*block);
    const TrainerReading trainer = space_and_trainer();
    require_use_of_devices();
    if (!trainer.metrics.empty()) metrics(trainer.metrics);
    algorithms(trainer);
    if (const auto list = top_.find("initial_points"))
      for (const JsonPlace& element : list->elements()) initial_point(element);
    return spec_;
  }

 private:
  std::optional<Block> section(const std::string& name) {
    const std::optional<JsonPlace> place = top_.find(name);
    if (!place) return std::nullopt;
    return Block(*place, name, problems_, name == "trainer");
  }

  std::string absolute(const std::string& key, const std::string& path) {
    if (path.empty() || path.find('\0') != std::string::npos)
      top_.problem(key, "should be a path (is empty)");
    const fs::path folder = fs::absolute(path_.empty() ? "." : path_).parent_path();
    return (folder / path).lexically_normal().string();
  }

  void experiment(const Block& block) {
    const std::optional<std::string> name = block.text("name");
    if (name && !is_experiment_name(*name))
      block.problem("name",
                    "should be 1 to 64 letters, digits, '.', '_' or '-', the first a letter "
                    "or digit (is " +
                        block.find("name")->shown() + ")");
    spec_.name = name.value_or("");
    spec_.description = block.text("description").value_or("");
    spec_.seed = static_cast<std::uint64_t>(block.whole("seed").value_or(0));
  }

  static bool is_experiment_name(const std::string& name) {
    const auto letter = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    return !name.empty() && name.size() <= 64 && letter(name.front()) &&
           std::all_of(name.begin(), name.end(),
                       [&](char c) { return letter(c) || c == '.' || c == '_' || c == '-'; });
  }

  void objective(const Block& block) {
    spec_.objective.metric = metric_name(block);
    spec_.objective.maximize = block.text("goal") != "minimize";
    spec_.objective.reduce =
        block.text("reduce") == "best" ? Objective::Reduce::best : Objective::Reduce::last;
    spec_.objective.target = block.real("target");
  }

  std::string metric_name(const Block& block) {
    const std::string name = block.text("metric").value_or("");
    if (block.find("metric") && (name.empty() || name.size() > 64))
      block.problem("metric", "should be a name of 1 to 64 characters");
    return name;
  }

  void constraint(const JsonPlace& place) {
    const Block block(place, "constraints[]", problems_);
    if (!block.is_object()) return;
    Constraint constraint;
    constraint.metric = metric_name(block);
    constraint.min = bound(block, "min");
    constraint.max = bound(block, "max");
    if (!place.find("min") && !place.find("max"))
      problems_.push_back({place.pointer(), "constrains nothing: give it a min or a max"});
    if (constraint.min && constraint.max && *constraint.min > *constraint.max)
      block.problem("min", "is above max (" + block.find("min")->shown() + " > " +
                               block.find("max")->shown() + "): swap them");
    spec_.constraints.push_back(std::move(constraint));
  }

  static std::optional<double> bound(const Block& block, const std::string& key) {
    const std::optional<JsonPlace> place = block.find(key);
    if (!place || place->number()) return place ? place->number() : std::nullopt;
    return static_cast<double>(parse_size(*place->text()));
  }

  void budget(const Block& block) {
    spec_.budget.max_trials = block.whole("max_trials");
    spec_.budget.max_failed_trials = block.whole("max_failed_trials");
    spec_.budget.max_wall_time = block.duration("max_wall_time");
    spec_.budget.max_trial_time = block.duration("max_trial_time");
  }

  void resources(const Block& block) {
    if (const std::optional<std::int64_t> count = block.whole("executors"))
      spec_.resources.executors = static_cast<int>(*count);
    spec_.resources.memory_per_trial = block.size("memory_per_trial");
    devices(block);
  }

  void devices(const Block& block) {
    auto& names = spec_.resources.devices;
    if (const auto list = block.find("devices")) {
      for (const JsonPlace& name : list->elements()) names.push_back(*name.text());
      if (list->text() == "cpu") names.emplace_back("cpu");
    }
    const bool gpus = are_gpus(names);
    if (gpus && spec_.resources.executors)
      block.problem("executors",
                    "has no effect beside devices: the trials at a time are the devices times "
                    "trials_per_device; take it out");
    spec_.resources.trials_per_device =
        static_cast<int>(block.whole("trials_per_device").value_or(0));
  }

  // Only where the trainer can use them; never silently elsewhere.
  void require_use_of_devices() {
    const Resources& r = spec_.resources;
    const bool cnn = spec_.trainer_name == "cnn", cpu = !r.devices.empty() && !are_gpus(r.devices);
    // Chosen when the run starts, unless the number of executors is told.
    const bool automatic = cnn && r.devices.empty() && !r.executors;
    if (r.trials_per_device > 0 && cpu)
      problems_.push_back(
          {"/resources/trials_per_device", "has no effect without GPUs in devices: take it out"});
    else if (r.trials_per_device > 0 && r.devices.empty() && !automatic)
      problems_.push_back({"/resources/trials_per_device",
                           "has no effect without devices, a list like [\"cuda:0\"]: give one"});
    if (cnn) precision(cpu || (r.devices.empty() && !automatic));
    if (r.devices.empty() || cpu) return;
    const std::string why = no_gpu_reason(spec_.trainer_name);
    if (!why.empty()) problems_.push_back({"/resources/devices", why});
  }

  // Of all trials alike: it belongs to the numeric class.
  void precision(bool on_cpus) {
    const auto block = top_.find("trainer");
    const auto place = block ? block->find("precision") : std::nullopt;
    if (!place) return;
    if (!place->text())
      problems_.push_back({"/trainer/precision",
                           "cannot be searched: it belongs to the numeric class, which all trials "
                           "of an experiment share; run an experiment for each"});
    else if (on_cpus && place->text() == "bf16")
      problems_.push_back(
          {"/trainer/precision", "bf16 is for GPUs, and the config asks for CPUs: take it out"});
  }

  void fault_tolerance(const Block& block) {
    FaultTolerance& out = spec_.fault_tolerance;
    out.max_retries_per_trial = static_cast<int>(block.whole("max_retries_per_trial").value_or(2));
    out.max_initial_failures = static_cast<int>(block.whole("max_initial_failures").value_or(5));
    out.checkpoint_every_epochs =
        static_cast<int>(block.whole("checkpoint_every_epochs").value_or(0));
    out.report_timeout = block.duration("report_timeout");
  }

  void output() {
    std::string database = "experiments.db";
    if (const auto block = section("output")) {
      database = block->text("database").value_or(database);
      if (const auto place = block->find("checkpoints")) {
        const Block checkpoints(*place, "output.checkpoints", problems_);
        spec_.output.keep_best = static_cast<int>(checkpoints.whole("keep_best").value_or(1));
        spec_.output.max_bytes = checkpoints.size("max_bytes");
      }
      if (database.empty()) block->problem("database", "should be the path of a file (is empty)");
    }
    spec_.output.database = absolute("output", database.empty() ? "experiments.db" : database);
  }

  void warm_start(const Block& block) {
    WarmStart out;
    const std::string database = block.text("database").value_or("");
    if (block.find("database") && database.empty())
      block.problem("database", "should be the path of a file (is empty)");
    if (!database.empty()) out.database = absolute("warm_start", database);
    out.experiment = block.text("experiment").value_or("");
    out.best = block.whole("best");
    out.skip_outside = block.text("outside") == "skip";
    spec_.warm_start = std::move(out);
  }

  TrainerReading space_and_trainer() {
    DeclaredSpace declared;
    const std::size_t before = problems_.size();
    const std::optional<JsonPlace> space = top_.find("search_space");
    if (space) declared = read_space(*space, problems_);
    const bool space_good = space && problems_.size() == before;
    const auto block = section("trainer");
    if (!block) return {};
    spec_.trainer_name = block->text("name").value_or("");
    spec_.trainer = block->place().dump();
    TrainerReading trainer = read_trainer(block->place(), declared, space_good, problems_);
    spec_.space = trainer.space;
    space_good_ = space_good;
    return trainer;
  }

  // Where a trainer's metrics are known, a slip need not wait for the first epoch.
  void metrics(std::vector<std::string> known) {
    metric("/objective/metric", spec_.objective.metric, known);
    known.insert(known.end(), {"parameters", "flops", "memory_bytes"});
    for (std::size_t i = 0; i < spec_.constraints.size(); ++i)
      metric("/constraints/" + std::to_string(i) + "/metric", spec_.constraints[i].metric, known);
  }

  void metric(const std::string& pointer, const std::string& name,
              const std::vector<std::string>& known) {
    if (name.empty()) return;
    const std::string why = metric_problem(name, known);
    if (!why.empty()) problems_.push_back({pointer, why});
  }

  std::optional<Algorithm> algorithm(const Block& block) {
    const std::optional<std::string> name = block.text("algorithm");
    if (!name) return std::nullopt;
    const std::optional<JsonPlace> settings = block.find("settings");
    return Algorithm{*name, settings ? settings->dump() : "{}"};
  }

  void take(const std::string& where, const std::vector<Problem>& found) {
    for (const Problem& problem : found)
      problems_.push_back({where + problem.pointer, problem.message});
  }

  void algorithms(const TrainerReading& trainer) {
    if (const auto block = section("search")) {
      if (const std::optional<Algorithm> chosen = algorithm(*block)) search(*block, *chosen);
    }
    const auto block = section("early_stopping");
    if (!block) return;
    const std::optional<Algorithm> chosen = algorithm(*block);
    if (!chosen || chosen->name == "none") return;
    const int epochs = trainer.epochs.value_or(std::numeric_limits<int>::max());
    const std::vector<Problem> found = check_stopper(*chosen, epochs);
    take("/early_stopping", found);
    if (!found.empty()) return;
    spec_.stopper = Algorithm{chosen->name, with_defaults(*chosen)};
    spec_.verdict_lag = verdict_lag(*chosen);
  }

  void search(const Block& block, const Algorithm& chosen) {
    const std::vector<Problem> found = check_search(chosen, spec_.space);
    take("/search", found);
    if (!found.empty()) return;
    spec_.search = {chosen.name, with_defaults(chosen)};
    if (!space_good_) return;
    if (spec_.space.size() == 0 && chosen.name != "grid")
      problems_.push_back({"/search_space", "is empty, so \"" + chosen.name +
                                                "\" has nothing to choose: declare parameters, or "
                                                "use \"grid\" for the one trial there is"});
    else if (!spec_.budget.max_trials && !spec_.budget.max_wall_time &&
             !make_strategy(spec_)->total())
      block.problem("algorithm", "\"" + chosen.name +
                                     "\" goes on without end: give budget.max_trials or "
                                     "budget.max_wall_time");
  }

  void initial_point(const JsonPlace& place) {
    if (!space_good_) return;
    if (auto params = read_point(place, spec_.space, problems_))
      spec_.initial_points.push_back(std::move(*params));
  }

  Block top_;
  std::string path_;
  std::vector<Problem>& problems_;
  ExperimentSpec spec_;
  bool space_good_ = false;
};

// Problems at a place that --set wrote say so.
void name_overrides(const std::vector<std::string>& overrides,
                    const std::vector<std::string>& pointers, std::vector<Problem>& problems) {
  for (Problem& problem : problems)
    for (std::size_t i = 0; i < pointers.size(); ++i) {
      const bool made = problem.message.starts_with("unknown key") &&
                        pointers[i].starts_with(problem.pointer + "/");
      if (made || problem.pointer == pointers[i] ||
          problem.pointer.starts_with(pointers[i] + "/")) {
        problem.message += " (from --set " + overrides[i] + ")";
        break;
      }
    }
}

void drop_repeats(std::vector<Problem>& problems) {
  std::vector<Problem> once;
  for (Problem& problem : problems)
    if (std::find(once.begin(), once.end(), problem) == once.end())
      once.push_back(std::move(problem));
  problems = std::move(once);
}

}  // namespace

ExperimentSpec read_config_text(std::string_view text, const std::string& path,
                                const std::vector<std::string>& overrides) {
  std::vector<Problem> problems;
  try {
    Document document(text, problems);
    std::vector<std::string> pointers;
    for (const std::string& assignment : overrides) pointers.push_back(document.set(assignment));
    ExperimentSpec spec = Reader(document.root(), path, problems).read();
    if (problems.empty()) {
      spec.config = document.canonical();
      return spec;
    }
    name_overrides(overrides, pointers, problems);
    document.sort(problems);
  } catch (const ConfigError&) {
    throw;
  } catch (const UserError& error) {
    throw ConfigError(path, {{"", error.what()}});
  }
  drop_repeats(problems);
  if (problems.size() > kProblemsMax) {
    const std::size_t more = problems.size() - kProblemsMax;
    problems.resize(kProblemsMax);
    problems.push_back({"", "and " + std::to_string(more) + " more"});
  }
  throw ConfigError(path, std::move(problems));
}

ExperimentSpec read_config(const std::string& path, const std::vector<std::string>& overrides) {
  return read_config_text(read_config_file(path), path, overrides);
}

}  // namespace brood
