#include "store/recorder.h"

#include <chrono>
#include <cmath>

#include "store/schema.h"
#include "store/views.h"

namespace brood {

namespace {

// More metrics than this are a trainer that makes up names; the surplus is not stored, but for the
// objective.
constexpr std::size_t kMetricsMax = 500;
constexpr std::size_t kNoColumn = static_cast<std::size_t>(-1);

std::int64_t now_us() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

std::string lineage_text(const std::vector<TrialId>& lineage) {
  std::string out;
  for (const TrialId trial : lineage) {
    out += out.empty() ? '[' : ',';
    out += std::to_string(trial);
  }
  if (!out.empty()) out += ']';
  return out;
}

std::string add_point_sql(const Layout& layout) {
  std::string names = "trial", values = "?1";
  for (std::size_t i = 0; i < layout.params.size(); ++i) {
    names += ", " + sqlite::quote_name(layout.params[i].column);
    values += ", ?" + std::to_string(i + 2);
  }
  return "INSERT INTO " + point_table(layout.experiment) + "(" + names + ") VALUES(" + values + ")";
}

}  // namespace

Recorder::Recorder(sqlite::Connection& db, std::int64_t experiment, std::int64_t session)
    : db_(db),
      experiment_(experiment),
      session_(session),
      layout_(load_layout(db, experiment)),
      add_trial_(
          db,
          "INSERT INTO trial(id, experiment, number, origin, state, first_epoch, last_epoch, "
          "judged_epoch, parent, same_as, lineage, seed, objective, best_epoch, cause, why) "
          "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"),
      change_trial_(
          db,
          "UPDATE trial SET state = ?2, last_epoch = ?3, judged_epoch = ?4, same_as = ?5, "
          "objective = ?6, best_epoch = ?7, cause = ?8, why = ?9 WHERE id = ?1"),
      add_point_(db, add_point_sql(layout_)),
      start_attempt_(db,
                     "INSERT INTO attempt(trial, attempt, session, executor, host, device, "
                     "numeric_class, started_us, from_epoch, log) "
                     "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
      end_attempt_(db,
                   "UPDATE attempt SET ended_us = ?3, end = ?4, charged = ?5, why = ?6, "
                   "max_rss = ?7 WHERE trial = ?1 AND attempt = ?2"),
      judge_(db,
             "INSERT INTO rung(experiment, epoch, trial, score, verdict, horizon) "
             "VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(experiment, epoch, trial) "
             "DO UPDATE SET score = ?4, verdict = ?5, horizon = ?6"),
      save_checkpoint_(db,
                       "INSERT INTO checkpoint(trial, epoch, path, bytes) VALUES(?1, ?2, ?3, ?4) "
                       "ON CONFLICT(trial, epoch) DO UPDATE SET path = ?3, bytes = ?4"),
      drop_checkpoint_(db, "DELETE FROM checkpoint WHERE trial = ?1 AND epoch = ?2"),
      log_event_(db,
                 "INSERT INTO event(experiment, session, at_trial, at_us, kind, body) "
                 "VALUES(?1, ?2, ?3, ?4, ?5, ?6)"),
      change_state_(db, "UPDATE experiment SET state = ?2, why = ?3 WHERE id = ?1"),
      end_session_(db, "UPDATE session SET ended_us = ?3 WHERE experiment = ?1 AND number = ?2"),
      use_session_(db,
                   "UPDATE session SET horizon_seconds = ?3, expected = ?4 WHERE experiment = ?1 "
                   "AND number = ?2") {
  reload();
}

void Recorder::reload() {
  layout_ = load_layout(db_, experiment_);
  width_ = static_cast<std::size_t>(
      db_.whole("SELECT count(*) FROM pragma_table_info('report') WHERE name GLOB 'm[0-9]*'"));
  prepare_reports();
}

void Recorder::prepare_reports() {
  const std::size_t count = layout_.metrics.size();
  const std::string columns = metric_columns(0, count);
  std::string values;
  for (std::size_t i = 0; i < count; ++i) values += ", ?" + std::to_string(i + 5);
  report_.emplace(db_, "INSERT INTO report(trial, epoch, wall_us, nan" + columns +
                           ") VALUES(?1, ?2, ?3, ?4" + values +
                           ") ON CONFLICT(trial, epoch) DO NOTHING");
  result_.emplace(db_, "INSERT INTO result(trial, epoch, nan" + columns +
                           ") SELECT trial, epoch, nan" + columns +
                           " FROM report WHERE trial = ?1 AND epoch = ?2 "
                           "ON CONFLICT(trial) DO NOTHING");
}

std::int64_t Recorder::id(TrialId trial) const { return row_id(experiment_, trial); }

void Recorder::apply(const Change& change) {
  std::visit([this](const auto& one) { write(one); }, change);
}

void Recorder::apply(const ConfigSet& change) {
  sqlite::Statement set(db_, "UPDATE experiment SET config = ?2 WHERE id = ?1");
  set.bind(1, experiment_).bind(2, std::string_view(change.config)).execute();
}

void Recorder::apply(const NumericClassSet& change) {
  sqlite::Statement set(db_, "UPDATE experiment SET numeric_class = ?2 WHERE id = ?1");
  set.bind(1, experiment_).bind(2, std::string_view(change.numeric_class)).execute();
}

void Recorder::write(const TrialAdded& change) {
  const Trial& trial = change.trial;
  add_trial_.bind(1, id(trial.id))
      .bind(2, experiment_)
      .bind(3, trial.id)
      .bind(4, to_text(trial.origin))
      .bind(5, to_text(trial.state))
      .bind(6, trial.first_epoch)
      .bind(7, trial.last_epoch)
      .bind(8, trial.judged_epoch)
      .bind(9, trial.parent)
      .bind(10, trial.same_as)
      .bind_text_or_null(11, lineage_text(trial.lineage))
      .bind(12, static_cast<std::int64_t>(trial.seed))
      .bind(13, trial.objective)
      .bind(14, trial.best_epoch)
      .bind_text_or_null(15, to_text(trial.cause))
      .bind_text_or_null(16, trial.why)
      .execute();
  write_point(trial);
  if (trial.state == TrialState::known) write_result(trial);
}

void Recorder::write_point(const Trial& trial) {
  add_point_.bind(1, id(trial.id));
  std::size_t found = 0;
  for (std::size_t i = 0; i < layout_.params.size(); ++i) {
    const int at = static_cast<int>(i) + 2;
    const Value* value = trial.params.find(layout_.params[i].name);
    if (value != nullptr) {
      bind_value(add_point_, at, *value, layout_.params[i].type);
      ++found;
    } else {
      add_point_.bind_null(at);
    }
  }
  CHECK(found == trial.params.entries().size(),
        "a parameter that is not in the space: " + to_text(trial.params));
  add_point_.execute();
}

void Recorder::write(const TrialChanged& change) {
  const Trial& trial = change.trial;
  change_trial_.bind(1, id(trial.id))
      .bind(2, to_text(trial.state))
      .bind(3, trial.last_epoch)
      .bind(4, trial.judged_epoch)
      .bind(5, trial.same_as)
      .bind(6, trial.objective)
      .bind(7, trial.best_epoch)
      .bind_text_or_null(8, to_text(trial.cause))
      .bind_text_or_null(9, trial.why)
      .execute();
  CHECK(db_.changed_rows() == 1, "a change of a trial that was never added");
  if (ended(trial.state)) write_result(trial);
}

void Recorder::write_result(const Trial& trial) {
  if (trial.judged_epoch < trial.first_epoch) return;
  result_->bind(1, id(trial.id)).bind(2, trial.judged_epoch).execute();
}

void Recorder::write(const AttemptStarted& change) {
  start_attempt_.bind(1, id(change.trial))
      .bind(2, change.attempt)
      .bind(3, session_)
      .bind(4, std::string_view(change.executor))
      .bind(5, std::string_view(change.host))
      .bind(6, std::string_view(change.device))
      .bind(7, std::string_view(change.numeric_class))
      .bind(8, change.started_us)
      .bind(9, change.from_epoch)
      .bind_text_or_null(10, change.log)
      .execute();
}

void Recorder::write(const AttemptEnded& change) {
  end_attempt_.bind(1, id(change.trial))
      .bind(2, change.attempt)
      .bind(3, change.ended_us)
      .bind(4, std::string_view(change.end))
      .bind(5, change.charged ? 1 : 0)
      .bind_text_or_null(6, change.why);
  if (change.max_rss != 0)
    end_attempt_.bind(7, static_cast<std::int64_t>(change.max_rss));
  else
    end_attempt_.bind_null(7);
  end_attempt_.execute();
}

// Reports of one experiment nearly always name the same metrics in the same order: the guess.
std::size_t Recorder::metric_column(const Metric& metric, std::size_t guess) {
  const auto matches = [&](std::size_t i) {
    return layout_.metrics[i].exact == metric.exact && layout_.metrics[i].name == metric.name;
  };
  if (guess < layout_.metrics.size() && matches(guess)) return guess;
  for (std::size_t i = 0; i < layout_.metrics.size(); ++i)
    if (matches(i)) return i;
  return kNoColumn;
}

// Finds the column of each metric, in places_; makes the ones that are missing.
void Recorder::learn_metrics(const Report& report) {
  const std::size_t known = layout_.metrics.size();
  places_.clear();
  for (const Metric& metric : report.metrics) {
    std::size_t place = metric_column(metric, places_.size());
    if (place == kNoColumn &&
        (layout_.metrics.size() < kMetricsMax || metric.name == layout_.objective)) {
      place = layout_.metrics.size();
      add_metric(layout_, metric.name, metric.exact);
    }
    places_.push_back(place);
  }
  if (layout_.metrics.size() == known) return;
  for (; width_ < layout_.metrics.size(); ++width_)
    for (const char* table : {"report", "result"})
      db_.run(std::string("ALTER TABLE ") + table + " ADD COLUMN m" + std::to_string(width_) +
              " REAL");
  sqlite::Statement set(db_, "UPDATE experiment SET metrics = ?2 WHERE id = ?1");
  set.bind(1, experiment_).bind(2, std::string_view(metrics_to_json(layout_.metrics))).execute();
  create_views(db_, layout_);
  prepare_reports();
}

void Recorder::write(const Reported& change) {
  learn_metrics(change.report);
  report_->bind(1, id(change.trial)).bind(2, change.report.epoch).bind(3, change.wall_us);
  for (std::size_t i = 0; i < layout_.metrics.size(); ++i)
    report_->bind_null(static_cast<int>(i) + 5);
  std::string nan;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    if (places_[i] == kNoColumn) continue;
    const double value = change.report.metrics[i].value;
    report_->bind(static_cast<int>(places_[i]) + 5, value);
    if (!std::isnan(value)) continue;
    if (!nan.empty()) nan += ',';
    nan += std::to_string(places_[i]);
  }
  report_->bind_text_or_null(4, nan).execute();
}

void Recorder::write(const Judged& change) {
  judge_.bind(1, experiment_)
      .bind(2, change.epoch)
      .bind(3, id(change.trial))
      .bind(4, change.score)
      .bind(5, std::string_view(change.verdict == Verdict::stop ? "stop" : "proceed"))
      .bind(6, change.horizon)
      .execute();
}

void Recorder::write(const CheckpointSaved& change) {
  save_checkpoint_.bind(1, id(change.trial))
      .bind(2, change.epoch)
      .bind(3, std::string_view(change.path))
      .bind(4, static_cast<std::int64_t>(change.bytes))
      .execute();
}

void Recorder::write(const CheckpointDropped& change) {
  drop_checkpoint_.bind(1, id(change.trial)).bind(2, change.epoch).execute();
}

void Recorder::write(const EventLogged& change) {
  log_event_.bind(1, experiment_).bind(2, session_);
  if (change.at_trial >= 0)
    log_event_.bind(3, change.at_trial);
  else
    log_event_.bind_null(3);
  log_event_.bind(4, change.at_us)
      .bind(5, std::string_view(change.kind))
      .bind(6, std::string_view(change.body))
      .execute();
}

void Recorder::write(const SessionUsed& change) {
  use_session_.bind(1, experiment_)
      .bind(2, session_)
      .bind(3, change.horizon_seconds)
      .bind(4, change.expected)
      .execute();
}

void Recorder::write(const StateChanged& change) {
  change_state_.bind(1, experiment_)
      .bind(2, std::string_view(change.state))
      .bind_text_or_null(3, change.why)
      .execute();
  if (change.state != "running" && change.state != "paused")
    end_session_.bind(1, experiment_).bind(2, session_).bind(3, now_us()).execute();
}

}  // namespace brood
