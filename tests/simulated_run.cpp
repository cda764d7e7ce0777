#include "tests/simulated_run.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <set>
#include <sstream>

#include "engine/json.h"
#include "engine/json_library.h"
#include "store/query.h"
#include "store/sqlite.h"
#include "store/sqlite_store.h"
#include "strategies/strategies.h"

namespace brood::simulation {

namespace {

Field real_field(const char* name, double min, double max, bool log) {
  Field field;
  field.name = name;
  field.kind = FieldKind::real;
  field.min = min;
  field.max = max;
  field.log = log;
  return field;
}

Field list_field(const char* name, FieldKind kind, std::vector<Value> values) {
  Field field;
  field.name = name;
  field.kind = kind;
  field.values = std::move(values);
  return field;
}

SearchSpace make_space(bool finite) {
  std::vector<Field> fields;
  if (finite) {
    fields.push_back(list_field("x", FieldKind::ordinal, {0.1, 0.2, 0.4, 0.8}));
  } else {
    fields.push_back(real_field("x", 1e-4, 1.0, true));
  }
  fields.push_back(
      list_field("kind", FieldKind::categorical, {std::string("plain"), std::string("bent")}));
  Field depth =
      list_field("depth", FieldKind::ordinal, {std::int64_t{0}, std::int64_t{1}, std::int64_t{2}});
  Condition bent;
  bent.parent = "kind";
  bent.values = {std::string("bent")};
  depth.when = {bent};
  fields.push_back(depth);
  return SearchSpace(std::move(fields));
}

class LastProgress final : public Observer {
 public:
  void progress(const Progress& p) override { last = p; }
  Progress last;
};

// Official reports, read back from the database itself.
std::string reports_of(const std::string& database, TrialId last) {
  sqlite::Connection db(database, sqlite::Access::read);
  sqlite::Statement rows(
      db,
      "SELECT t.number, r.epoch, r.m0, ifnull(r.m1, 0) FROM report r JOIN trial t ON t.id = "
      "r.trial WHERE r.epoch <= t.judged_epoch AND t.state != 'surplus' AND t.number <= ?1 "
      "ORDER BY t.number, r.epoch");
  rows.bind(1, last);
  std::string text;
  while (rows.step()) {
    char line[128];
    std::snprintf(line, sizeof line, "%lld %lld %a %a\n", static_cast<long long>(rows.whole(0)),
                  static_cast<long long>(rows.whole(1)), rows.real(2), rows.real(3));
    text += line;
  }
  return text;
}

std::string verdicts_of(const std::string& database, TrialId last) {
  sqlite::Connection db(database, sqlite::Access::read);
  sqlite::Statement rows(
      db,
      "SELECT t.number, g.epoch, g.score, g.verdict, g.horizon FROM rung g JOIN trial t ON t.id = "
      "g.trial WHERE t.state != 'surplus' AND t.number <= ?1 ORDER BY 1, 2");
  rows.bind(1, last);
  std::string text;
  while (rows.step()) {
    char line[128];
    std::snprintf(line, sizeof line, "%lld %lld %a %s %lld\n",
                  static_cast<long long>(rows.whole(0)), static_cast<long long>(rows.whole(1)),
                  rows.real(2), std::string(rows.text(3)).c_str(),
                  static_cast<long long>(rows.whole(4)));
    text += line;
  }
  return text;
}

// Checkpoints are a cache; but what is kept must be known, and what is known must be there.
std::vector<std::string> strays_of(const std::string& database) {
  namespace fs = std::filesystem;
  std::set<std::string> known, found;
  sqlite::Connection db(database, sqlite::Access::read);
  sqlite::Statement rows(db, "SELECT path FROM checkpoint");
  while (rows.step())
    known.insert((fs::path(database).parent_path() / std::string(rows.text(0))).string());
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(files_of(database), ignored))
    if (entry.is_regular_file() && entry.path().extension() != ".log")
      found.insert(entry.path().string());
  std::vector<std::string> out;
  std::set_symmetric_difference(known.begin(), known.end(), found.begin(), found.end(),
                                std::back_inserter(out));
  sqlite::Statement older(db,
                          "SELECT path FROM checkpoint c WHERE EXISTS (SELECT 1 FROM checkpoint d "
                          "WHERE d.trial = c.trial AND d.epoch > c.epoch)");
  while (older.step()) out.push_back(std::string(older.text(0)) + " though there is a later one");
  return out;
}

// The trial whose failure was one too many ends the table: later ones came as far as they came.
TrialId last_of(const std::vector<Trial>& trials, std::optional<std::int64_t> max_failed) {
  std::int64_t failed = 0;
  for (const Trial& t : trials)
    if (t.state == TrialState::failed && max_failed && ++failed > *max_failed) return t.id;
  return static_cast<TrialId>(trials.size());
}

std::string table_of(const std::vector<Trial>& trials, TrialId last) {
  std::string text;
  for (const Trial& t : trials) {
    if (t.state == TrialState::surplus || t.id > last) continue;
    char objective[64] = "-";
    if (t.objective) std::snprintf(objective, sizeof objective, "%a", *t.objective);
    text += std::to_string(t.id) + " " + std::string(to_text(t.state)) + " " +
            std::string(to_text(t.cause)) + " " + to_text(t.params) + " judged " +
            std::to_string(t.judged_epoch) + " seed " + std::to_string(t.seed) + " objective " +
            objective + " lineage";
    for (const TrialId parent : t.lineage) text += " " + std::to_string(parent);
    text += " " + std::string(to_text(t.origin)) + "\n";
  }
  return text;
}

}  // namespace

std::string files_of(const std::string& database) { return database + ".files"; }

