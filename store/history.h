// What a run needs to go on, read from the database; and the rows of an experiment and a session.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/store.h"
#include "store/layout.h"
#include "store/sqlite.h"

namespace brood {

// nullopt: there is none of this name.
std::optional<std::int64_t> find_experiment(sqlite::Connection& db, const std::string& name);

// Both within a transaction of the caller's.
std::int64_t create_experiment(sqlite::Connection& db, const ExperimentSpec& spec,
                               const Session& session);
// Returns its number; attempts that an earlier session left open are marked as lost, and views that
// another version made are made anew.
std::int64_t begin_session(sqlite::Connection& db, std::int64_t experiment, const Session& session);

// Everything but `created` and `session`.
History load_history(sqlite::Connection& db, std::int64_t experiment);

// What engine/facts.h reads, in the order in which it was put.
std::vector<EventLogged> load_facts(sqlite::Connection& db, std::int64_t experiment);

// One trial with all its reports, official and speculative; nullopt: there is none.
std::optional<Trial> load_trial(sqlite::Connection& db, const Layout& layout, TrialId trial);

// A report from a row with `nan` in this column and m0, m1, ... from the next one on.
Report read_report(const sqlite::Statement& row, int epoch, int nan_column, const Layout& layout);

}  // namespace brood
