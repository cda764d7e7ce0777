#include "store/history.h"

#include <algorithm>
#include <charconv>

#include "store/schema.h"
#include "store/views.h"

namespace brood {

namespace {

using sqlite::Statement;

// The views' suffix of a new experiment: from its name, and free (view names ignore case).
std::string free_suffix(sqlite::Connection& db, const std::string& name) {
  const std::string plain = suffix_of(name);
  Statement taken(db, "SELECT 1 FROM experiment WHERE suffix = ?1 COLLATE NOCASE");
  std::string suffix = plain;
  for (int number = 2;; ++number) {
    const bool used = taken.bind(1, std::string_view(suffix)).step();
    taken.reset();
    if (!used) return suffix;
    suffix = plain + "_" + std::to_string(number);
  }
}

std::optional<std::int64_t> whole_or_none(const Statement& row, int column) {
  if (row.null(column)) return std::nullopt;
  return row.whole(column);
}

std::vector<TrialId> lineage_from(std::string_view text) {
  std::vector<TrialId> out;
  for (const char* at = text.data(); at < text.data() + text.size();) {
    TrialId trial = 0;
    const auto [end, error] = std::from_chars(at, text.data() + text.size(), trial);
    if (error == std::errc()) out.push_back(trial);
    at = error == std::errc() ? end : at + 1;
  }
  return out;
}

// Does "0,3" list this number?
bool lists(std::string_view numbers, std::size_t number) {
  const std::string wanted = std::to_string(number);
  for (std::size_t at = 0; at < numbers.size();) {
    const std::size_t end = std::min(numbers.find(',', at), numbers.size());
    if (numbers.substr(at, end - at) == wanted) return true;
    at = end + 1;
  }
  return false;
}

[[noreturn]] void damaged(const sqlite::Connection& db, const std::string& what) {
  throw UserError(db.path() + ": is damaged: " + what +
                  ": restore a copy, or save what can be read with: sqlite3 FILE .recover");
}

constexpr int kPointColumn = 14;  // where the parameters begin in a row of trials

std::string trials_sql(const Layout& layout) {
  std::string sql =
      "SELECT t.number, t.origin, t.state, t.first_epoch, t.last_epoch, t.judged_epoch, t.parent, "
      "t.same_as, t.lineage, t.seed, t.objective, t.best_epoch, t.cause, t.why";
  for (const ParamColumn& param : layout.params) sql += ", p." + sqlite::quote_name(param.column);
  return sql + " FROM trial t LEFT JOIN " + point_table(layout.experiment) +
         " p ON p.trial = t.id WHERE t.id BETWEEN ?1 AND ?2 ORDER BY t.id";
}

Trial read_trial(const Statement& row, const Layout& layout) {
  Trial trial;
  trial.id = row.whole(0);
  trial.origin = origin(row.text(1));
  trial.state = trial_state(row.text(2));
  trial.first_epoch = static_cast<int>(row.whole(3));
  trial.last_epoch = static_cast<int>(row.whole(4));
  trial.judged_epoch = static_cast<int>(row.whole(5));
  trial.parent = whole_or_none(row, 6);
  trial.same_as = whole_or_none(row, 7);
  if (!row.null(8)) trial.lineage = lineage_from(row.text(8));
  trial.seed = static_cast<std::uint64_t>(row.whole(9));
  if (!row.null(10)) trial.objective = row.real(10);
  if (!row.null(11)) trial.best_epoch = static_cast<int>(row.whole(11));
  if (!row.null(12)) trial.cause = cause(row.text(12));
  trial.why = row.text(13);
  for (std::size_t i = 0; i < layout.params.size(); ++i) {
    const int column = kPointColumn + static_cast<int>(i);
    if (!row.null(column))
      trial.params.set(layout.params[i].name, read_value(row, column, layout.params[i].type));
  }
  return trial;
}

// All reports of each trial that has not ended, or of all of them.
void load_reports(sqlite::Connection& db, const Layout& layout, std::vector<Trial>& trials,
                  bool also_of_ended) {
  Statement rows(db, "SELECT epoch, nan" + metric_columns(0, layout.metrics.size()) +
                         " FROM report WHERE trial = ?1 ORDER BY epoch");
  for (Trial& trial : trials) {
    if (ended(trial.state) && !also_of_ended) continue;
    rows.bind(1, row_id(layout.experiment, trial.id));
    while (rows.step())
      trial.reports.push_back(read_report(rows, static_cast<int>(rows.whole(0)), 1, layout));
  }
}

void load_attempts(sqlite::Connection& db, std::int64_t first, std::int64_t last,
                   History& history) {
  Statement rows(db,
                 // SQLite takes the plain columns from the row of the greatest attempt.
                 "SELECT trial, max(attempt), sum(charged), charged, end, why FROM attempt "
                 "WHERE trial BETWEEN ?1 AND ?2 GROUP BY trial");
  rows.bind(1, first).bind(2, last);
  while (rows.step()) {
    const auto at = static_cast<std::size_t>(rows.whole(0) - first);
    if (at >= history.trials.size()) damaged(db, "an attempt of a trial that is not there");
    history.attempts[at] = static_cast<int>(rows.whole(1));
    history.charged[at] = static_cast<int>(rows.whole(2));
    if (ended(history.trials[at].state)) continue;
    AttemptEnded& ended_so = history.last_ends[at];
    ended_so.charged = rows.whole(3) != 0;
    ended_so.end = rows.text(4);
    ended_so.why = rows.text(5);
  }
}

void load_verdicts(sqlite::Connection& db, std::int64_t experiment, History& history) {
  Statement rows(db,
                 "SELECT trial, epoch, score, verdict, horizon FROM rung WHERE experiment = ?1 "
                 "ORDER BY epoch, trial");
  rows.bind(1, experiment);
  while (rows.step())
    history.verdicts.push_back(
        {rows.whole(0) - row_id(experiment, 0), static_cast<int>(rows.whole(1)), rows.real(2),
         rows.text(3) == "stop" ? Verdict::stop : Verdict::proceed, rows.whole(4)});
}

void load_checkpoints(sqlite::Connection& db, std::int64_t first, std::int64_t last,
                      History& history) {
  Statement rows(db,
                 "SELECT trial, epoch, path, bytes FROM checkpoint WHERE trial BETWEEN ?1 AND ?2 "
                 "ORDER BY trial, epoch");
  rows.bind(1, first).bind(2, last);
  while (rows.step())
    history.checkpoints.push_back({rows.whole(0) - first, static_cast<int>(rows.whole(1)),
                                   std::string(rows.text(2)),
                                   static_cast<std::uint64_t>(rows.whole(3))});
}

}  // namespace

std::vector<EventLogged> load_facts(sqlite::Connection& db, std::int64_t experiment) {
  std::vector<EventLogged> facts;
  Statement rows(db,
                 "SELECT ifnull(at_trial, -1), at_us, kind, body FROM event WHERE experiment = ?1 "
                 "AND (at_trial IS NOT NULL OR kind = 'replay') ORDER BY seq");
  rows.bind(1, experiment);
  while (rows.step())
    facts.push_back(
        {rows.whole(0), rows.whole(1), std::string(rows.text(2)), std::string(rows.text(3))});
  return facts;
}

std::optional<std::int64_t> find_experiment(sqlite::Connection& db, const std::string& name) {
  Statement find(db, "SELECT id FROM experiment WHERE name = ?1");
  if (!find.bind(1, std::string_view(name)).step()) return std::nullopt;
  const std::int64_t id = find.whole(0);
  find.reset();
  return id;
}

std::int64_t create_experiment(sqlite::Connection& db, const ExperimentSpec& spec,
                               const Session& session) {
  Layout layout;
  layout.experiment = db.whole("SELECT ifnull(max(id), 0) + 1 FROM experiment");
  layout.suffix = free_suffix(db, spec.name);
  layout.maximize = spec.objective.maximize;
  layout.params = param_columns(spec.space);
  Statement add(db,
                "INSERT INTO experiment(id, name, description, seed, config, space, metrics, "
                "objective, goal, reduce, numeric_class, state, suffix, created_us, version) "
                "VALUES(?1, ?2, ?3, ?4, ?5, ?6, '[]', ?7, ?8, ?9, '', 'running', ?10, ?11, ?12)");
  add.bind(1, layout.experiment)
      .bind(2, std::string_view(spec.name))
      .bind(3, std::string_view(spec.description))
      .bind(4, static_cast<std::int64_t>(spec.seed))
      .bind(5, std::string_view(spec.config))
      .bind(6, std::string_view(params_to_json(layout.params)))
      .bind(7, std::string_view(spec.objective.metric))
      .bind(8, std::string_view(layout.maximize ? "maximize" : "minimize"))
      .bind(9, std::string_view(spec.objective.reduce == Objective::Reduce::best ? "best" : "last"))
      .bind(10, std::string_view(layout.suffix))
      .bind(11, session.started_us)
      .bind(12, std::string_view(session.version))
      .execute();
  db.run(create_point_table(layout));
  create_views(db, layout);
  return layout.experiment;
}

std::int64_t begin_session(sqlite::Connection& db, std::int64_t experiment,
                           const Session& session) {
  Statement last(db, "SELECT ifnull(max(number), 0) + 1 FROM session WHERE experiment = ?1");
  last.bind(1, experiment).step();
  const std::int64_t number = last.whole(0);
  last.reset();
  Statement add(db,
                "INSERT INTO session(experiment, number, host, pid, started_us, executors, "
                "launcher, version, expected, config_file) "
                "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
  add.bind(1, experiment)
      .bind(2, number)
      .bind(3, std::string_view(session.host))
      .bind(4, session.pid)
      .bind(5, session.started_us)
      .bind(6, session.executors)
      .bind(7, std::string_view(session.launcher))
      .bind(8, std::string_view(session.version))
      .bind(9, session.expected)
      .bind(10, std::string_view(session.config_file))
      .execute();
  // Of trials that have not ended: an attempt of another trial ended with it at the latest.
  Statement lost(db,
                 "UPDATE attempt SET end = 'lost', why = 'the run ended before it' "
                 "WHERE end IS NULL AND trial IN (SELECT id FROM trial WHERE experiment = ?1 AND "
                 "state IN ('waiting', 'running'))");
  lost.bind(1, experiment).execute();
  std::vector<std::int64_t> all;
  Statement ids(db, "SELECT id FROM experiment ORDER BY id");
  while (ids.step()) all.push_back(ids.whole(0));
  for (const std::int64_t one : all) create_views(db, load_layout(db, one));
  return number;
}

History load_history(sqlite::Connection& db, std::int64_t experiment) {
  const Layout layout = load_layout(db, experiment);
  const std::int64_t first = row_id(experiment, 0), last = row_id(experiment + 1, 0) - 1;
  History history;
  Statement own(db, "SELECT state, config, numeric_class FROM experiment WHERE id = ?1");
  own.bind(1, experiment).step();
  history.state = own.text(0);
  history.config = own.text(1);
  history.numeric_class = own.text(2);
  own.reset();

  Statement rows(db, trials_sql(layout));
  rows.bind(1, first).bind(2, last);
  while (rows.step()) {
    history.trials.push_back(read_trial(rows, layout));
    if (history.trials.back().id != static_cast<TrialId>(history.trials.size()) - 1)
      damaged(db, "trial " + std::to_string(history.trials.size() - 1) + " is missing");
  }
  history.attempts.resize(history.trials.size());
  history.charged.resize(history.trials.size());
  history.last_ends.resize(history.trials.size());
  load_reports(db, layout, history.trials, false);
  load_attempts(db, first, last, history);
  load_verdicts(db, experiment, history);
  load_checkpoints(db, first, last, history);
  history.facts = load_facts(db, experiment);
  return history;
}

std::optional<Trial> load_trial(sqlite::Connection& db, const Layout& layout, TrialId trial) {
  Statement rows(db, trials_sql(layout));
  const std::int64_t id = row_id(layout.experiment, trial);
  if (!rows.bind(1, id).bind(2, id).step()) return std::nullopt;
  std::vector<Trial> found = {read_trial(rows, layout)};
  rows.reset();
  load_reports(db, layout, found, true);
  return found.front();
}

Report read_report(const Statement& row, int epoch, int nan_column, const Layout& layout) {
  Report report{epoch, {}};
  for (std::size_t i = 0; i < layout.metrics.size(); ++i) {
    const int column = nan_column + 1 + static_cast<int>(i);
    if (row.null(column) && !lists(row.text(nan_column), i)) continue;
    report.metrics.push_back({layout.metrics[i].name, row.real(column), layout.metrics[i].exact});
  }
  return report;
}

}  // namespace brood
