#include "cli/run.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "cli/asked.h"
#include "cli/config.h"
#include "cli/control_desk.h"
#include "cli/nodes.h"
#include "cli/places.h"
#include "cli/questions.h"
#include "cli/run_log.h"
#include "cli/same_data.h"
#include "cli/warm_start.h"
#include "engine/controller.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/local.h"
#include "engine/mpi.h"
#include "engine/units.h"
#include "store/query.h"
#include "store/schema.h"
#include "store/sqlite_store.h"
#include "strategies/strategies.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

// What the signal handler ends. Set while a controller runs.
std::atomic<Controller*> running{nullptr};

// Milliseconds of the monotonic clock at the first signal but SIGUSR1; 0: none came.
std::atomic<std::int64_t> first_signal{0};

// Signals close together are one request: launchers send them to the process and to its group, and
// mpirun, asked to end, a second after the batch system that asked it too.
constexpr std::int64_t kSameRequestMs = 1500;

// What running trials get to reach their next checkpoint. A batch system that sends SIGUSR1 gives
// notice; after SIGTERM it kills within seconds, mpirun within one.
constexpr Millis kDrainTime{60000};
constexpr Millis kEndTime{700};

// For ranks that were silent as long as the controller waits, before there was one.
constexpr Millis kHeardBefore{1000};

// SIGUSR1 drains, the first of the others drains in less time, a later one ends the process at
// once, and the kernel its workers.
void on_signal(int signal) {
  Controller* const controller = running.load();
  if (signal == SIGUSR1) {
    if (controller != nullptr) controller->interrupt(kDrainTime);
    return;
  }
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t ms = static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
  std::int64_t none = 0;
  if (first_signal.compare_exchange_strong(none, ms)) {
    if (controller != nullptr) controller->interrupt(kEndTime);
  } else if (ms - none > kSameRequestMs) {
    constexpr char kText[] =
        "\nEnded at once. Nothing acknowledged is lost; go on with brood resume.\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, kText, sizeof kText - 1);
    _exit(kExitInterrupted);
  }
}

// A notice of the batch system that comes before there is a controller is kept for it: until then
// SIGUSR1 would end the process, as if the job had failed.
void keep_notice(bool keep) {
  sigset_t notice;
  sigemptyset(&notice);
  sigaddset(&notice, SIGUSR1);
  pthread_sigmask(keep ? SIG_BLOCK : SIG_UNBLOCK, &notice, nullptr);
}

class Signals {
 public:
  explicit Signals(Controller& controller) {
    running = &controller;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
      struct sigaction action {};
      action.sa_handler = on_signal;
      sigaction(signal, &action, nullptr);
    }
    keep_notice(false);
  }
  // Leaves the handler: a late copy of a request must not end the process before it has said how
  // the run ended.
  ~Signals() { running = nullptr; }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
};

