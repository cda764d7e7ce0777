#include "cli/run.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/config.h"
#include "cli/questions.h"
#include "cli/run_log.h"
#include "engine/controller.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/local.h"
#include "engine/mpi.h"
#include "engine/node.h"
#include "engine/units.h"
#include "store/query.h"
#include "store/sqlite_store.h"
#include "strategies/strategies.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

// What the signal handler ends. Set while a controller runs.
std::atomic<Controller*> running{nullptr};

void on_signal(int) {
  if (Controller* controller = running.load()) controller->interrupt();
}

// The first signal drains; a second one of Ctrl-C or SIGTERM ends the process at once, and the
// kernel its workers.
class Signals {
 public:
  explicit Signals(Controller& controller) {
    running = &controller;
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
      struct sigaction action {};
      action.sa_handler = on_signal;
      action.sa_flags = signal == SIGUSR1 ? 0 : static_cast<int>(SA_RESETHAND);
      sigaction(signal, &action, nullptr);
    }
  }
  ~Signals() { running = nullptr; }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
};

bool is_database(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic(15, '\0');
  file.read(magic.data(), 15);
  return magic == "SQLite format 3";
}

// What the database knows of this experiment; nullopt: nothing yet.
std::optional<ExperimentRecord> record_of(const std::string& database, const std::string& name) {
  std::error_code ignored;
  if (!fs::exists(database, ignored) || fs::is_empty(database, ignored)) return std::nullopt;
  Reader reader(database);
  const auto names = reader.experiments();
  if (std::find(names.begin(), names.end(), name) == names.end()) return std::nullopt;
  return reader.experiment(name);
}

ExperimentSpec load(const RunOptions& options) {
  if (!options.resume || !is_database(options.config))
    return read_config(options.config, options.overrides);
  Reader reader(options.config);
  const ExperimentRecord record = reader.experiment(options.experiment);
  const auto sessions = reader.sessions(record);
  const std::string origin =
      sessions.empty() ? options.config : sessions.back().session.config_file;
  ExperimentSpec spec = read_config_text(record.config, origin, options.overrides);
  spec.output.database = fs::absolute(options.config).lexically_normal().string();
  return spec;
}

// The limit that decides which points are infeasible must not change when the machine does: it is
// resolved once and kept in the stored config.
void resolve_memory(ExperimentSpec& spec, const std::optional<ExperimentRecord>& record,
                    std::uint64_t machine_bytes, int sharers) {
  if (spec.resources.memory_per_trial) return;
  std::uint64_t bytes = machine_bytes / 10 * 9 / static_cast<std::uint64_t>(std::max(1, sharers));
  if (record) {
    const Json known = parse_json(record->config);
    const auto resources = known.find("resources");
    if (resources != known.end() && resources->contains("memory_per_trial") &&
        (*resources)["memory_per_trial"].is_string())
      bytes = parse_size((*resources)["memory_per_trial"].get<std::string>());
  }
  bytes = bytes >> 20 << 20;
  spec.resources.memory_per_trial = bytes;
  Json config = parse_json(spec.config);
  config["resources"]["memory_per_trial"] = std::to_string(bytes >> 20) + "MiB";
  spec.config = config.dump();
}

void require_same(const ExperimentSpec& spec, const ExperimentRecord& record) {
  std::string refused;
  for (const ConfigChange& change : compare_configs(record.config, spec.config))
    if (!change.allowed) refused += "\n  " + to_text(change);
  if (!refused.empty())
    throw UserError(spec.file + ": experiment \"" + spec.name + "\" is in " + spec.output.database +
                    " already, with another config:" + refused +
                    "\nGive this one a name of its own (experiment/name), or undo the change");
}

Session session_of(const ExperimentSpec& spec, int executors, const char* launcher) {
  Session session;
  utsname machine{};
  uname(&machine);
  session.host = machine.nodename;
  session.pid = getpid();
  session.started_us = SystemClock().wall_us();
  session.executors = executors;
  session.launcher = launcher;
  session.version = build_id();
  session.config_file = fs::absolute(spec.file).lexically_normal().string();
  return session;
}

// As people would type it from here.
std::string near(const std::string& path) {
  const std::string relative = fs::proximate(path).string();
  return relative.starts_with("..") ? path : relative;
}

