// brood compare: what differs between trials, one column a trial.
#include <algorithm>

#include "cli/asked.h"
#include "engine/error.h"

namespace brood {

namespace {

// The last official report, as the trial's result; nullptr without one.
const Report* result_of(const Trial& trial) {
  const Report* last = nullptr;
  for (const Report& report : trial.reports)
    if (report.epoch <= trial.judged_epoch) last = &report;
  return last;
}

}  // namespace

int compare_command(const CompareOptions& options, std::ostream& out) {
  if (options.trials.size() < 2) throw UserError("compare takes two trials or more: their numbers");
  Asked asked = ask(options.where);
  const ExperimentRecord& experiment = asked.experiment;
  std::vector<Trial> trials;
  for (const TrialId id : options.trials)
    trials.push_back(with_result(asked.reader, experiment, id));

  Table table;
  table.columns = {"name"};
  for (const Trial& trial : trials) table.columns.push_back("trial " + std::to_string(trial.id));
  table.columns.emplace_back("same");
  const auto add = [&](const std::string& name, auto&& cell_of_trial) {
    auto& row = table.rows.emplace_back();
    row.emplace_back(name);
    for (const Trial& trial : trials) row.push_back(cell_of_trial(trial));
    const bool same =
        std::all_of(row.begin() + 2, row.end(), [&](const Cell& each) { return each == row[1]; });
    row.emplace_back(std::string(same ? "yes" : "no"));
  };
  add("state", [](const Trial& t) { return Cell(std::string(to_text(t.state))); });
  add("objective", [](const Trial& t) { return cell_of(t.objective); });
  add("epochs", [](const Trial& t) { return Cell(std::int64_t{t.judged_epoch}); });
  for (const ParamColumn& param : experiment.layout.params)
    add(param.name, [&](const Trial& t) { return cell_of(t.params.find(param.name)); });
  for (const MetricColumn& metric : experiment.layout.metrics)
    add(metric.column, [&](const Trial& t) {
      const Report* last = result_of(t);
      const Metric* value = last != nullptr ? last->find(metric.name) : nullptr;
      return cell_of(value != nullptr ? std::optional(value->value) : std::nullopt);
    });
  print(table, options.format, options.format == Format::people ? terminal_width() : 0, out);
  return 0;
}

}  // namespace brood
