// brood best: the ranking, or its first as a config.
#include "cli/asked.h"
#include "cli/best_config.h"
#include "engine/error.h"

namespace brood {

namespace {

Table ranking(Reader& reader, const ExperimentRecord& experiment, std::int64_t count) {
  Table table;
  table.columns = {"rank", "trial", experiment.objective};
  for (const ParamColumn& param : experiment.layout.params) table.columns.push_back(param.name);
  table.columns.insert(table.columns.end(), {"epochs", "state"});
  std::int64_t rank = 0;
  for (const TrialId id : reader.best(experiment, count)) {
    const Trial trial = reader.trial(experiment, id);
    auto& row = table.rows.emplace_back();
    row.emplace_back(++rank);
    row.emplace_back(id);
    row.emplace_back(trial.objective.value());
    for (const ParamColumn& param : experiment.layout.params) {
      row.push_back(cell_of(trial.params.find(param.name)));
    }
    row.emplace_back(std::int64_t{trial.judged_epoch});
    row.emplace_back(std::string(to_text(trial.state)));
  }
  return table;
}

}  // namespace

int best_command(const BestOptions& options, std::ostream& out) {
  if (options.config && options.format != Format::people)
    throw UserError("--config prints a config, which is JSON: it goes without --json and --csv");
  Asked asked = ask(options.where);
  const ExperimentRecord& experiment = asked.experiment;
  const Table table = ranking(asked.reader, experiment, options.config ? 1 : options.count);
  if (options.config) {
    if (table.rows.empty())
      throw UserError("experiment \"" + experiment.name + "\" has no trial with an objective yet");
    const Trial winner = asked.reader.trial(experiment, std::get<std::int64_t>(table.rows[0][1]));
    out << config_of(experiment.config, experiment.layout, winner);
    return 0;
  }
  if (table.rows.empty() && options.format == Format::people) {
    out << "experiment \"" << printable(experiment.name)
        << "\" has no trial with an objective yet\n";
    return 1;
  }
  print(table, options.format, options.format == Format::people ? terminal_width() : 0, out);
  return table.rows.empty() ? 1 : 0;
}

}  // namespace brood
