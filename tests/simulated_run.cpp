#include "tests/simulated_run.h"

#include <unistd.h>

#include <atomic>
#include <sstream>

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
std::string reports_of(const std::string& database) {
  sqlite::Connection db(database, sqlite::Access::read);
  sqlite::Statement rows(db,
                         "SELECT t.number, r.epoch, r.m0 FROM report r JOIN trial t ON t.id = "
                         "r.trial WHERE r.epoch <= t.judged_epoch AND t.state != 'surplus' "
                         "ORDER BY t.number, r.epoch");
  std::string text;
  while (rows.step()) {
    char line[96];
    std::snprintf(line, sizeof line, "%lld %lld %a\n", static_cast<long long>(rows.whole(0)),
                  static_cast<long long>(rows.whole(1)), rows.real(2));
    text += line;
  }
  return text;
}

std::string table_of(const std::vector<Trial>& trials) {
  std::string text;
  for (const Trial& t : trials) {
    if (t.state == TrialState::surplus) continue;
    char objective[64] = "-";
    if (t.objective) std::snprintf(objective, sizeof objective, "%a", *t.objective);
    text += std::to_string(t.id) + " " + std::string(to_text(t.state)) + " " +
            std::string(to_text(t.cause)) + " " + to_text(t.params) + " judged " +
            std::to_string(t.judged_epoch) + " seed " + std::to_string(t.seed) + " objective " +
            objective + " lineage";
    for (const TrialId parent : t.lineage) text += " " + std::to_string(parent);
    text += "\n";
  }
  return text;
}

}  // namespace

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
    spec.stopper = Algorithm{c.stopper, R"({"min_epochs": 1})"};
    spec.stopper->settings = with_defaults(*spec.stopper);
  }
  spec.verdict_lag = c.verdict_lag;
  if (c.search == "random") spec.budget.max_trials = c.trials;
  spec.fault_tolerance.max_retries_per_trial = c.max_retries;
  spec.output.database = database;
  spec.output.keep_best = 0;
  spec.trainer_name = "toy";
  spec.trainer = "{}";
  spec.config = "{}";
  return spec;
}

Outcome run(const Case& c, const std::string& database, Shape shape, Faults faults,
            const std::string& events) {
  const ExperimentSpec spec = make_spec(c, database);
  const auto strategy = make_strategy(spec);
  const auto stopper = make_stopper(spec);
  const auto planner = make_toy_planner(c.epochs);
  SqliteStoreOptions store_options;
  store_options.durability = SqliteStoreOptions::Durability::manual;
  store_options.commit_every = 7;  // so that a cut loses a different tail each time
  store_options.power_safe = false;
  const auto store = open_sqlite_store(database, store_options);
  Cluster cluster(shape, faults, [&c] { return make_toy(c.toy); });
  LastProgress observer;
  ControllerOptions options;
  options.nodes = shape.nodes;
  options.workers_per_node = shape.workers_per_node;
  options.lease = shape.nodes > 1 ? Millis{4000} : Millis{0};
  options.verify_every = 1;
  if (!events.empty()) {
    Reader reader(events);
    options.replay = reader.facts(reader.experiment(""));
  }
  Controller controller(spec, *strategy, stopper.get(), *planner, *store, cluster, cluster.clock(),
                        observer, options);
  Outcome out;
  try {
    out.ending = controller.run();
    out.table = table_of(controller.trials()) + reports_of(database);
  } catch (const PowerCut&) {
    out.cut = true;
  }
  out.events = cluster.events();
  out.kills = cluster.kills();
  out.progress = observer.last;
  out.trials = controller.trials();
  return out;
}

}  // namespace brood::simulation
