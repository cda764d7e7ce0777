// The table of contents of the command line: every subcommand with its arguments. The one place
// that catches errors.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/control.h"
#include "cli/data.h"
#include "cli/doctor.h"
#include "cli/export.h"
#include "cli/plan.h"
#include "cli/predict.h"
#include "cli/questions.h"
#include "cli/replay.h"
#include "cli/run.h"
#include "cli/status_file.h"
#include "cli/train.h"
#include "engine/error.h"
#include "engine/message.h"
#include "engine/suggest.h"
#include "engine/units.h"
#include "engine/worker_main.h"
#include "trainers/trainers.h"

namespace brood {
namespace {

using Takes = Argument::Takes;

struct Command {
  std::string name, summary;
  std::vector<Argument> arguments;
  std::function<int(const Arguments&)> run;
};

Argument positional(std::string name, std::string help, bool required) {
  return {std::move(name), Takes::one, std::move(help), true, required};
}
Argument option(std::string name, std::string help) {
  return {std::move(name), Takes::one, std::move(help), false, false};
}
Argument flag(std::string name, std::string help) {
  return {std::move(name), Takes::nothing, std::move(help), false, false};
}
Argument many(std::string name, std::string help) {
  return {std::move(name), Takes::many, std::move(help), false, false};
}

const Argument kWhere = positional("where", "database or config (default: experiments.db)", false);
const Argument kDatabase = option("db", "database or config (default: experiments.db)");
const Argument kExperiment = option("experiment,e", "which experiment (default: the newest)");
const Argument kJson = flag("json", "for programs");
const Argument kCsv = flag("csv", "for spreadsheets");

Where where(const Arguments& a) {
  if (!a.text("where").empty() && !a.text("db").empty())
    throw UserError("name the database once: \"" + a.text("where") + "\" or --db \"" +
                    a.text("db") + "\"");
  return {a.text("where").empty() ? a.text("db") : a.text("where"), a.text("experiment")};
}

Format format(const Arguments& a) {
  if (a.has("json") && a.has("csv")) throw UserError("choose one of --json and --csv");
  return a.has("json") ? Format::json : a.has("csv") ? Format::csv : Format::people;
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const auto comma = std::min(text.find(',', at), text.size());
    if (comma > at) out.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return out;
}

Display display(const Arguments& a) {
  const std::string word = a.text("progress");
  if (a.has("quiet")) return Display::quiet;
  if (word.empty() || word == "auto") return Display::automatic;
  if (word == "live") return Display::live;
  if (word == "lines") return Display::lines;
  if (word == "none") return Display::quiet;
  throw UserError("--progress should be auto, live, lines or none (is \"" + word + "\")");
}

int run_or_resume(const Arguments& a, bool resume) {
  RunOptions options;
  options.config = a.text("config");
  options.experiment = a.text("experiment");
  options.overrides = a.list("set");
  if (const auto executors = a.whole("executors", 1))
    options.executors = static_cast<int>(*executors);
  options.display = display(a);
  options.resume = resume;
  options.events = a.text("events");
  if (!a.text("lease").empty()) {
    options.lease = parse_duration(a.text("lease"));
    if (options.lease < Millis{1000} || options.lease > Millis{3600000})
      throw UserError("--lease should be from 1s to 1h (is \"" + a.text("lease") + "\")");
  }
  return run_command(options);
}

std::vector<Command> run_commands() {
  const std::vector<Argument> common = {
      many("set", "override one value of the config: --set trainer.epochs=3"),
      option("executors,j", "trials at a time (under mpirun: on each rank)"),
      option("events", "a database of this experiment: what came from outside there is repeated"),
      option("lease", "under mpirun: a host that is silent for so long is lost (default: 10s)"),
      option("progress", "auto, live, lines or none"),
      flag("quiet,q", "no progress")};
  std::vector<Argument> run = {positional("config", "the experiment", true)};
  std::vector<Argument> resume = {positional("config", "a config or a database", true),
                                  kExperiment};
  run.insert(run.end(), common.begin(), common.end());
  resume.insert(resume.end(), common.begin(), common.end());
  return {{"run", "Runs an experiment, or goes on with it if the database knows it.", run,
           [](const Arguments& a) { return run_or_resume(a, false); }},
          {"resume", "Goes on with an experiment that was interrupted or is to run longer.", resume,
           [](const Arguments& a) { return run_or_resume(a, true); }},
          {"plan",
           "Checks a config and says what a run will cost, without running it.",
           {positional("config", "the experiment", true),
            many("set", "override one value of the config"),
            option("executors,j", "trials at a time"), kJson},
           [](const Arguments& a) {
             PlanOptions options;
             options.config = a.text("config");
             options.overrides = a.list("set");
             if (const auto n = a.whole("executors", 1)) options.executors = static_cast<int>(*n);
             options.json = a.has("json");
             return plan_command(options, std::cout);
           }},
          {"doctor",
           "Checks this machine, or each rank under mpirun, and a database.",
           {kWhere, kDatabase, kExperiment,
            flag("verify", "make every proposal of the record again and compare"), kJson},
           [](const Arguments& a) {
             return doctor_command({where(a), a.has("verify"), format(a)}, std::cout);
           }}};
}

std::vector<Command> trial_commands() {
  const Argument trial = positional("trial", "its number", true);
  return {
      {"show",
       "Everything about one trial.",
       {trial, kWhere, kDatabase, kExperiment, kJson},
       [](const Arguments& a) {
         return show_command({where(a), *a.whole("trial", 0), format(a)}, std::cout);
       }},
      {"logs",
       "What a trial printed.",
       {trial, kWhere, kDatabase, kExperiment, option("attempt", "one attempt only")},
       [](const Arguments& a) {
         std::optional<int> attempt;
         if (const auto n = a.whole("attempt", 1)) attempt = static_cast<int>(*n);
         return logs_command({where(a), *a.whole("trial", 0), attempt}, std::cout);
       }},
      {"why",
       "Why a trial waits, stopped or failed; without a number: why the run stands.",
       {positional("trial", "its number", false), kWhere, kDatabase, kExperiment},
       [](const Arguments& a) {
         Where place = where(a);
         // The one argument may as well be the database.
         const std::string word = a.text("trial");
         const bool number = word.find_first_not_of("0123456789") == std::string::npos;
         if (!number && place.database.empty()) place.database = word;
         if (!number && place.database == word) return why_command({place, {}}, std::cout);
         return why_command({place, a.whole("trial", 0)}, std::cout);
       }},
      {"replay",
       "Trains a trial, or all of them, again and compares the metrics bit for bit.",
       {positional("trial", "its number", false), kWhere, kDatabase, kExperiment,
        flag("all", "every trial that completed or was stopped")},
       [](const Arguments& a) {
         Where place = where(a);
         const bool all = a.has("all");
         // With --all the one argument may only be the database.
         if (all && a.has("trial") && !place.database.empty())
           throw UserError("replay --all takes no trial's number (is \"" + a.text("trial") + "\")");
         if (all && a.has("trial")) place.database = a.text("trial");
         if (!all && !a.has("trial"))
           throw UserError("replay takes the number of a trial, or --all");
         return replay_command({place, all ? std::nullopt : a.whole("trial", 0)}, std::cout);
       }},
      {"compare",
       "What differs between trials.",
       {{"trial", Takes::many, "their numbers", true, true}, kDatabase, kExperiment, kJson, kCsv},
       [](const Arguments& a) {
         CompareOptions options{where(a), {}, format(a)};
         for (const std::string& word : a.list("trial")) {
           Arguments one("compare", {positional("trial", "", true)}, {word});
           options.trials.push_back(*one.whole("trial", 0));
         }
         return compare_command(options, std::cout);
       }}};
}

std::vector<Command> table_commands() {
  return {{"status",
           "How a run goes, also while it runs.",
           {kWhere, kDatabase, kExperiment, flag("watch,w", "again every second"), kJson},
           [](const Arguments& a) {
             return status_command({where(a), a.has("watch"), format(a)}, std::cout);
           }},
          {"best",
           "The best trials.",
           {kWhere, kDatabase, kExperiment, option("count,n", "how many (default: 10)"),
            flag("config", "the winner as a config to run"), kJson, kCsv},
           [](const Arguments& a) {
             return best_command(
                 {where(a), a.whole("count", 1).value_or(10), a.has("config"), format(a)},
                 std::cout);
           }},
          {"query",
           "Trials that fulfil a condition: \"val_accuracy > 0.9 and optimizer = 'adam'\".",
           {positional("filter", "condition on parameters, metrics and states", false), kDatabase,
            kExperiment, option("sort", "names; a leading - sorts from the largest"),
            option("limit", "rows at most"), option("columns", "names, separated by commas"),
            option("sql", "a SELECT of your own instead"), kJson, kCsv},
           [](const Arguments& a) {
             QueryOptions options;
             options.where = where(a);
             options.filter = a.text("filter");
             options.columns = split_commas(a.text("columns"));
             options.sort = split_commas(a.text("sort"));
             options.limit = a.whole("limit", 0);
             options.sql = a.text("sql");
             options.format = format(a);
             return query_command(options, std::cout);
           }},
          {"importance",
           "Which parameters moved the objective.",
           {kWhere, kDatabase, kExperiment, kJson, kCsv},
           [](const Arguments& a) {
             return importance_command({where(a), format(a)}, std::cout);
           }}};
}

int data_command(const Arguments& a) {
  const std::string action = a.text("action").empty() ? "list" : a.text("action");
  if (action == "describe") {
    if (!a.text("remove").empty())
      throw UserError("brood data describe takes no --remove; did you mean brood data cache?");
    if (a.text("what").empty())
      throw UserError(
          "brood data describe: which one? Name a config or a data set; `brood data` "
          "lists them");
    return data_describe_command(
        {a.text("what"), a.text("data-dir"), a.text("sheet"), a.has("json")}, std::cout);
  }
  if (action == "cache") {
    for (const std::string name : {"data-dir", "sheet"})
      if (!a.text(name).empty()) throw UserError("brood data cache takes no --" + name);
    return data_cache_command({a.text("what"), a.text("remove"), a.has("json")}, std::cout);
  }
  if (action != "list")
    throw UserError("brood data: there is no \"" + action + "\"" +
                    did_you_mean(action, {"list", "describe", "cache"}) +
                    "; there are list, describe and cache");
  for (const std::string name : {"what", "sheet", "remove"})
    if (!a.text(name).empty())
      throw UserError("brood data list takes no " + name + "; did you mean brood data " +
                      (name == "remove" ? "cache?" : "describe?"));
  return data_list_command({a.text("data-dir"), a.has("json")}, std::cout);
}

Command data_commands() {
  return {"data",
          "Which data sets are there, what one is like, and what is kept of them decoded.",
          {positional("action", "list (the default), describe or cache", false),
           positional("what", "a config, a data set, or {\"name\": {settings}}", false),
           option("remove", "cache: forget this decoded data set, or all"),
           option("data-dir", "the folder to look in"),
           option("sheet", "describe: write a contact sheet to this PNG file"), kJson},
          data_command};
}

int train(const Arguments& a) {
  TrainOptions options;
  options.where = {a.text("config"), a.text("experiment")};
  options.trial = a.whole("trial", 0);
  options.overrides = a.list("set");
  options.params = a.list("param");
  options.save = a.text("save");
  if (const auto epoch = a.whole("epoch", 1)) options.epoch = static_cast<int>(*epoch);
  options.quiet = a.has("quiet");
  options.format = format(a);
  return train_command(options, std::cout);
}

int predict(const Arguments& a) {
  PredictOptions options;
  options.model = a.text("model");
  options.files = a.list("files");
  options.test = a.has("test");
  options.data_dir = a.text("data-dir");
  options.top = static_cast<int>(std::min<std::int64_t>(a.whole("top", 1).value_or(3), 65536));
  options.logits = a.has("logits");
  if (a.has("top") && (options.logits || options.test))
    throw UserError(std::string("brood predict: --top has no effect with ") +
                    (options.test ? "--test, which counts" : "--logits, which shows all classes") +
                    "; leave it out");
  options.format = format(a);
  return predict_command(options, std::cout);
}

std::vector<Command> model_commands() {
  return {
      {"train",
       "Trains one configuration, here and now, to a model.",
       {positional("config", "a config; with --trial a database or the config that names it", true),
        many("set", "override one value of the config: --set trainer.epochs=3"),
        many("param", "a parameter of the search space: --param learning_rate=0.01"),
        option("trial,t", "train this trial of the record again"), kExperiment,
        option("save,s", "the model's file; an interrupted training goes on from beside it"),
        option("epoch", "the last epoch to train (default: all)"), flag("quiet,q", "no lines"),
        kJson},
       train},
      {"export",
       "Writes a trial's model for other programs.",
       {positional("where", "database or config (default: experiments.db), or a model", false),
        kDatabase, kExperiment, option("trial,t", "which trial (default: the best)"),
        option("onnx", "an ONNX file to write"),
        option("weights", "a safetensors file to write, for brood predict")},
       [](const Arguments& a) {
         return export_command({where(a), a.whole("trial", 0), a.text("onnx"), a.text("weights")},
                               std::cout);
       }},
      {"predict",
       "Classifies pictures with a saved model.",
       {positional("model", "what train --save or export --weights wrote, or a checkpoint", true),
        {"files", Takes::many, "pictures: JPEG, PNG, or IDX with many", true, false},
        flag("test", "the data set's test part instead, with its accuracy"),
        option("data-dir", "where that data set lies (default: the usual places)"),
        option("top,k", "classes to show of each (default: 3)"),
        flag("logits", "all numbers before the softmax"),
        kJson,
        kCsv},
       predict}};
}

int control(const Arguments& a, ControlOptions options) {
  options.where = where(a);
  return control_command(options, std::cout);
}

bool looks_like_file(const std::string& word) {
  std::error_code ignored;
  return word.ends_with(".json") || word.ends_with(".db") || word.find('/') != std::string::npos ||
         std::filesystem::is_regular_file(word, ignored);
}

// `brood set max_trials 40`, or max_trials=40: a value that starts with a dash is no option then.
int set_limit(const Arguments& a) {
  ControlOptions options;
  options.command = "set";
  options.key = a.text("limit");
  options.value = a.text("value");
  const std::size_t equals = options.key.find('=');
  Where place = {a.text("db"), a.text("experiment")};
  if (equals != std::string::npos) {
    // Then the second word is the database.
    if (!options.value.empty()) place.database = options.value;
    options.value = options.key.substr(equals + 1);
    options.key.resize(equals);
  } else if (!a.text("where").empty()) {
    place.database = a.text("where");
  } else if (looks_like_file(options.value)) {
    throw UserError("brood set " + options.key + ": VALUE is missing: \"" + options.value +
                    "\" is a file; write `brood set " + options.key + " VALUE " + options.value +
                    "`");
  }
  if (options.value.empty()) throw UserError("brood set: VALUE is missing; see `brood set --help`");
  options.where = place;
  return control_command(options, std::cout);
}

std::vector<Command> control_commands() {
  const auto plain = [](std::string name) {
    return [name](const Arguments& a) {
      ControlOptions options;
      options.command = name;
      options.now = name == "pause" && a.has("now");
      return control(a, options);
    };
  };
  return {{"pause",
           "Starts no more trials in a running experiment; those that run go on.",
           {kWhere, kDatabase, kExperiment, flag("now", "they stop too, at their next checkpoint")},
           plain("pause")},
          {"continue", "Ends a pause.", {kWhere, kDatabase, kExperiment}, plain("continue")},
          {"stop",
           "Ends a run as Ctrl-C does; `brood resume` goes on.",
           {kWhere, kDatabase, kExperiment},
           plain("stop")},
          {"cancel",
           "Ends one trial of a running experiment.",
           {positional("trial", "its number", true), kWhere, kDatabase, kExperiment,
            option("why", "the reason, for the record")},
           [](const Arguments& a) {
             ControlOptions options;
             options.command = "cancel";
             options.trial = *a.whole("trial", 0);
             options.why = a.text("why");
             return control(a, options);
           }},
          {"add",
           "Adds a trial of your own to a running experiment: '{\"dropout\": 0.3}'.",
           {positional("params", "all parameters that are active in it, as JSON", true), kWhere,
            kDatabase, kExperiment},
           [](const Arguments& a) {
             ControlOptions options;
             options.command = "add";
             options.params = a.text("params");
             return control(a, options);
           }},
          {"set",
           "Sets a limit of a running experiment: max_trials 40.",
           {positional("limit", "max_trials, max_failed_trials, max_wall_time or target", true),
            positional("value", "its value, as in the config, or none", false), kWhere, kDatabase,
            kExperiment},
           set_limit}};
}

std::vector<Command> commands() {
  std::vector<Command> out = run_commands();
  out.push_back(data_commands());
  for (auto& command : model_commands()) out.push_back(std::move(command));
  for (auto& command : table_commands()) out.push_back(std::move(command));
  for (auto& command : trial_commands()) out.push_back(std::move(command));
  for (auto& command : control_commands()) out.push_back(std::move(command));
  return out;
}

int help(std::ostream& out) {
  out << "brood: hyperparameter search that gives the same answer twice\n\n"
         "Usage: brood COMMAND [arguments]\n\n";
  for (const Command& command : commands()) {
    std::string name = command.name;
    name.resize(9, ' ');
    out << "  " << name << " " << command.summary << "\n";
  }
  out << "\n`brood COMMAND --help` says more. On a cluster:\n"
         "scripts/brood-mpirun -n 9 brood run sweep.json (docs/cluster.md).\n"
         "Exit status: 0 done, 1 nothing to show or too many trials failed, 2 an error,\n"
         "75 interrupted and resumable.\n";
  return 0;
}

int dispatch(const std::vector<std::string>& words) {
  if (words.empty()) {
    help(std::cerr);
    return 2;
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") return help(std::cout);
  if (words[0] == "--version" || words[0] == "version") {
    std::cout << "brood " << build_id() << "\n";
    return 0;
  }
  if (words[0] == "worker") return worker_main(Descriptor(kControlDescriptor), make_trainer);
  const auto all = commands();
  const auto command =
      std::find_if(all.begin(), all.end(), [&](const Command& c) { return c.name == words[0]; });
  if (command == all.end()) {
    std::vector<std::string> names;
    for (const Command& c : all) names.push_back(c.name);
    throw UserError("brood has no command \"" + words[0] + "\"" + did_you_mean(words[0], names) +
                    "; see `brood --help`");
  }
  // Under mpirun everybody runs, and one asks.
  const bool runs =
      command->name == "run" || command->name == "resume" || command->name == "doctor";
  const char* rank = std::getenv("PMIX_RANK");
  if (!runs && rank != nullptr && std::string(rank) != "0") return 0;
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  if (std::find(rest.begin(), rest.end(), "--help") != rest.end() ||
      std::find(rest.begin(), rest.end(), "-h") != rest.end()) {
    std::cout << usage(command->name, command->summary, command->arguments);
    return 0;
  }
  return command->run(Arguments(command->name, command->arguments, rest));
}

}  // namespace
}  // namespace brood

int main(int argc, char** argv) {
  const brood::StatusFile status_file;
  try {
    const int status = brood::dispatch({argv + 1, argv + argc});
    std::cout.flush();
    status_file.ended(status);
    return status;
  } catch (const brood::UserError& error) {
    std::cout.flush();
    std::fprintf(stderr, "%s\n", error.what());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "brood: out of memory\n");
  }
  status_file.ended(2);
  return 2;
}