// What the database knows of this experiment; nullopt: nothing yet.
std::optional<ExperimentRecord> record_of(const std::string& database, const std::string& name) {
  if (holds_nothing(database)) return std::nullopt;
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

// The limit that decides which points are infeasible must not change when the machine does, nor
// with the number of executors: left out, it is nine tenths of the machine's memory at creation,
// and is kept in the stored config.
void resolve_memory(ExperimentSpec& spec, const std::optional<ExperimentRecord>& record,
                    std::uint64_t machine_bytes) {
  if (spec.resources.memory_per_trial) return;
  std::uint64_t bytes = default_memory(machine_bytes);
  if (record) {
    const Json known = parse_json(record->config);
    const auto resources = known.find("resources");
    if (resources != known.end() && resources->contains("memory_per_trial") &&
        (*resources)["memory_per_trial"].is_string())
      bytes = parse_size((*resources)["memory_per_trial"].get<std::string>());
  }
  if (bytes == 0) return;  // of GPUs of other machines
  spec.resources.memory_per_trial = bytes;
  Json config = parse_json(spec.config);
  config["resources"]["memory_per_trial"] = std::to_string(bytes >> 20) + "MiB";
  spec.config = config.dump();
}

// Versions with schema 1 had no such limit: a record of theirs whose first trials failed goes on,
// and keeps that in its config, where a config that says nothing of it finds it again.
void resolve_initial_failures(ExperimentSpec& spec, const std::optional<ExperimentRecord>& record) {
  if (!record) return;
  const auto given = [](const Json& config) -> std::optional<int> {
    const Json block = config.value("fault_tolerance", Json::object());
    if (!block.contains("max_initial_failures")) return std::nullopt;
    return block["max_initial_failures"].get<int>();
  };
  Json config = parse_json(spec.config);
  if (given(config)) return;
  const std::optional<int> known = given(parse_json(record->config));
  if (!known && record->schema > 1) return;
  spec.fault_tolerance.max_initial_failures = known.value_or(0);
  config["fault_tolerance"]["max_initial_failures"] = known.value_or(0);
  spec.config = config.dump();
}

void resolve_from_record(ExperimentSpec& spec, const std::optional<ExperimentRecord>& record,
                         std::uint64_t machine_bytes) {
  resolve_memory(spec, record, machine_bytes);
  resolve_initial_failures(spec, record);
}

std::string refused_changes(const ExperimentSpec& spec, const ExperimentRecord& record) {
  std::string refused;
  for (const ConfigChange& change : compare_configs(record.config, spec.config))
    if (!change.allowed) refused += "\n  " + to_text(change);
  return refused;
}

void require_same(const ExperimentSpec& spec, const ExperimentRecord& record) {
  const std::string refused = refused_changes(spec, record);
  if (!refused.empty())
    throw UserError(spec.file + ": experiment \"" + spec.name + "\" is in " + spec.output.database +
                    " already, with another config:" + refused +
                    "\nGive this one a name of its own (experiment/name), or undo the change");
}

// Does the database know what the trials learn from? Throws UserError when it was other data.
bool knows_data(const std::string& database, const ExperimentSpec& spec, const DataIdentity& data) {
  const auto record = record_of(database, spec.name);
  if (!record || data.key.empty()) return false;
  Reader reader(database);
  return require_same_data(reader, *record, data);
}

// The event log that this run is to repeat, and the memory limit that went with it.
std::vector<EventLogged> events_of(const std::string& database, ExperimentSpec& spec,
                                   std::uint64_t machine_bytes) {
  std::error_code ignored;
  if (fs::equivalent(database, spec.output.database, ignored))
    throw UserError(database +
                    ": is the database of this run itself: give the repetition one of "
                    "its own (--set output.database=...)");
  const auto record = record_of(database, spec.name);
  if (!record)
    throw UserError(database + ": holds no experiment \"" + spec.name +
                    "\" whose event log could be repeated");
  resolve_from_record(spec, record, machine_bytes);
  if (const std::string refused = refused_changes(spec, *record); !refused.empty())
    throw UserError(database + ": its event log is of another experiment \"" + spec.name +
                    "\":" + refused);
  return Reader(database).facts(*record);
}

// Each generation of a genetic search is a block of trials, known ones included.
void require_room(const ExperimentSpec& spec, const Strategy& strategy, std::int64_t known) {
  const auto total = strategy.total();
  if (spec.search.name != "genetic" || !total || known < *total) return;
  throw UserError(spec.file + ": /warm_start: gives " + std::to_string(known) +
                  " trials, and all generations of the search together have " +
                  std::to_string(*total) + ": take fewer, with \"best\", or raise \"generations\"");
}

std::optional<std::int64_t> expected_trials(const ExperimentSpec& spec, const Strategy& strategy) {
  const auto total = strategy.total(), limit = spec.budget.max_trials;
  return limit ? std::min(total.value_or(*limit), *limit) : total;
}

// What a warm start takes over. For a new experiment it is read here, before anything is written;
// else only when the record lacks it.
std::function<std::vector<Trial>()> known_before(const ExperimentSpec& spec,
                                                 const Strategy& strategy,
                                                 const std::string& events, bool recorded) {
  if (!spec.warm_start) return nullptr;
  const auto take_over = [&spec, &strategy, events] {
    auto known = events.empty() ? known_trials(spec) : known_trials_of(events, spec.name);
    require_room(spec, strategy, static_cast<std::int64_t>(known.size()));
    return known;
  };
  if (recorded) return take_over;
  return [known = take_over()] { return known; };
}

// A run that nobody can speak to is a run all the same.
std::unique_ptr<CommandDesk> open_desk(const ExperimentSpec& spec, Observer& observer) {
  try {
    return make_control_desk(spec.output.database + ".files", spec);
  } catch (const UserError& error) {
    observer.note(std::string("no commands can reach this run: ") + error.what());
    return nullptr;
  }
}

// What commands need while the controller does not have it yet.
class LateDesk final : public CommandDesk {
 public:
  std::optional<Command> next() override { return desk ? desk->next() : std::nullopt; }
  void answer(std::uint64_t id, const CommandAnswer& answer) override {
    if (desk) desk->answer(id, answer);
  }
  std::unique_ptr<CommandDesk> desk;  // once the database is ours
};

// The number of executors of the whole run.
int use_places(const ExperimentSpec& spec, const TrainerSetup& setup, const Grounds& grounds,
               const Planner& planner, const RunOptions& options, int otherwise,
               ControllerOptions& controls) {
  const Places places = places_of(spec, setup, grounds, planner, options.executors, otherwise, "");
  controls.devices = grounds.devices;
  controls.workers_per_node = controls.workers_per_device = places.workers;
  controls.slots = places.slots;
  controls.choose_slots = places.choose;
  controls.may_compute_in = [setup, only = grounds.architecture](const std::string& name) {
    return computes_in(setup, name) && (only.empty() || architecture_of(name) == only);
  };
  return grounds.on_gpus() ? places.executors : controls.nodes * places.executors;
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

// Where logs and checkpoints go. What a deleted database left behind is moved aside: a checkpoint
// of another experiment must never be taken for one of this.
void make_files_dir(const std::string& folder, bool created) {
  std::error_code failed;
  if (created && fs::exists(folder, failed)) {
    int number = 1;
    while (fs::exists(folder + ".old" + std::to_string(number), failed)) ++number;
    fs::rename(folder, folder + ".old" + std::to_string(number), failed);
  }
  if (!failed) fs::create_directories(folder + "/workers", failed);
  if (failed)
    throw UserError(folder + ": cannot be made (" + failed.message() +
                    "): the logs and checkpoints of the trials go there");
}

// Under MPI those who will train are asked what they have, where that matters.
Grounds find_grounds(const ExperimentSpec& spec, const std::optional<ExperimentRecord>& record,
                     const RunOptions& options, std::unique_ptr<Transport>& transport,
                     ControllerOptions& controls) {
  GroundsWanted wanted;
  wanted.numeric_class = record ? record->numeric_class : "";
  wanted.executors = options.executors.has_value();
  Nodes nodes;
  if (transport && may_use_gpus(spec, wanted)) {
    nodes = meet(*transport, describe_here(true), mpi_size() - 1, controls.node_wait);
    controls.node_wait = kHeardBefore;
    transport = after(std::move(transport), std::move(nodes.heard));
    wanted.nodes = &nodes.hellos;
  }
  const Grounds grounds = grounds_of(spec, wanted);
  if (!grounds.warning.empty()) std::fprintf(stderr, "%s\n", grounds.warning.c_str());
  return grounds;
}

Ending run_to_end(Controller& controller) {
  Signals signals(controller);
  try {
    return controller.run();
  } catch (const ExecutorsLost& error) {
    return {"interrupted", error.what()};
  }
}

void say_what_comes(const ExperimentSpec& spec, int executors, bool known) {
  std::printf("%s \"%s\": %s search, seed %llu, %d executor%s, database %s\n",
              known ? "Going on with" : "Starting", spec.name.c_str(), spec.search.name.c_str(),
              static_cast<unsigned long long>(spec.seed), executors, executors == 1 ? "" : "s",
              near(spec.output.database).c_str());
  std::fflush(stdout);
}

// Works from here on, whatever --set changed: the database knows the config that ran.
std::string resume_command(const ExperimentSpec& spec) {
  return "brood resume " + shell_word(near(spec.output.database)) + " -e " + spec.name;
}

int say_how_it_ended(const ExperimentSpec& spec, const Ending& ending, const RunOptions& options,
                     bool new_trials) {
  if (ending.state == "interrupted") {
    const bool saves =
        spec.fault_tolerance.checkpoint_every_epochs > 0 || spec.output.keep_best > 0;
    std::printf("Interrupted: %s. %s; go on with: %s\n", ending.why.c_str(),
                saves ? "Nothing recorded is lost"
                      : "Trials that were running start over, as the config keeps no checkpoints",
                resume_command(spec).c_str());
    return kExitInterrupted;
  }
  Reader reader(spec.output.database);
  const ExperimentRecord record = reader.experiment(spec.name);
  const auto best = reader.best(record, 1);
  const StateCounts counts = reader.counts(record);
  const bool failed = ending.state == "failed" || (best.empty() && counts.failed > 0);
  if (options.display != Display::quiet || failed) {
    std::printf("%s%s%s.\n", ending.state == "failed" ? "Failed" : "Completed",
                ending.why.empty() ? "" : ": ", ending.why.c_str());
    if (!new_trials)
      std::printf("Nothing was left to do. To go further, raise the budget or the generations.\n");
    if (best.empty() && counts.failed > 0)
      std::printf("No trial has a result: %lld failed. Ask `brood why 0 %s`.\n",
                  static_cast<long long>(counts.failed),
                  shell_word(near(spec.output.database)).c_str());
  }
  if (options.display != Display::quiet && !best.empty()) {
    const std::string database = shell_word(near(spec.output.database));
    std::printf("\n");
    std::fflush(stdout);
    BestOptions ranking;
    ranking.where = {spec.output.database, spec.name};
    best_command(ranking, std::cout);
    std::cout.flush();
    std::printf("\nMore: brood show %lld %s, brood best %s --config, brood query --db %s\n",
                static_cast<long long>(best.front()), database.c_str(), database.c_str(),
                database.c_str());
  }
  return failed ? kExitFailed : 0;
}

// The whole run, of this machine's executors or, in a cluster, of other ranks'.
int lead_run(const RunOptions& options, bool cluster) {
  ExperimentSpec spec = load(options);
  const auto record = record_of(spec.output.database, spec.name);
  if (options.resume && !record)
    throw UserError(spec.output.database + ": there is no experiment \"" + spec.name +
                    "\" to resume; start it with `brood run`");
  std::unique_ptr<Transport> transport;
  if (cluster) transport = make_mpi_transport({});
  ControllerOptions controls;
  const Grounds grounds = find_grounds(spec, record, options, transport, controls);
  const NodeHello self = describe_here(grounds.on_gpus() && !cluster);
  controls.nodes = cluster ? mpi_size() - 1 : 1;
  controls.lease = cluster ? options.lease : Millis{0};
  const bool on_gpus = grounds.on_gpus() && spec.trainer_name == "cnn";
  controls.base_dir = fs::absolute(spec.file).parent_path().lexically_normal().string();
  TrainerSetup setup = trainer_setup(spec, controls.base_dir, "");
  setup.device = grounds.device;
  const auto planner = make_planner(setup);
  const std::uint64_t memory = on_gpus ? memory_beside_images(spec, grounds, *planner) : self.bytes;
  if (!options.events.empty()) controls.replay = events_of(options.events, spec, memory);
  resolve_from_record(spec, record, memory);
  if (record) require_same(spec, *record);
  setup.memory_per_trial = spec.resources.memory_per_trial.value_or(0);
  const int executors =
      use_places(spec, setup, grounds, *planner, options, cluster ? 1 : self.cores, controls);
  controls.session = session_of(spec, executors, cluster ? "mpi" : "local");
  // Only the built-in trainer's bits depend on what the machine can compute.
  controls.numeric_class = spec.trainer_name == "cnn" ? "" : "any";
  controls.files_dir = spec.output.database + ".files/" + spec.name;

  const auto strategy = make_strategy(spec);
  controls.session.expected = expected_trials(spec, *strategy);
  const auto stopper = make_stopper(spec);
  prepare_trainer(setup);
  const DataIdentity data = data_identity(setup);
  const bool data_known = knows_data(spec.output.database, spec, data);
  if (!options.events.empty()) knows_data(options.events, spec, data);
  if (!transport) transport = make_local_transport({self, {}});
  SqliteStoreOptions store_options;
  store_options.wake = [&transport] { transport->wake(); };
  auto store = open_sqlite_store(spec.output.database, store_options);
  SystemClock clock;
  // mpirun gives its ranks a terminal of their own, whatever its own output is.
  const bool lines = cluster && options.display == Display::automatic;
  const auto display = make_display(spec, lines ? Display::lines : options.display, stdout);
  RunLog observer(*display);
  controls.known_trials = known_before(spec, *strategy, options.events, record.has_value());
  LateDesk desk;
  controls.desk = &desk;
  controls.stop_time = kDrainTime;
  controls.on_open = [&](bool created) {
    if (!data.key.empty() && !data_known) store->put(data_event(data, clock.wall_us()));
    make_files_dir(controls.files_dir, created);
    desk.desk = open_desk(spec, observer);
    observer.open(controls.files_dir + "/run.log");
    if (options.display != Display::quiet) say_what_comes(spec, executors, record.has_value());
    for (const std::string& note : grounds.notes) observer.note(note);
  };
  Controller controller(spec, *strategy, stopper.get(), *planner, *store, *transport, clock,
                        observer, controls);
  const Ending ending = run_to_end(controller);
  desk.desk.reset();  // before another run may open the database and a socket of its own
  store.reset();
  transport.reset();
  controller.sweep_last_words();
  return say_how_it_ended(spec, ending, options, controller.settled_now() > 0);
}

}  // namespace

int run_command(const RunOptions& options) {
  keep_notice(true);
  const bool cluster = launched_under_mpi() && mpi_size() > 1;
  if (!cluster || mpi_rank() == 0) return lead_run(options, cluster);
  keep_notice(false);
  return serve_rank({describe_here(true), {}});
}

}  // namespace brood
