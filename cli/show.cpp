// brood show: everything about one trial.
#include <algorithm>

#include "cli/asked.h"
#include "cli/why.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/units.h"

namespace brood {

namespace {

std::string list_text(const std::vector<TrialId>& trials) {
  std::string out;
  for (const TrialId trial : trials) {
    if (!out.empty()) out += ", ";
    out += std::to_string(trial);
  }
  return out;
}

void show_head(Asked& asked, const Trial& trial, std::ostream& out) {
  const ExperimentRecord& experiment = asked.experiment;
  out << "trial        " << trial.id << " of " << printable(experiment.name) << "\n";
  out << "state        " << to_text(trial.state);
  if (trial.cause != Cause::none) out << " (" << to_text(trial.cause) << ")";
  out << "\n";
  out << "origin       " << to_text(trial.origin) << "\n";
  if (trial.objective) {
    out << "objective    " << printable(experiment.objective) << " "
        << shown_number(*trial.objective);
    if (trial.best_epoch) out << " at epoch " << *trial.best_epoch;
    if (const auto rank = asked.reader.rank(experiment, trial)) out << ", rank " << *rank;
    out << "\n";
  }
  out << "epochs       " << trial.first_epoch << " to " << trial.last_epoch << ", "
      << trial.judged_epoch << " official\n";
  out << "seed         " << trial.seed << "\n";
  if (trial.parent) out << "parent       trial " << *trial.parent << "\n";
  if (trial.same_as)
    out << "same as      trial " << *trial.same_as << ", whose objective and epochs these are\n";
  if (!trial.lineage.empty()) out << "genes from   trial " << list_text(trial.lineage) << "\n";
  const auto children = asked.reader.children(experiment, trial.id);
  if (!children.empty()) out << "genes in     trial " << list_text(children) << "\n";
  out << "\nparameters\n";
  std::size_t width = 0;
  for (const auto& [name, value] : trial.params.entries()) width = std::max(width, name.size());
  for (const auto& [name, value] : trial.params.entries())
    out << "  " << printable(name) << std::string(width - name.size() + 2, ' ')
        << printable(to_text(value)) << "\n";
}

// ended: of the trial whose reports they are.
Table report_table(const ExperimentRecord& experiment, const Trial& trial, bool ended) {
  Table table;
  table.columns = {"epoch"};
  for (const MetricColumn& metric : experiment.layout.metrics)
    table.columns.push_back(metric.column);
  table.columns.emplace_back("counts");
  for (const Report& report : trial.reports) {
    auto& row = table.rows.emplace_back();
    row.emplace_back(std::int64_t{report.epoch});
    for (const MetricColumn& column : experiment.layout.metrics) {
      const auto at =
          std::find_if(report.metrics.begin(), report.metrics.end(), [&](const Metric& metric) {
            return metric.name == column.name && metric.exact == column.exact;
          });
      row.push_back(cell_of(at != report.metrics.end() ? std::optional(at->value) : std::nullopt));
    }
    const bool counts = report.epoch <= trial.judged_epoch;
    row.emplace_back(std::string(counts ? "yes" : ended ? "no" : "not yet"));
  }
  return table;
}

Table attempt_table(const std::vector<AttemptRecord>& attempts) {
  Table table;
  table.columns = {"attempt", "executor", "device",  "from epoch", "started",
                   "took",    "end",      "charged", "memory",     "why"};
  for (const AttemptRecord& one : attempts) {
    auto& row = table.rows.emplace_back();
    row.emplace_back(std::int64_t{one.attempt});
    row.emplace_back(one.executor);
    row.emplace_back(one.device);
    row.emplace_back(std::int64_t{one.from_epoch});
    row.emplace_back(time_text(one.started_us));
    row.push_back(text_cell(one.ended_us ? span_text(one.started_us, *one.ended_us) : ""));
    row.emplace_back(one.end.value_or("running"));
    row.emplace_back(one.charged);
    row.push_back(text_cell(one.max_rss > 0 ? size_text(one.max_rss) : ""));
    row.push_back(text_cell(short_reason(one.why)));
  }
  return table;
}

std::string indented(const std::string& text) {
  std::string out = "  ";
  for (const char c : text) out += c == '\n' ? std::string("\n  ") : std::string(1, c);
  return out;
}

void show_people(Asked& asked, const Trial& trial, std::ostream& out) {
  const int width = terminal_width();
  show_head(asked, trial, out);
  if (!trial.reports.empty()) {
    out << "\nreports";
    if (trial.same_as) out << " of trial " << *trial.same_as;
    out << "\n";
    const TrialId whose = trial.same_as.value_or(trial.id);
    const bool is_ended = ended(asked.reader.trial(asked.experiment, whose).state);
    print(report_table(asked.experiment, trial, is_ended), Format::people, width, out);
  }
  const auto attempts = asked.reader.attempts(asked.experiment, trial.id);
  if (!attempts.empty()) {
    out << "\nattempts\n";
    print(attempt_table(attempts), Format::people, width, out);
    for (const AttemptRecord& one : attempts)
      if (!one.log.empty())
        out << "log of attempt " << one.attempt << ": "
            << printable(path_beside(asked.reader.path(), one.log)) << "\n";
  }
  for (const CheckpointSaved& saved : asked.reader.checkpoints(asked.experiment, trial.id))
    out << "\ncheckpoint   epoch " << saved.epoch << ", " << size_text(saved.bytes) << ": "
        << printable(path_beside(asked.reader.path(), saved.path)) << "\n";
  out << "\nwhy\n";
  // Not of `trial`: why is about what this one did itself.
  for (const std::string& sentence :
       why_trial(asked, asked.reader.trial(asked.experiment, trial.id)))
    out << indented(sentence) << "\n";
}

Json attempts_json(const std::vector<AttemptRecord>& attempts) {
  Json out = Json::array();
  for (const AttemptRecord& one : attempts)
    out.push_back({{"attempt", one.attempt},
                   {"session", one.session},
                   {"executor", one.executor},
                   {"device", one.device},
                   {"numeric_class", one.numeric_class},
                   {"from_epoch", one.from_epoch},
                   {"started_us", one.started_us},
                   {"ended_us", one.ended_us ? Json(*one.ended_us) : Json()},
                   {"end", one.end ? Json(*one.end) : Json()},
                   {"charged", one.charged},
                   {"max_rss", one.max_rss},
                   {"log", one.log},
                   {"why", one.why}});
  return out;
}

void show_json(Asked& asked, const Trial& trial, std::ostream& out) {
  const auto number = [](const auto& value) { return value ? Json(*value) : Json(); };
  Json json = {{"experiment", asked.experiment.name},
               {"trial", trial.id},
               {"state", to_text(trial.state)},
               {"origin", to_text(trial.origin)},
               {"objective", number(trial.objective)},
               {"best_epoch", number(trial.best_epoch)},
               {"first_epoch", trial.first_epoch},
               {"last_epoch", trial.last_epoch},
               {"judged_epoch", trial.judged_epoch},
               {"seed", trial.seed},
               {"parent", number(trial.parent)},
               {"same_as", number(trial.same_as)},
               {"lineage", trial.lineage},
               {"cause", to_text(trial.cause)},
               {"why", trial.why},
               {"params", to_json(trial.params)}};
  if (trial.same_as) json["reports_of"] = *trial.same_as;
  json["reports"] = Json::array();
  for (const Report& report : trial.reports) json["reports"].push_back(to_json(report));
  json["attempts"] = attempts_json(asked.reader.attempts(asked.experiment, trial.id));
  json["checkpoints"] = Json::array();
  for (const CheckpointSaved& saved : asked.reader.checkpoints(asked.experiment, trial.id))
    json["checkpoints"].push_back(
        {{"epoch", saved.epoch}, {"path", saved.path}, {"bytes", saved.bytes}});
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

int show_command(const ShowOptions& options, std::ostream& out) {
  Asked asked = ask(options.where);
  const Trial trial = with_result(asked.reader, asked.experiment, options.trial);
  if (options.format == Format::json)
    show_json(asked, trial, out);
  else
    show_people(asked, trial, out);
  return 0;
}

}  // namespace brood