void say_what_comes(const ExperimentSpec& spec, int executors, bool known) {
  std::printf("%s \"%s\": %s search, seed %llu, %d executor%s, database %s\n",
              known ? "Going on with" : "Starting", spec.name.c_str(), spec.search.name.c_str(),
              static_cast<unsigned long long>(spec.seed), executors, executors == 1 ? "" : "s",
              near(spec.output.database).c_str());
  std::fflush(stdout);
}

int say_how_it_ended(const ExperimentSpec& spec, const Ending& ending, const RunOptions& options) {
  const std::string config = near(spec.file);
  if (ending.state == "interrupted") {
    std::printf("Interrupted: %s. Nothing is lost; go on with: brood resume %s\n",
                ending.why.c_str(), config.c_str());
    return kExitInterrupted;
  }
  std::printf("%s%s%s.\n", ending.state == "failed" ? "Failed" : "Completed",
              ending.why.empty() ? "" : ": ", ending.why.c_str());
  if (options.display != Display::quiet) {
    std::printf("\n");
    std::fflush(stdout);
    BestOptions best;
    best.where = {spec.output.database, spec.name};
    best_command(best, std::cout);
    std::cout.flush();
  }
  return ending.state == "failed" ? kExitFailed : 0;
}

}  // namespace

int run_command(const RunOptions& options) {
  const bool cluster = launched_under_mpi() && mpi_size() > 1;
  if (cluster && mpi_rank() > 0) return serve_rank({describe_node(numeric_classes()), {}});

  ExperimentSpec spec = load(options);
  const auto record = record_of(spec.output.database, spec.name);
  if (options.resume && !record)
    throw UserError(spec.output.database + ": there is no experiment \"" + spec.name +
                    "\" to resume; start it with `brood run`");
  const NodeHello self = describe_node(numeric_classes());
  ControllerOptions controls;
  controls.nodes = cluster ? mpi_size() - 1 : 1;
  controls.workers_per_node =
      options.executors.value_or(spec.resources.executors.value_or(cluster ? 1 : self.cores));
  controls.lease = cluster ? Millis{10000} : Millis{0};
  const int executors = controls.nodes * controls.workers_per_node;
  resolve_memory(spec, record, self.bytes,
                 controls.workers_per_node * (cluster ? mpi_local_size() : 1));
  if (record) require_same(spec, *record);
  controls.session = session_of(spec, executors, cluster ? "mpi" : "local");
  controls.base_dir = fs::absolute(spec.file).parent_path().lexically_normal().string();
  // Only the built-in trainer's bits depend on what the machine can compute.
  controls.numeric_class = spec.trainer_name == "cnn" ? "" : "any";
  controls.files_dir = spec.output.database + ".files/" + spec.name;

  const auto strategy = make_strategy(spec);
  controls.session.expected = strategy->total();
  if (spec.budget.max_trials)
    controls.session.expected = std::min(
        controls.session.expected.value_or(*spec.budget.max_trials), *spec.budget.max_trials);
  const auto stopper = make_stopper(spec);
  const auto planner = make_planner(trainer_setup(spec, controls.base_dir, ""));
  const auto transport =
      cluster ? make_mpi_transport({self, {}}) : make_local_transport({self, {}});
  SqliteStoreOptions store_options;
  store_options.wake = [&transport] { transport->wake(); };
  const auto store = open_sqlite_store(spec.output.database, store_options);
  if (options.display != Display::quiet) say_what_comes(spec, executors, record.has_value());
  std::error_code failed;
  fs::create_directories(controls.files_dir + "/workers", failed);
  if (failed)
    throw UserError(controls.files_dir + ": cannot be made (" + failed.message() +
                    "): the logs and checkpoints of the trials go there");
  SystemClock clock;
  // mpirun gives its ranks a terminal of their own, whatever its own output is.
  const bool lines = cluster && options.display == Display::automatic;
  const auto display = make_display(spec, lines ? Display::lines : options.display, stdout);
  const auto observer = make_run_log(controls.files_dir + "/run.log", *display);
  Controller controller(spec, *strategy, stopper.get(), *planner, *store, *transport, clock,
                        *observer, controls);
  Ending ending;
  {
    Signals signals(controller);
    ending = controller.run();
  }
  return say_how_it_ended(spec, ending, options);
}

}  // namespace brood