Scratch::Scratch() {
  static std::atomic<int> number{0};
  folder_ = std::filesystem::temp_directory_path() /
            ("brood-test-" + std::to_string(getpid()) + "-" + std::to_string(number++));
  std::filesystem::create_directories(folder_);
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string difference(const std::string& table, const std::string& expected) {
  std::istringstream left(table), right(expected);
  std::string a, b;
  for (int line = 1;; ++line) {
    const bool more_left = static_cast<bool>(std::getline(left, a));
    const bool more_right = static_cast<bool>(std::getline(right, b));
    if (!more_left && !more_right) return {};
    if (more_left != more_right || a != b)
      return "line " + std::to_string(line) + "\n  is       " + (more_left ? a : "(none)") +
             "\n  expected " + (more_right ? b : "(none)");
  }
}

ExperimentSpec make_spec(const Case& c, const std::string& database) {
  ExperimentSpec spec;
  spec.name = "simulated";
  spec.seed = c.seed;
  spec.objective.metric = "score";
  spec.objective.target = c.target;
  spec.space = make_space(c.search == "grid");
  spec.search.name = c.search;
  if (c.search == "genetic")
    spec.search.settings = R"({"population_size": 6, "generations": 4, "elitism": 1})";
  spec.search.settings = with_defaults(spec.search);
  if (!c.stopper.empty()) {
    spec.stopper = Algorithm{c.stopper, "{}"};
    const std::string defaults = with_defaults(*spec.stopper);
    if (defaults.find("min_epochs") != std::string::npos)
      spec.stopper->settings = R"({"min_epochs": 1})";
    spec.stopper->settings = with_defaults(*spec.stopper);
  }
  spec.verdict_lag = c.verdict_lag;
  if (c.search != "grid" && c.search != "genetic") spec.budget.max_trials = c.trials;
  spec.budget.max_failed_trials = c.max_failed;
  spec.budget.max_wall_time = c.max_wall_time;
  spec.constraints = c.constraints;
  spec.resources.memory_per_trial = c.memory;
  spec.initial_points = c.initial_points;
  if (!c.known.empty()) spec.warm_start = WarmStart{};
  spec.fault_tolerance.checkpoint_every_epochs = c.checkpoint_every;
  spec.fault_tolerance.max_retries_per_trial = c.max_retries;
  spec.fault_tolerance.max_initial_failures = c.max_initial_failures;
  spec.output.database = database;
  spec.output.keep_best = c.checkpoint_every > 0 ? 2 : 0;
  spec.trainer_name = "toy";
  spec.trainer = "{}";
  Json config = {{"budget", Json::object()}, {"objective", Json::object()}};
  if (spec.budget.max_trials) config["budget"]["max_trials"] = *spec.budget.max_trials;
  if (c.max_failed) config["budget"]["max_failed_trials"] = *c.max_failed;
  if (c.target) config["objective"]["target"] = *c.target;
  spec.config = config.dump();
  return spec;
}

Outcome run(const Case& c, const std::string& database, Shape shape, Faults faults,
            const std::string& events, CommandDesk* desk) {
  const ExperimentSpec spec = make_spec(c, database);
  const auto strategy = make_strategy(spec);
  const auto stopper = make_stopper(spec);
  const auto planner = make_toy_planner(c.epochs);
  SqliteStoreOptions store_options;
  store_options.durability = SqliteStoreOptions::Durability::manual;
  store_options.commit_every = 7;  // so that a cut loses a different tail each time
  store_options.power_safe = !faults.vfs.empty();
  store_options.vfs = faults.vfs;
  const auto store = open_sqlite_store(database, store_options);
  if (faults.file_chance > 0.0) faults.files = files_of(database);
  std::optional<Cluster> running(std::in_place, shape, faults, [&] {
    std::vector<std::unique_ptr<Trainer>> slots;
    for (int i = 0; i < shape.slots; ++i) slots.push_back(make_toy(c.toy));
    return many_slots(std::move(slots));
  });
  Cluster& cluster = *running;
  LastProgress observer;
  ControllerOptions options;
  options.nodes = shape.nodes;
  options.workers_per_node = options.workers_per_device = shape.workers_per_node;
  options.slots = shape.slots;
  options.devices = shape.devices;
  options.lease = shape.nodes > 1 ? Millis{4000} : Millis{0};
  options.verify_every = 1;
  if (c.checkpoint_every > 0) options.files_dir = files_of(database);
  // As the program does with what a database left behind that was cut off before its first commit.
  options.on_open = [&](bool created) {
    if (created) std::filesystem::remove_all(files_of(database));
  };
  options.desk = desk;
  options.known_trials = [&c] { return c.known; };
  if (!events.empty()) {
    Reader reader(events);
    options.replay = reader.facts(reader.experiment(""));
  }
  Controller controller(spec, *strategy, stopper.get(), *planner, *store, cluster, cluster.clock(),
                        observer, options);
  Outcome out;
  try {
    out.ending = controller.run();
    const TrialId last = last_of(controller.trials(), c.max_failed);
    out.table = table_of(controller.trials(), last) + reports_of(database, last) +
                verdicts_of(database, last) + out.ending.state + ": " + out.ending.why + "\n";
  } catch (const PowerCut&) {
    out.cut = true;
  }
  out.events = cluster.events();
  out.kills = cluster.kills();
  out.places = cluster.places();
  out.node_troubles = cluster.node_troubles();
  out.file_troubles = cluster.file_troubles();
  out.progress = observer.last;
  out.trials = controller.trials();
  running.reset();  // the workers are gone
  if (out.cut) return out;
  controller.sweep_last_words();
  out.strays = strays_of(database);
  return out;
}

}  // namespace brood::simulation
