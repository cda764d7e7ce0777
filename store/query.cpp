#include "store/query.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "engine/error.h"
#include "engine/facts.h"
#include "engine/rng.h"
#include "engine/suggest.h"
#include "store/history.h"
#include "store/prefetch.h"
#include "store/schema.h"
#include "store/views.h"

namespace brood {

namespace {

using sqlite::Statement;
using Kind = KnownColumn::Kind;

constexpr const char* kRanked = "state IN ('completed', 'stopped') AND objective IS NOT NULL";

std::int64_t first_row(const ExperimentRecord& experiment) { return row_id(experiment.id, 0); }
std::int64_t last_row(const ExperimentRecord& experiment) {
  return row_id(experiment.id + 1, 0) - 1;
}

std::optional<std::int64_t> whole_or_none(const Statement& row, int column) {
  if (row.null(column)) return std::nullopt;
  return row.whole(column);
}

Cell cell_of(const Statement& row, int column) {
  switch (row.type(column)) {
    case sqlite::CellType::null:
      return {};
    case sqlite::CellType::whole:
      return row.whole(column);
    case sqlite::CellType::real:
      return row.real(column);
    case sqlite::CellType::text:
    case sqlite::CellType::blob:
      break;
  }
  return std::string(row.text(column));
}

void bind_cell(Statement& statement, int at, const Cell& cell) {
  if (const auto* flag = std::get_if<bool>(&cell))
    statement.bind(at, *flag ? 1 : 0);
  else if (const auto* whole = std::get_if<std::int64_t>(&cell))
    statement.bind(at, *whole);
  else if (const auto* real = std::get_if<double>(&cell))
    statement.bind(at, *real);
  else if (const auto* text = std::get_if<std::string>(&cell))
    statement.bind(at, std::string_view(*text));
  else
    statement.bind_null(at);
}

Rows rows_of(Statement& statement) {
  Rows out;
  for (int i = 0; i < statement.columns(); ++i) out.columns.push_back(statement.column_name(i));
  while (statement.step()) {
    std::vector<Cell>& row = out.rows.emplace_back();
    for (int i = 0; i < statement.columns(); ++i) row.push_back(cell_of(statement, i));
  }
  return out;
}

// So many of a sequence, whose length is not known before its end (A. G. Waterman's reservoir: D.
// E. Knuth, "The Art of Computer Programming", volume 2, 3.4.2, algorithm R).
class Reservoir {
 public:
  Reservoir(std::size_t places, std::uint64_t seed)
      : places_(places), rng_(seed, 0, Purpose::simulate) {}

  // Is the next one taken, for now?
  bool take() {
    place_ = seen_ < places_ ? seen_ : rng_.below(seen_ + 1);
    ++seen_;
    return place_ < places_;
  }
  std::size_t place() const { return place_; }  // of the one that was just taken
  std::size_t seen() const { return seen_; }

