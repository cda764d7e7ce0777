// What can be asked of a database, before, during and after a run. Each function answers one
// subcommand on `out` and returns the exit status: 0, or 1 when there is nothing to show. UserError
// is for main() to print (status 2). None of them writes to the database.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/table.h"
#include "engine/trial.h"

namespace brood {

// Which experiment. On the command line: --db FILE and -e, --experiment NAME; wherever an argument
// takes a database, the config file that names it will do.
struct Where {
  std::string database;    // a database, or a config; empty: experiments.db in the current folder
  std::string experiment;  // empty: the config's, else the newest of the file
};

// `brood status [DB|CONFIG] [-e NAME] [--watch] [--json]`
struct StatusOptions {
  Where where;
  bool watch = false;  // again every second until the run ends or Ctrl-C
  Format format = Format::people;
};
int status_command(const StatusOptions& options, std::ostream& out);

// `brood best [DB|CONFIG] [-e NAME] [-n N] [--config] [--json|--csv]`
struct BestOptions {
  Where where;
  std::int64_t count = 10;
  bool config = false;  // the best trial as a config to run
  Format format = Format::people;
};
int best_command(const BestOptions& options, std::ostream& out);

// `brood show N [DB|CONFIG] [-e NAME] [--json]`
struct ShowOptions {
  Where where;
  TrialId trial = 0;
  Format format = Format::people;  // people or json
};
int show_command(const ShowOptions& options, std::ostream& out);

// `brood logs N [DB|CONFIG] [-e NAME] [--attempt A]`
struct LogsOptions {
  Where where;
  TrialId trial = 0;
  std::optional<int> attempt = std::nullopt;  // nullopt: all, in order
};
int logs_command(const LogsOptions& options, std::ostream& out);

// `brood why [N] [DB|CONFIG] [-e NAME]`: plain sentences. Without N: about the experiment.
struct WhyOptions {
  Where where;
  std::optional<TrialId> trial = std::nullopt;
};
int why_command(const WhyOptions& options, std::ostream& out);

// `brood query [FILTER] [--db FILE] [-e NAME] [--sort [-]NAME] [--limit N] [--columns A,B]
//  [--sql SELECT] [--json|--csv]`
struct QueryOptions {
  Where where;
  std::string filter;                // store/filter.h; empty: all trials
  std::vector<std::string> columns;  // empty: trial, state, objective, epochs, all parameters
  std::vector<std::string> sort;     // a leading '-' sorts from the largest; empty: by trial
  std::optional<std::int64_t> limit = std::nullopt;  // nullopt: 50 for people, else all
  std::string sql;                                   // instead of the filter: one reading statement
  Format format = Format::people;
};
int query_command(const QueryOptions& options, std::ostream& out);

// `brood importance [DB|CONFIG] [-e NAME] [--json|--csv]`: which parameters moved the objective.
struct ImportanceOptions {
  Where where;
  Format format = Format::people;
};
int importance_command(const ImportanceOptions& options, std::ostream& out);

// `brood compare N M... [--db FILE] [-e NAME] [--json|--csv]`: what differs between trials.
struct CompareOptions {
  Where where;
  std::vector<TrialId> trials;
  Format format = Format::people;
};
int compare_command(const CompareOptions& options, std::ostream& out);

}  // namespace brood
