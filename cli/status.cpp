// brood status: how far an experiment is, also while it runs.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "cli/asked.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/units.h"

namespace brood {

namespace {

// Everything that is shown, gathered in one read transaction.
struct Snapshot {
  Where where;
  ExperimentRecord experiment;
  bool alive = false;
  std::string resume;  // the command
  StateCounts counts;
  std::optional<SessionRecord> session;  // the last one
  Usage usage;
  std::optional<Trial> best;
  std::vector<RunningRecord> running;
  std::vector<EventRecord> events;
  std::int64_t until_us = 0;  // now, or when the last session ended
};

Snapshot look(const Where& asked_where) {
  Snapshot now;
  now.where = resolved(asked_where);
  Asked asked = ask(now.where);
  Reader& reader = asked.reader;
  now.experiment = std::move(asked.experiment);
  now.alive = alive(reader, now.experiment);
  now.resume = resume_command(reader, now.experiment);
  now.counts = reader.counts(now.experiment);
  const std::vector<SessionRecord> sessions = reader.sessions(now.experiment);
  if (!sessions.empty()) now.session = sessions.back();
  now.until_us = now_us();
  if (now.session && now.session->ended_us) now.until_us = *now.session->ended_us;
  if (now.session)
    now.usage = reader.usage(now.experiment, now.session->number, now.alive ? now.until_us : 0);
  const std::vector<TrialId> best = reader.best(now.experiment, 1);
  if (!best.empty()) now.best = reader.trial(now.experiment, best.front());
  now.running = reader.running(now.experiment);
  now.events = reader.events(now.experiment, 5);
  return now;
}

std::string state_text(const Snapshot& now) {
  const ExperimentRecord& experiment = now.experiment;
  std::string out = experiment.state;
  if (is_open(experiment) && !now.alive)
    out = "interrupted (no process runs it; continue with " + now.resume + ")";
  if (!experiment.why.empty()) out += ": " + short_reason(experiment.why);
  if (experiment.state == "paused" && now.alive)
    out += " (`brood continue " + shell_word(now.where.database) + "` lets it go on)";
  if (experiment.state == "interrupted") out += " (continue with " + now.resume + ")";
  return out;
}

// Trials that ended, of those that are expected. Duplicates do not count towards max_trials, but
// do towards what a strategy has to offer.
std::int64_t ended_of_expected(const Snapshot& now) {
  const StateCounts& counts = now.counts;
  const std::int64_t ended = counts.all() - counts.waiting - counts.running;
  const Json config = Json::parse(now.experiment.config, nullptr, false);
  const Json* limit = nullptr;
  if (config.is_object() && config.contains("budget") && config["budget"].is_object() &&
      config["budget"].contains("max_trials"))
    limit = &config["budget"]["max_trials"];
  const bool limited = limit != nullptr && limit->is_number_integer() && now.session &&
                       now.session->session.expected == limit->get<std::int64_t>();
  return limited ? ended - counts.duplicate - counts.known : ended;
}

std::string trials_text(const Snapshot& now) {
  const StateCounts& counts = now.counts;
  const std::int64_t ended = ended_of_expected(now);
  std::string out = count_text(ended, "trial") + " ended";
  const std::int64_t expected = now.session ? now.session->session.expected.value_or(-1) : -1;
  if (now.experiment.state == "completed")
    out = count_text(counts.all(), "trial");
  else if (ended <= expected)
    out = std::to_string(ended) + " of about " + count_text(expected, "trial") + " ended";
  const bool gone = is_open(now.experiment) && !now.alive;
  const std::pair<std::int64_t, std::string> parts[] = {
      {counts.completed, "completed"},
      {counts.stopped, "stopped"},
      {counts.failed, "failed"},
      {counts.infeasible, "infeasible"},
      {counts.duplicate, counts.duplicate == 1 ? "duplicate" : "duplicates"},
      {counts.surplus, "surplus"},
      {counts.cancelled, "cancelled"},
      {counts.known, "known before"},
      {counts.running, !gone                 ? "running"
                       : counts.running == 1 ? "was running"
                                             : "were running"},
      {counts.waiting, "waiting"}};
  const char* gap = ": ";
  for (const auto& [count, name] : parts) {
    if (count == 0) continue;
    out += gap + std::to_string(count) + " " + name;
    gap = ", ";
  }
  return out;
}

constexpr double kRateAfterSeconds = 10.0;  // before, a rate says little

double session_seconds(const Snapshot& now) {
  if (!now.session) return 0.0;
  return static_cast<double>(now.until_us - now.session->session.started_us) / 1e6;
}

// Share of the executors' time that attempts took; only known while the session is.
std::optional<double> busy_share(const Snapshot& now) {
  if (!now.session || now.session->session.executors < 1 || session_seconds(now) <= 0)
    return std::nullopt;
  if (!now.alive && !now.session->ended_us) return std::nullopt;
  const double offered = session_seconds(now) * now.session->session.executors;
  // The times are the wall clock's, which somebody may have set meanwhile.
  return std::clamp(now.usage.busy_seconds / offered, 0.0, 1.0);
}

// Share of the executors' time that the search's own order cost: its next proposals have to see
// trials that were still running.
std::optional<double> horizon_share(const Snapshot& now) {
  if (!busy_share(now) || !now.session->horizon_seconds) return std::nullopt;
  const double offered = session_seconds(now) * now.session->session.executors;
  return std::min(1.0, *now.session->horizon_seconds / offered);
}

std::optional<double> trials_a_minute(const Snapshot& now) {
  if (!now.session || session_seconds(now) <= 0 || now.usage.trials_ended == 0) return std::nullopt;
  if (!now.alive && !now.session->ended_us) return std::nullopt;
  return static_cast<double>(now.usage.trials_ended) * 60.0 / session_seconds(now);
}

std::optional<Millis> remaining(const Snapshot& now) {
  const auto rate = trials_a_minute(now);
  // A pause may last for ever.
  if (!now.alive || now.experiment.state == "paused" || !rate || !now.session->session.expected)
    return std::nullopt;
  const std::int64_t left = *now.session->session.expected - ended_of_expected(now);
  const double ms = static_cast<double>(std::max<std::int64_t>(left, 0)) / *rate * 60'000.0;
  return Millis(static_cast<std::int64_t>(ms) / 1000 * 1000);
}

std::optional<double> dropped_share(const Snapshot& now) {
  if (now.usage.epochs == 0) return std::nullopt;
  return static_cast<double>(now.usage.epochs_dropped) / static_cast<double>(now.usage.epochs);
}

std::string percent(double share) { return std::to_string(std::lround(share * 100)) + " %"; }

Table running_table(const Snapshot& now) {
  Table table;
  table.columns = {"trial", "attempt",     "epoch",   now.experiment.objective,
                   "since", "last report", "executor"};
  for (const RunningRecord& one : now.running) {
    auto& row = table.rows.emplace_back();
    row.emplace_back(one.trial);
    row.emplace_back(std::int64_t{one.attempt});
    row.emplace_back(std::to_string(one.epoch) + "/" + std::to_string(one.last_epoch));
    row.push_back(cell_of(one.objective));
    row.emplace_back(span_text(one.started_us, now_us()) + " ago");
    row.push_back(text_cell(one.reported_us ? span_text(*one.reported_us, now_us()) + " ago" : ""));
    row.emplace_back(one.executor);
  }
  return table;
}

std::string params_text(const ParamSet& params) {
  std::string out;
  for (const auto& [name, value] : params.entries())
    out += (out.empty() ? "" : " ") + printable(name) + "=" + people_text(cell_of(&value));
  return out;
}

// Trials that ended in a second, a minute or an hour: a number that people read.
std::string rate_text(double a_minute) {
  const auto rounded = [](double rate) { return shown_number(std::round(rate * 10) / 10); };
  if (a_minute >= 120) return rounded(a_minute / 60) + " trials a second";
  if (a_minute < 2) return rounded(a_minute * 60) + " trials an hour";
  return rounded(a_minute) + " trials a minute";
}

void show_people(const Snapshot& now, std::ostream& out) {
  const ExperimentRecord& experiment = now.experiment;
  out << "experiment  " << printable(experiment.name) << " (seed " << experiment.seed << ")\n";
  out << "state       " << state_text(now) << "\n";
  out << "database    " << printable(now.where.database) << "\n";
  if (!experiment.numeric_class.empty())
    out << "numerics    " << printable(experiment.numeric_class) << "\n";
  out << "trials      " << trials_text(now) << "\n";
  if (now.best)
    out << "best        trial " << now.best->id << ": " << printable(experiment.objective) << " "
        << shown_number(*now.best->objective) << " (" << params_text(now.best->params) << ")\n";
  if (now.session) {
    const Session& session = now.session->session;
    out << "session     " << now.session->number << ": "
        << count_text(session.executors, "executor") << ", "
        << (now.alive ? "process " : "was process ") << session.pid << " on "
        << printable(session.host) << ", since " << time_text(session.started_us);
    if (now.alive || now.session->ended_us)
      out << " (" << span_text(session.started_us, now.until_us) << ")";
    out << "\n";
  }
  if (const auto share = busy_share(now)) {
    out << "executors   busy " << percent(*share) << " of the time";
    if (const auto idle = horizon_share(now); idle && *idle >= 0.005)
      out << "; " << percent(*idle) << " idle while the next proposals waited for results";
    out << "\n";
  }
  if (const auto rate = trials_a_minute(now); rate && session_seconds(now) >= kRateAfterSeconds) {
    out << "rate        " << rate_text(*rate);
    if (const auto left = remaining(now)) out << "; about " << duration_text(*left) << " left";
    out << "\n";
  }
  if (const auto share = dropped_share(now); share && now.usage.epochs_dropped > 0)
    out << "epochs      " << now.usage.epochs << " by trials that ended, " << percent(*share)
        << " of them past a verdict to stop\n";
  for (const EventRecord& event : now.events)
    out << "event       " << time_text(event.at_us) << " "
        << (event.at_trial ? "trial " + std::to_string(*event.at_trial) + ": " : "")
        << event_text(event) << "\n";
  if (now.running.empty()) return;
  out << (now.alive ? "\nrunning\n" : "\nwere running\n");
  print(running_table(now), Format::people, terminal_width(), out);
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

void show_json(const Snapshot& now, std::ostream& out) {
  const ExperimentRecord& experiment = now.experiment;
  const StateCounts& counts = now.counts;
  Json json = {{"experiment", experiment.name},
               {"state", experiment.state},
               {"alive", now.alive},
               {"why", experiment.why},
               {"database", now.where.database},
               {"seed", experiment.seed},
               {"numeric_class", experiment.numeric_class},
               {"trials",
                {{"completed", counts.completed},
                 {"stopped", counts.stopped},
                 {"failed", counts.failed},
                 {"infeasible", counts.infeasible},
                 {"duplicate", counts.duplicate},
                 {"surplus", counts.surplus},
                 {"cancelled", counts.cancelled},
                 {"known", counts.known},
                 {"running", counts.running},
                 {"waiting", counts.waiting}}}};
  if (now.session && now.session->session.expected)
    json["expected"] = *now.session->session.expected;
  json["best"] = Json();
  if (now.best)
    json["best"] = {{"trial", now.best->id},
                    {"objective", number_to_json(*now.best->objective)},
                    {"params", to_json(now.best->params)}};
  if (now.session)
    json["session"] = {{"number", now.session->number},
                       {"host", now.session->session.host},
                       {"pid", now.session->session.pid},
                       {"started_us", now.session->session.started_us},
                       {"executors", now.session->session.executors}};
  json["busy_share"] = or_null(busy_share(now));
  json["horizon_share"] = or_null(horizon_share(now));
  json["trials_per_minute"] = or_null(trials_a_minute(now));
  const auto left = remaining(now);
  json["remaining_seconds"] = left ? Json(left->count() / 1000) : Json();
  json["epochs"] = now.usage.epochs;
  json["epochs_dropped"] = now.usage.epochs_dropped;
  json["running"] = Json::array();
  for (const RunningRecord& one : now.running)
    json["running"].push_back({{"trial", one.trial},
                               {"attempt", one.attempt},
                               {"epoch", one.epoch},
                               {"last_epoch", one.last_epoch},
                               {"executor", one.executor},
                               {"started_us", one.started_us}});
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

int status_command(const StatusOptions& options, std::ostream& out) {
  const bool redraw = options.watch && terminal_width() > 0 && options.format == Format::people;
  for (;;) {
    const Snapshot now = look(options.where);
    if (redraw) out << "\x1b[H\x1b[2J";
    if (options.format == Format::json)
      show_json(now, out);
    else
      show_people(now, out);
    out.flush();
    if (!options.watch || !now.alive || !out) return 0;
    if (!redraw) out << "\n";
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace brood