 private:
  std::size_t places_, seen_ = 0, place_ = 0;
  Rng rng_;
};

Kind kind_of(ParamColumn::Type type) {
  switch (type) {
    case ParamColumn::Type::real:
    case ParamColumn::Type::whole:
      return Kind::number;
    case ParamColumn::Type::flag:
      return Kind::flag;
    case ParamColumn::Type::label:
      return Kind::label;
    case ParamColumn::Type::any:
    case ParamColumn::Type::any_or_switch:
      break;
  }
  return Kind::any;
}

}  // namespace

// One read transaction for its life: all answers are of one moment.
Reader::Reader(const std::string& path) : db_(open_for_reading(path)), prefetch_(path) {
  db_.run("BEGIN");
}

std::vector<std::string> Reader::experiments() {
  std::vector<std::string> out;
  Statement rows(db_, "SELECT name FROM experiment ORDER BY id");
  while (rows.step()) out.emplace_back(rows.text(0));
  return out;
}

ExperimentRecord Reader::experiment(const std::string& name) {
  Statement row(db_,
                "SELECT id, name, description, config, numeric_class, state, why, seed, objective, "
                "goal, reduce, created_us FROM experiment WHERE ?1 = '' OR name = ?1 "
                "ORDER BY id DESC LIMIT 1");
  if (!row.bind(1, std::string_view(name)).step()) {
    const std::vector<std::string> known = experiments();
    if (known.empty()) throw UserError(path() + ": holds no experiment yet");
    std::string text = path() + ": has no experiment \"" + name + "\"" + did_you_mean(name, known);
    text += "; it has";
    for (const std::string& each : known) text += " \"" + each + "\"";
    throw UserError(text);
  }
  ExperimentRecord out;
  out.id = row.whole(0);
  out.name = row.text(1);
  out.description = row.text(2);
  out.config = row.text(3);
  out.numeric_class = row.text(4);
  out.state = row.text(5);
  out.why = row.text(6);
  out.seed = static_cast<std::uint64_t>(row.whole(7));
  out.objective = row.text(8);
  out.maximize = row.text(9) == "maximize";
  out.reduce = row.text(10);
  out.created_us = row.whole(11);
  row.reset();
  out.schema = db_.whole("PRAGMA user_version");
  out.layout = load_layout(db_, out.id);
  return out;
}

StateCounts Reader::counts(const ExperimentRecord& experiment) {
  StateCounts out;
  Statement rows(db_, "SELECT state, count(*) FROM trial WHERE experiment = ?1 GROUP BY state");
  rows.bind(1, experiment.id);
  while (rows.step()) {
    const std::int64_t count = rows.whole(1);
    switch (trial_state(rows.text(0))) {
      case TrialState::waiting:
        out.waiting = count;
        break;
      case TrialState::running:
        out.running = count;
        break;
      case TrialState::completed:
        out.completed = count;
        break;
      case TrialState::stopped:
        out.stopped = count;
        break;
      case TrialState::failed:
        out.failed = count;
        break;
      case TrialState::infeasible:
        out.infeasible = count;
        break;
      case TrialState::duplicate:
        out.duplicate = count;
        break;
      case TrialState::surplus:
        out.surplus = count;
        break;
      case TrialState::cancelled:
        out.cancelled = count;
        break;
      case TrialState::known:
        out.known = count;
        break;
    }
  }
  return out;
}

std::vector<TrialId> Reader::best(const ExperimentRecord& experiment, std::int64_t count) {
  std::vector<TrialId> out;
  Statement rows(db_, std::string("SELECT number FROM trial WHERE experiment = ?1 AND ") + kRanked +
                          " ORDER BY objective " + (experiment.maximize ? "DESC" : "ASC") +
                          ", number LIMIT ?2");
  rows.bind(1, experiment.id).bind(2, count);
  while (rows.step()) out.push_back(rows.whole(0));
  return out;
}

std::optional<std::int64_t> Reader::rank(const ExperimentRecord& experiment, const Trial& trial) {
  const bool ranked = trial.state == TrialState::completed || trial.state == TrialState::stopped;
  if (!ranked || !trial.objective) return std::nullopt;
  Statement row(db_, std::string("SELECT count(*) FROM trial WHERE experiment = ?1 AND ") +
                         kRanked + " AND (objective " + (experiment.maximize ? ">" : "<") +
                         " ?2 OR (objective = ?2 AND number < ?3))");
  row.bind(1, experiment.id).bind(2, *trial.objective).bind(3, trial.id).step();
  return row.whole(0) + 1;
}

Trial Reader::trial(const ExperimentRecord& experiment, TrialId id) {
  std::optional<Trial> found;
  if (id >= 0 && id < std::int64_t{1} << 32) found = load_trial(db_, experiment.layout, id);
  if (found) return std::move(*found);
  const std::int64_t count = counts(experiment).all();
  throw UserError("experiment \"" + experiment.name + "\" has no trial " + std::to_string(id) +
                  (count == 0 ? std::string(": it has none yet")
                              : ": it has 0 to " + std::to_string(count - 1)));
}

std::vector<TrialId> Reader::known(const ExperimentRecord& experiment) {
  std::vector<TrialId> out;
  Statement rows(db_,
                 "SELECT number FROM trial WHERE experiment = ?1 AND state = 'known' ORDER BY 1");
  rows.bind(1, experiment.id);
  while (rows.step()) out.push_back(rows.whole(0));
  return out;
}

std::vector<TrialId> Reader::children(const ExperimentRecord& experiment, TrialId id) {
  std::vector<TrialId> out;
  Statement rows(db_,
                 "SELECT number FROM trial t WHERE experiment = ?1 AND number > ?2 AND "
                 "(parent = ?2 OR (instr(t.lineage, ?3) > 0 AND EXISTS "
                 "(SELECT 1 FROM json_each(t.lineage) WHERE value = ?2))) ORDER BY number");
  // The digits first: to read a hundred thousand lists takes longer than to search them.
  const std::string digits = std::to_string(id);
  rows.bind(1, experiment.id).bind(2, id).bind(3, std::string_view(digits));
  while (rows.step()) out.push_back(rows.whole(0));
  return out;
}

std::vector<AttemptRecord> Reader::attempts(const ExperimentRecord& experiment, TrialId id) {
  std::vector<AttemptRecord> out;
  Statement rows(db_,
                 "SELECT attempt, session, executor, host, device, numeric_class, started_us, "
                 "ended_us, from_epoch, end, charged, why, log, max_rss FROM attempt "
                 "WHERE trial = ?1 ORDER BY attempt");
  rows.bind(1, row_id(experiment.id, id));
  while (rows.step()) {
    AttemptRecord& one = out.emplace_back();
    one.trial = id;
    one.attempt = static_cast<int>(rows.whole(0));
    one.session = rows.whole(1);
    one.executor = rows.text(2);
    one.host = rows.text(3);
    one.device = rows.text(4);
    one.numeric_class = rows.text(5);
    one.started_us = rows.whole(6);
    one.ended_us = whole_or_none(rows, 7);
    one.from_epoch = static_cast<int>(rows.whole(8));
    if (!rows.null(9)) one.end = std::string(rows.text(9));
    one.charged = rows.whole(10) != 0;
    one.why = rows.text(11);
    one.log = rows.text(12);
    one.max_rss = static_cast<std::uint64_t>(rows.whole(13));
  }
  return out;
}

std::vector<Judged> Reader::verdicts(const ExperimentRecord& experiment, TrialId id) {
  std::vector<Judged> out;
  // By epoch, so that the primary key finds each row; there are few epochs.
  Statement rows(db_,
                 "SELECT r.epoch, r.score, r.verdict, r.horizon FROM report p CROSS JOIN rung r ON "
                 "r.experiment = ?1 AND r.epoch = p.epoch AND r.trial = ?2 WHERE p.trial = ?2 "
                 "ORDER BY r.epoch");
  rows.bind(1, experiment.id).bind(2, row_id(experiment.id, id));
  while (rows.step())
    out.push_back({id, static_cast<int>(rows.whole(0)), rows.real(1),
                   rows.text(2) == "stop" ? Verdict::stop : Verdict::proceed, rows.whole(3)});
  return out;
}

Standing Reader::standing(const ExperimentRecord& experiment, const Judged& judged) {
  Statement row(db_,
                "SELECT count(*), ifnull(sum(score IS NOT NULL AND (?4 IS NULL OR score > ?4)), 0) "
                "FROM rung WHERE experiment = ?1 AND epoch = ?2 AND trial < ?3");
  row.bind(1, experiment.id)
      .bind(2, judged.epoch)
      .bind(3, row_id(experiment.id, std::max<TrialId>(judged.horizon, 0)))
      .bind(4, judged.score)
      .step();
  return {row.whole(0), row.whole(1)};
}

std::vector<CheckpointSaved> Reader::checkpoints(const ExperimentRecord& experiment, TrialId id) {
  std::vector<CheckpointSaved> out;
  Statement rows(db_, "SELECT epoch, path, bytes FROM checkpoint WHERE trial = ?1 ORDER BY epoch");
  rows.bind(1, row_id(experiment.id, id));
  while (rows.step())
    out.push_back({id, static_cast<int>(rows.whole(0)), std::string(rows.text(1)),
                   static_cast<std::uint64_t>(rows.whole(2))});
  return out;
}

std::vector<SessionRecord> Reader::sessions(const ExperimentRecord& experiment) {
  std::vector<SessionRecord> out;
  // A file that only an older version has written lacks the last column.
  const bool used = db_.whole("PRAGMA user_version") >= 2;
  Statement rows(db_, std::string("SELECT number, host, pid, started_us, ended_us, executors, "
                                  "launcher, version, expected, config_file, ") +
                          (used ? "horizon_seconds" : "NULL") +
                          " FROM session WHERE experiment = ?1 ORDER BY number");
  rows.bind(1, experiment.id);
  while (rows.step()) {
    SessionRecord& one = out.emplace_back();
    one.number = rows.whole(0);
    one.session.host = rows.text(1);
    one.session.pid = rows.whole(2);
    one.session.started_us = rows.whole(3);
    one.ended_us = whole_or_none(rows, 4);
    one.session.executors = static_cast<int>(rows.whole(5));
    one.session.launcher = rows.text(6);
    one.session.version = rows.text(7);
    one.session.expected = whole_or_none(rows, 8);
    one.session.config_file = rows.text(9);
    if (!rows.null(10)) one.horizon_seconds = rows.real(10);
  }
  return out;
}

std::vector<EventRecord> Reader::events(const ExperimentRecord& experiment, std::int64_t count,
                                        std::optional<TrialId> trial) {
  std::vector<EventRecord> out;
  Statement rows(db_,
                 "SELECT at_trial, at_us, kind, body FROM event WHERE experiment = ?1 AND "
                 "(?2 IS NULL OR at_trial = ?2) AND kind != 'data_set' ORDER BY seq DESC LIMIT ?3");
  rows.bind(1, experiment.id).bind(2, trial).bind(3, count);
  while (rows.step())
    out.push_back({whole_or_none(rows, 0), rows.whole(1), std::string(rows.text(2)),
                   std::string(rows.text(3))});
  std::reverse(out.begin(), out.end());
  return out;
}

std::optional<std::string> Reader::last_note(const ExperimentRecord& experiment,
                                             const std::string& kind) {
  Statement rows(db_,
                 "SELECT body FROM event WHERE experiment = ?1 AND at_trial IS NULL AND kind = ?2 "
                 "ORDER BY seq DESC LIMIT 1");
  rows.bind(1, experiment.id).bind(2, std::string_view(kind));
  if (!rows.step()) return std::nullopt;
  return std::string(rows.text(0));
}

std::vector<EventLogged> Reader::facts(const ExperimentRecord& experiment) {
  std::vector<EventLogged> facts = load_facts(db_, experiment.id);
  std::erase_if(facts, [](const EventLogged& event) { return event.at_trial < 0; });
  // The first version wrote down the crashes, but not the end that they led to.
  Statement rows(
      db_,
      "SELECT t.number, (SELECT ifnull(max(r.epoch), t.first_epoch - 1) FROM report r "
      "WHERE r.trial = t.id), t.cause, t.why FROM trial t WHERE t.experiment = ?1 AND "
      "t.state = 'failed' AND t.cause IN ('exit_status', 'signal', 'memory', 'deadline', "
      "'silence', 'protocol', 'lost') AND NOT EXISTS (SELECT 1 FROM event e WHERE "
      "e.experiment = ?1 AND e.at_trial = t.number AND e.kind = 'end') ORDER BY 1");
  rows.bind(1, experiment.id);
  while (rows.step())
    facts.push_back(
        end_event(rows.whole(0),
                  {static_cast<int>(rows.whole(1)), cause(rows.text(2)), std::string(rows.text(3))},
                  experiment.created_us));
  return facts;
}

std::vector<RunningRecord> Reader::running(const ExperimentRecord& experiment) {
  std::vector<RunningRecord> out;
  std::string objective = "NULL";
  for (std::size_t i = 0; i < experiment.layout.metrics.size(); ++i)
    if (experiment.layout.metrics[i].name == experiment.objective)
      objective = "r.m" + std::to_string(i);
  Statement rows(
      db_,
      "SELECT t.number, a.attempt, ifnull(r.epoch, 0), t.last_epoch, a.executor, "
      "a.started_us, r.wall_us, " +
          objective +
          " FROM trial t JOIN attempt a ON a.trial = t.id AND a.attempt = (SELECT "
          "max(attempt) FROM attempt WHERE trial = t.id) LEFT JOIN report r ON r.trial = t.id "
          "AND r.epoch = (SELECT max(epoch) FROM report WHERE trial = t.id) "
          "WHERE t.experiment = ?1 AND t.state IN ('waiting', 'running') "
          "AND t.state = 'running' ORDER BY t.number");
  rows.bind(1, experiment.id);
  while (rows.step()) {
    RunningRecord& one = out.emplace_back();
    one.trial = rows.whole(0);
    one.attempt = static_cast<int>(rows.whole(1));
    one.epoch = static_cast<int>(rows.whole(2));
    one.last_epoch = static_cast<int>(rows.whole(3));
    one.executor = rows.text(4);
    one.started_us = rows.whole(5);
    one.reported_us = whole_or_none(rows, 6);
    if (!rows.null(7)) one.objective = rows.real(7);
  }
  return out;
}

Usage Reader::usage(const ExperimentRecord& experiment, std::int64_t session, std::int64_t now_us) {
  Usage out;
  Statement attempts(
      db_,
      "SELECT ifnull(sum(busy), 0) / 1e6, count(*) - (SELECT count(*) FROM trial t WHERE "
      "t.experiment = ?5 AND t.state IN ('waiting', 'running') AND EXISTS (SELECT 1 FROM attempt a "
      "WHERE a.trial = t.id AND a.session = ?3)) FROM (SELECT sum(CASE WHEN ended_us IS NOT NULL "
      "THEN ended_us - started_us WHEN end IS NULL THEN max(0, ?4 - started_us) ELSE 0 END) busy "
      "FROM attempt WHERE trial BETWEEN ?1 AND ?2 AND session = ?3 GROUP BY trial)");
  attempts.bind(1, first_row(experiment)).bind(2, last_row(experiment));
  attempts.bind(3, session).bind(4, now_us).bind(5, experiment.id).step();
  out.busy_seconds = attempts.real(0);
  out.trials_ended = attempts.whole(1);

  Statement epochs(db_,
                   "SELECT ifnull(sum(max(0, judged_epoch - first_epoch + 1)), 0), "
                   "ifnull(sum(CASE state WHEN 'stopped' THEN max(0, (SELECT max(epoch) FROM "
                   "report WHERE trial = t.id) - judged_epoch) END), 0) "
                   "FROM trial t WHERE experiment = ?1 AND state NOT IN ('waiting', 'running')");
  epochs.bind(1, experiment.id).step();
  out.epochs_dropped = epochs.whole(1);
  out.epochs = epochs.whole(0) + out.epochs_dropped;
  return out;
}

Reader::Sample Reader::sample(const ExperimentRecord& experiment, std::size_t count_max,
                              std::uint64_t seed) {
  prefetch_.tables(db_, {"trial_rank", point_table(experiment.id)});
  // In the order of the index trial_rank, which holds all that is asked for. SQLite passes over a
  // row for a fraction of what it takes to hand it out.
  Reservoir reservoir(count_max, seed);
  std::function<bool()> take = [&reservoir] { return reservoir.take(); };
  db_.define("taken", take);
  Statement all(db_, std::string("SELECT id, objective FROM trial WHERE experiment = ?1 AND ") +
                         kRanked + " AND objective BETWEEN ?2 AND ?3 AND taken() " +
                         "ORDER BY objective, id");
  constexpr double kGreatest = std::numeric_limits<double>::max();
  all.bind(1, experiment.id).bind(2, -kGreatest).bind(3, kGreatest);
  std::vector<std::pair<std::int64_t, double>> chosen;
  while (all.step()) {
    chosen.resize(std::max(chosen.size(), reservoir.place() + 1));
    chosen[reservoir.place()] = {all.whole(0), all.real(1)};
  }
  Sample out;
  out.of = static_cast<std::int64_t>(reservoir.seen());
  std::sort(chosen.begin(), chosen.end());
  std::string columns = "trial";
  for (const ParamColumn& param : experiment.layout.params)
    columns += ", " + sqlite::quote_name(param.column);
  Statement point(
      db_, "SELECT " + columns + " FROM " + point_table(experiment.id) + " WHERE trial = ?1");
  for (const auto& [id, objective] : chosen) {
    if (!point.bind(1, id).step()) continue;
    out.objectives.push_back(objective);
    std::vector<Cell>& row = out.points.emplace_back();
    for (int i = 1; i < point.columns(); ++i) row.push_back(cell_of(point, i));
    point.reset();
  }
  return out;
}

std::vector<KnownColumn> Reader::columns(const ExperimentRecord& experiment) const {
  std::vector<KnownColumn> out;
  for (const char* name : {"trial", "objective", "epochs", "first_epoch", "last_epoch",
                           "best_epoch", "parent", "same_as", "attempts", "wall_seconds"})
    out.push_back({name, name, Kind::number});
  for (const char* name : {"state", "origin", "cause", "why"})
    out.push_back({name, name, Kind::label});
  for (const ParamColumn& param : experiment.layout.params)
    out.push_back({param.column, param.column, kind_of(param.type)});
  for (const MetricColumn& metric : experiment.layout.metrics)
    out.push_back({metric.column, metric.column, Kind::number});
  return out;
}

void Reader::prefetch_if_scanned(const std::string& sql, const std::vector<std::string>& tables) {
  Statement plan(db_, "EXPLAIN QUERY PLAN " + sql);
  if (!plan.step()) return;
  // Of the outer loop. "number" and "objective" stand there as columns of an index that is
  // searched.
  const std::string first(plan.text(3));
  const bool looks_up = first.find("number=") != std::string::npos ||
                        first.find("number>") != std::string::npos ||
                        first.find("objective") != std::string::npos;
  if (!looks_up) prefetch_.tables(db_, tables);
}

Rows Reader::query(const ExperimentRecord& experiment, const std::vector<KnownColumn>& columns,
                   const Filter& filter, const std::vector<SortKey>& sort,
                   std::optional<std::int64_t> limit) {
  std::string sql = "SELECT ";
  for (std::size_t i = 0; i < columns.size(); ++i)
    sql.append(i > 0 ? ", " : "").append(sqlite::quote_name(columns[i].column));
  // Not the view of the file, which may be an older version's.
  sql += " FROM (" + trials_view(experiment.layout) + ")";
  if (!filter.sql.empty()) sql += " WHERE " + filter.sql;
  sql += " ORDER BY ";
  for (const SortKey& key : sort)
    sql +=
        sqlite::quote_name(key.column.column) + (key.descending ? " DESC, " : " ASC NULLS LAST, ");
  sql += "trial LIMIT ?" + std::to_string(filter.values.size() + 1);
  Statement statement(db_, sql);
  prefetch_if_scanned(sql, {"trial", "result", point_table(experiment.id)});
  for (std::size_t i = 0; i < filter.values.size(); ++i)
    bind_cell(statement, static_cast<int>(i) + 1, filter.values[i]);
  statement.bind(static_cast<int>(filter.values.size()) + 1, limit.value_or(-1));
  Rows out = rows_of(statement);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    out.columns[i] = columns[i].name;
    if (columns[i].kind != Kind::flag) continue;
    for (std::vector<Cell>& row : out.rows)
      if (const auto* whole = std::get_if<std::int64_t>(&row[i])) row[i] = *whole != 0;
  }
  return out;
}

Rows Reader::sql(const std::string& text) {
  db_.distrust();
  Statement statement(db_, text);
  if (!statement.reads_only())
    throw UserError("--sql only reads: this statement would change the database");
  if (statement.more_sql()) throw UserError("--sql takes one statement");
  return rows_of(statement);
}

}  // namespace brood
