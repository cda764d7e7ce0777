#include "cli/config_keys.h"

#include <algorithm>
#include <array>

namespace brood {

namespace {

using Form = ConfigKey::Form;
using Need = ConfigKey::Need;

constexpr double kMost = 9007199254740992.0;  // 2^53

constexpr ConfigKey key(std::string_view section, std::string_view name, Form form,
                        std::string_view fallback, std::string_view example,
                        std::string_view meaning) {
  ConfigKey made;
  made.section = section;
  made.name = name;
  made.form = form;
  made.fallback = fallback;
  made.example = example;
  made.meaning = meaning;
  return made;
}

constexpr ConfigKey later(std::string_view section, std::string_view name,
                          std::string_view meaning) {
  ConfigKey made = key(section, name, Form::any, "", "", meaning);
  made.need = Need::later;
  return made;
}

constexpr auto kKeys = std::to_array<ConfigKey>({
    key("", "version", Form::whole, "", "1", "Version of this dialect.").between(1, 1).required(),
    key("", "experiment", Form::object, "", R"({"name": "mnist-sweep"})",
        "What it is called, and its seed.")
        .required(),
    key("", "objective", Form::object, "", R"({"metric": "val_accuracy", "goal": "maximize"})",
        "What is optimised.")
        .required(),
    key("", "constraints", Form::list, "[]", R"([{"metric": "parameters", "max": 1500000}])",
        "What a trial must keep to; one that breaks a constraint is infeasible."),
    key("", "search_space", Form::object, "", R"({"dropout": [0.3, 0.5]})",
        "The parameters, in the order in which tables show them.")
        .required(),
    key("", "search", Form::object, "", R"({"algorithm": "grid"})", "What to try next.").required(),
    key("", "early_stopping", Form::object, "", R"({"algorithm": "median"})",
        "When to give up on a trial; left out, every trial trains to its end."),
    key("", "budget", Form::object, "{}", R"({"max_trials": 100})", "When the run ends."),
    key("", "resources", Form::object, "{}", R"({"executors": 4})", "What the run may use."),
    key("", "fault_tolerance", Form::object, "{}", R"({"max_retries_per_trial": 2})",
        "What happens to trials that crash or fall silent."),
    key("", "output", Form::object, "{}", R"({"database": "experiments.db"})", "Where results go."),
    key("", "initial_points", Form::list, "[]", R"([{"dropout": 0.3}])",
        "Points to try first, each with all the parameters that are active in it."),
    key("", "warm_start", Form::object, "", R"({"database": "old.db"})",
        "Results of another experiment, told to the search before it begins."),
    key("", "data_dir", Form::text, "", R"("data")",
        "Folder of the data sets; left out, the usual places of the system are searched."),
    key("", "cache_dir", Form::text, "", R"("cache")",
        "Folder for decoded data, which all workers of a machine share; left out, "
        "`$XDG_CACHE_HOME/brood` or `~/.cache/brood`."),
    key("", "trainer", Form::object, "", R"({"name": "cnn"})",
        "How a point becomes a metric; anything in it may refer to parameters.")
        .required(),
    key("", "$schema", Form::text, "", R"("config.schema.json")",
        "For editors; brood does not read it."),
    later("", "objectives", "this version optimises one objective"),
    later("", "repeats",
          "until then run the config again with another experiment.name and experiment.seed"),
    later("", "reproducible", "this version is always reproducible"),

    key("experiment", "name", Form::text, "", R"("mnist-sweep")",
        "Names the experiment in the database: letters, digits, `.`, `_` and `-`.")
        .required(),
    key("experiment", "description", Form::text, R"("")", R"("first try")", "A note for people."),
    key("experiment", "seed", Form::whole, "0", "42", "All randomness of the run follows from it.")
        .between(0, 9223372036854774784.0),

    key("objective", "metric", Form::text, "", R"("val_accuracy")",
        "A metric that the trainer reports after each epoch.")
        .required(),
    key("objective", "goal", Form::choice, "", R"("maximize")", "Which direction is better.")
        .one_of("maximize|minimize")
        .required(),
    key("objective", "target", Form::real, "", "0.94",
        "The run ends once a completed trial is at least this good."),
    key("objective", "reduce", Form::choice, R"("last")", R"("best")",
        "Which of a trial's epochs counts.")
        .one_of("last|best"),

    key("constraints[]", "metric", Form::text, "", R"("parameters")",
        "A metric, or `parameters`, `flops` or `memory_bytes`, which are known before training.")
        .required(),
    key("constraints[]", "min", Form::bound, "", "0.5",
        "Smallest value allowed: a number or a size."),
    key("constraints[]", "max", Form::bound, "", R"("1GiB")",
        "Largest value allowed: a number or a size."),

    key("search_space.*", "type", Form::choice, "", R"("float")",
        "What kind of value; may be left out beside `values`.")
        .one_of("float|int|bool|categorical|ordinal|constant"),
    key("search_space.*", "distribution", Form::choice, R"("uniform")", R"("log_uniform")",
        "float and int with a range: how values are drawn.")
        .one_of("uniform|log_uniform"),
    key("search_space.*", "min", Form::real, "", "0.0001",
        "float and int: the smallest value, included."),
    key("search_space.*", "max", Form::real, "", "0.1",
        "float and int: the largest value, included."),
    key("search_space.*", "step", Form::real, "", "0.05",
        "float and int: only min, min + step, ... up to max."),
    key("search_space.*", "values", Form::list, "", "[16, 32, 64]",
        "The values to choose from; in a meaningful order unless the type is categorical."),
    key("search_space.*", "value", Form::any, "", "64", "constant: the value."),
    key("search_space.*", "when", Form::object, "", R"({"optimizer": ["sgd"]})",
        "The parameter exists only where all these conditions on earlier parameters hold."),

    key("search", "algorithm", Form::text, "", R"("random")", "The algorithm.").required(),
    key("search", "settings", Form::object, "{}", R"({"population_size": 16})",
        "The algorithm's own settings."),

    key("early_stopping", "algorithm", Form::text, "", R"("asha")",
        "The algorithm; `none` for none.")
        .required(),
    key("early_stopping", "settings", Form::object, "{}", R"({"min_epochs": 2})",
        "The algorithm's own settings."),

    key("budget", "max_trials", Form::whole, "", "100",
        "Number of trials; duplicates do not count.")
        .between(1, kMost),
    key("budget", "max_failed_trials", Form::whole, "", "10",
        "The run ends when more trials than this have failed, counted in the order of their "
        "numbers.")
        .between(0, kMost),
    key("budget", "max_wall_time", Form::duration, "", R"("2h")",
        "The run ends after this time; `resume` starts it anew."),
    key("budget", "max_trial_time", Form::duration, "", R"("10m")",
        "An attempt at a trial fails after this time."),

    key("resources", "executors", Form::executors, R"("auto")", "4",
        "Trials trained side by side; `auto`: one on each core. Changes the time, never the "
        "results.")
        .between(1, 65536),
    key("resources", "memory_per_trial", Form::size, "", R"("1GiB")",
        "A trial that is planned to need more is infeasible, and one that takes more is ended."),
    key("resources", "devices", Form::devices, R"("auto")", R"(["cuda:0", "cuda:1"])",
        "Where trials are trained; `auto`: cnn on GPUs that it can use, else on CPU cores; "
        "programs "
        "where they like."),
    key("resources", "trials_per_device", Form::executors, R"("auto")", "2",
        "Trials at a time on each GPU; `auto`: for cnn as many as fit and raise "
        "the throughput, at most 64; for programs 1.")
        .between(1, 1024),

    key("fault_tolerance", "max_retries_per_trial", Form::whole, "2", "2",
        "Further attempts at a trial that crashed by its own doing; a lost machine is never "
        "counted.")
        .between(0, 1000),
    key("fault_tolerance", "max_initial_failures", Form::whole, "5", "5",
        "The run ends when its first trials, this many, all failed for one reason; 0: never.")
        .between(0, 1000000),
    key("fault_tolerance", "checkpoint_every_epochs", Form::whole, "0", "1",
        "How often a trial is saved, so that a crash costs little; 0: never.")
        .between(0, 1000000),
    key("fault_tolerance", "report_timeout", Form::duration, "", R"("5m")",
        "An attempt that is silent for this long fails."),
    later("fault_tolerance", "on_error",
          "a failed trial is recorded and the run goes on up to budget.max_failed_trials"),

    key("output", "database", Form::text, R"("experiments.db")", R"("results/mnist.db")",
        "The SQLite file of all results."),
    key("output", "checkpoints", Form::object, "{}", R"({"keep_best": 3})",
        "Which checkpoints are kept."),
    later("output", "logs", "until then the logs lie beside the database"),

    key("output.checkpoints", "keep_best", Form::whole, "1", "3",
        "Checkpoints of this many best trials are kept.")
        .between(0, 1000000),
    key("output.checkpoints", "max_bytes", Form::size, "", R"("2GiB")",
        "Room for all checkpoints together; older ones of worse trials go first."),

    key("warm_start", "database", Form::text, "", R"("old.db")",
        "Where it is; read once, when this experiment is made.")
        .required(),
    key("warm_start", "experiment", Form::text, "", R"("first-sweep")",
        "Which one; left out, the newest there."),
    key("warm_start", "best", Form::whole, "", "16", "Only so many, the best; left out, all.")
        .between(1, kMost),
    key("warm_start", "outside", Form::choice, R"("refuse")", R"("skip")",
        "What happens to a trial whose parameters are not in this space.")
        .one_of("refuse|skip"),

    key("trainer", "name", Form::text, "", R"("cnn")",
        "The trainer; all other keys of the block are its own.")
        .required(),
});

std::string number(double value) {
  return value >= kMost ? "2^53" : std::to_string(static_cast<std::int64_t>(value));
}

std::string quoted_choices(std::string_view choices) {
  std::string text;
  while (!choices.empty()) {
    const std::size_t bar = std::min(choices.find('|'), choices.size());
    const bool last = bar == choices.size();
    text += (text.empty() ? ""
             : last       ? " or "
                          : ", ") +
            ("\"" + std::string(choices.substr(0, bar))) + "\"";
    choices.remove_prefix(last ? bar : bar + 1);
  }
  return text;
}

}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

std::vector<std::string_view> config_sections() {
  std::vector<std::string_view> sections;
  for (const ConfigKey& key : kKeys)
    if (sections.empty() || sections.back() != key.section) sections.push_back(key.section);
  return sections;
}

const ConfigKey* find_key(std::string_view section, std::string_view name) {
  for (const ConfigKey& key : kKeys)
    if (key.section == section && key.name == name) return &key;
  return nullptr;
}

std::string wanted(const ConfigKey& key) {
  switch (key.form) {
    case Form::text:
      return "a text in quotes";
    case Form::flag:
      return "true or false";
    case Form::whole:
      if (key.min == key.max) return number(key.min);
      if (key.max >= kMost) return "a whole number of at least " + number(key.min);
      return "a whole number from " + number(key.min) + " to " + number(key.max);
    case Form::real:
      return "a number";
    case Form::choice:
      return quoted_choices(key.choices);
    case Form::duration:
      return "a duration in quotes, like \"90s\", \"30m\" or \"1h30m\"";
    case Form::size:
      return "a size in quotes, like \"512MiB\" or \"2GiB\", or a number of bytes";
    case Form::list:
      return "a list";
    case Form::object:
      return "an object";
    case Form::executors:
      return "\"auto\" or a whole number of at least 1";
    case Form::devices:
      return R"("auto", "cpu" or a list of GPUs like ["cuda:0", "cuda:1"])";
    case Form::bound:
      return "a number, or a size in quotes like \"512MiB\"";
    case Form::any:
      break;
  }
  return "a value";
}

}  // namespace brood
