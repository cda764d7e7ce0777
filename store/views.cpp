#include "store/views.h"

#include "store/schema.h"

namespace brood {

namespace {

using sqlite::quote_name;

// What is ranked: ended by itself or stopped, with an objective. A duplicate is its original's
// shadow, a surplus trial came after the target. The words are those of the index trial_rank.
constexpr const char* kRanked = "state IN ('completed', 'stopped') AND objective IS NOT NULL";

std::string metric_list(const Layout& layout, const char* table) {
  std::string sql;
  for (std::size_t i = 0; i < layout.metrics.size(); ++i)
    sql += std::string(", ") + table + ".m" + std::to_string(i) + " AS " +
           quote_name(layout.metrics[i].column);
  return sql;
}

// A duplicate was not trained: its epochs are its original's, as its metrics are.
constexpr const char* kEpochs =
    "CASE WHEN t.same_as IS NULL THEN t.judged_epoch ELSE (SELECT o.judged_epoch FROM trial o "
    "WHERE o.id = (t.experiment << 32 | t.same_as)) END AS epochs";

// Reports of a trial that ended stop at the epoch its verdict was for: what it trained beyond,
// before the verdict could be known, never counted.
//
// By trial first: one trial's curve among ten million reports is found by its number, and one
// epoch of every trial by (trial, epoch).
std::string curve_view(const Layout& layout) {
  return "SELECT t.number AS trial, r.epoch AS epoch" + metric_list(layout, "r") +
         ", r.wall_us AS wall_us FROM trial t CROSS JOIN report r ON r.trial = t.id "
         "WHERE t.experiment = " +
         std::to_string(layout.experiment) +
         " AND (r.epoch <= t.judged_epoch OR t.state IN ('waiting', 'running'))";
}

// One SELECT, not a UNION of three: so a trial's ancestors are found by its number. The list that
// is taken apart is that of the genes, then the parent, then the original.
std::string lineage_view(const Layout& layout) {
  return "SELECT t.number AS trial, j.value AS ancestor, "
         "CASE j.key - ifnull(json_array_length(t.lineage), 0) WHEN 0 THEN 'checkpoint' "
         "WHEN 1 THEN 'same' ELSE 'genes' END AS kind FROM trial t, json_each("
         "CASE WHEN t.parent IS NULL AND t.same_as IS NULL THEN t.lineage ELSE json_insert("
         "json_insert(ifnull(t.lineage, '[]'), '$[#]', t.parent), '$[#]', t.same_as) END) j "
         "WHERE j.value IS NOT NULL AND t.experiment = " +
         std::to_string(layout.experiment);
}

void make(sqlite::Connection& db, const std::string& name, const std::string& select) {
  const std::string sql = "CREATE VIEW " + quote_name(name) + " AS " + select;
  // Making it anew would make every reader prepare its statements again.
  if (db.text("SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = " +
              sqlite::quote_text(name)) == sql)
    return;
  db.run("DROP VIEW IF EXISTS " + quote_name(name));
  db.run(sql);
}

// "ASC" and "DESC" of one index serve both goals; ties rank by the trial's number.
std::string best_view(const Layout& layout) {
  return "SELECT * FROM (" + trials_view(layout) + ") WHERE " + kRanked + " ORDER BY objective " +
         (layout.maximize ? "DESC" : "ASC") + ", trial";
}

constexpr const char* kExperiments = R"(SELECT e.name AS name, e.state AS state, e.why AS why,
  (SELECT count(*) FROM trial t WHERE t.experiment = e.id) AS trials,
  e.objective AS objective, e.goal AS goal,
  (SELECT CASE e.goal WHEN 'maximize' THEN max(t.objective) ELSE min(t.objective) END FROM trial t
    WHERE t.experiment = e.id AND t.state IN ('completed', 'stopped') AND t.objective IS NOT NULL)
    AS best,
  e.seed AS seed, e.numeric_class AS numeric_class, e.suffix AS suffix, e.created_us AS created_us,
  e.description AS description FROM experiment e)";

constexpr const char* kAllTrials =
    R"(, t.origin AS origin, t.first_epoch AS first_epoch, t.last_epoch AS last_epoch,
  t.best_epoch AS best_epoch, t.parent AS parent, t.same_as AS same_as, t.cause AS cause,
  t.why AS why
  FROM trial t JOIN experiment e ON e.id = t.experiment)";

}  // namespace

// That nearly every row of `trial` is of this experiment must be said: SQLite takes an equality for
// rare and would walk through the index trial_number, row by row, for whatever looks at all trials.
// It now reads tables in their order, the parameters first when they are filtered; a trial by its
// number is still found by that index, and the best by trial_rank.
std::string trials_view(const Layout& layout) {
  const std::string experiment = std::to_string(layout.experiment);
  std::string sql =
      std::string("SELECT t.number AS trial, t.state AS state, t.objective AS objective, ") +
      kEpochs;
  for (const ParamColumn& param : layout.params) {
    const std::string column = quote_name(param.column);
    sql += ", p." + column + " AS " + column;
  }
  sql += metric_list(layout, "r");
  sql +=
      ", t.origin AS origin, t.first_epoch AS first_epoch, t.last_epoch AS last_epoch, "
      "t.best_epoch AS best_epoch, t.parent AS parent, t.same_as AS same_as, t.cause AS cause, "
      "t.why AS why, (SELECT count(*) FROM attempt a WHERE a.trial = t.id) AS attempts, "
      "(SELECT sum(a.ended_us - a.started_us) / 1e6 FROM attempt a WHERE a.trial = t.id) "
      "AS wall_seconds FROM trial t JOIN " +
      point_table(layout.experiment) + " p ON p.trial = t.id LEFT JOIN result r ON r.trial = (" +
      std::to_string(row_id(layout.experiment, 0)) +
      " | ifnull(t.same_as, t.number)) WHERE likelihood(t.experiment = " + experiment +
      ", 0.99) AND likelihood(t.id BETWEEN " + std::to_string(row_id(layout.experiment, 0)) +
      " AND " + std::to_string(row_id(layout.experiment + 1, 0) - 1) + ", 0.99)";
  return sql;
}

void create_views(sqlite::Connection& db, const Layout& layout) {
  const bool newest = db.whole("SELECT max(id) FROM experiment") == layout.experiment;
  const auto both = [&](const std::string& name, const std::string& select) {
    make(db, name + "_" + layout.suffix, select);
    if (newest) make(db, name, select);
  };
  both("trials", trials_view(layout));
  both("best", best_view(layout));
  both("curve", curve_view(layout));
  both("lineage", lineage_view(layout));
  make(db, "experiments", kExperiments);
  make(db, "all_trials",
       std::string("SELECT e.name AS experiment, t.number AS trial, t.state AS state, "
                   "t.objective AS objective, ") +
           kEpochs + kAllTrials);
}

}  // namespace brood
