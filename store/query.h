// Reading a database, also while a run writes it. Nothing here changes the file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/store.h"
#include "engine/trial.h"
#include "store/filter.h"
#include "store/layout.h"
#include "store/prefetch.h"
#include "store/sqlite.h"

namespace brood {

// What a query's answer consists of.
struct Rows {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};

struct ExperimentRecord {
  std::int64_t id = 0;
  std::string name, description, config, numeric_class, state, why;
  std::uint64_t seed = 0;
  std::string objective;
  bool maximize = true;
  std::string reduce;
  std::int64_t created_us = 0;
  std::int64_t schema = 0;  // of its file, as long as no newer version has written there
  Layout layout;
};

struct SessionRecord {
  std::int64_t number = 0;
  Session session;
  std::optional<std::int64_t> ended_us;
  std::optional<double> horizon_seconds;  // as in SessionUsed; nullopt: not recorded
};

struct AttemptRecord {
  TrialId trial = 0;
  int attempt = 1;
  std::int64_t session = 1;
  std::string executor, host, device, numeric_class;
  std::int64_t started_us = 0;
  std::optional<std::int64_t> ended_us;
  int from_epoch = 1;
  std::optional<std::string> end;  // nullopt: still running
  bool charged = false;
  std::string why, log;  // log: path from the database's folder
  std::uint64_t max_rss = 0;
};

struct EventRecord {
  std::optional<TrialId> at_trial;
  std::int64_t at_us = 0;
  std::string kind, body;
};

struct StateCounts {
  std::int64_t waiting = 0, running = 0, completed = 0, stopped = 0, failed = 0, infeasible = 0,
               duplicate = 0, surplus = 0, cancelled = 0, known = 0;
  std::int64_t all() const {
    return waiting + running + completed + stopped + failed + infeasible + duplicate + surplus +
           cancelled + known;
  }
};

// What the sessions' executors did, as far as recorded.
struct Usage {
  double busy_seconds = 0.0;        // attempts of the last session, up to now
  std::int64_t trials_ended = 0;    // in the last session
  std::int64_t epochs = 0;          // reported by trials that ended, all sessions
  std::int64_t epochs_dropped = 0;  // of them past a verdict to stop
};

struct RunningRecord {
  TrialId trial = 0;
  int attempt = 1, epoch = 0, last_epoch = 0;  // epoch: the last one reported; 0: none
  std::string executor;
  std::int64_t started_us = 0;
  std::optional<std::int64_t> reported_us;
  std::optional<double> objective;  // as last reported
};

// The place of a score among its peers.
struct Standing {
  std::int64_t peers = 0, better = 0;
};

// One connection; one thread.
class Reader {
 public:
  // Throws UserError when there is no such database, or when it is not brood's.
  explicit Reader(const std::string& path);

  const std::string& path() const { return db_.path(); }

  std::vector<std::string> experiments();  // names, oldest first
  // Empty: the newest. Throws UserError for an unknown name, with the known ones.
  ExperimentRecord experiment(const std::string& name);

  StateCounts counts(const ExperimentRecord& experiment);
  // Ended well with an objective, best first; ties by id. Surplus, duplicate and infeasible never.
  std::vector<TrialId> best(const ExperimentRecord& experiment, std::int64_t count);
  // Its rank there, from 1; nullopt: it is not ranked.
  std::optional<std::int64_t> rank(const ExperimentRecord& experiment, const Trial& trial);

  // With all reports, official and speculative. Throws UserError when there is no such trial.
  Trial trial(const ExperimentRecord& experiment, TrialId id);
  std::vector<TrialId> known(const ExperimentRecord& experiment);  // taken over from another
  std::vector<TrialId> children(const ExperimentRecord& experiment, TrialId id);
  std::vector<AttemptRecord> attempts(const ExperimentRecord& experiment, TrialId id);
  std::vector<Judged> verdicts(const ExperimentRecord& experiment, TrialId id);
  Standing standing(const ExperimentRecord& experiment, const Judged& judged);
  std::vector<CheckpointSaved> checkpoints(const ExperimentRecord& experiment, TrialId id);

  std::vector<SessionRecord> sessions(const ExperimentRecord& experiment);
  // The newest ones, oldest first. trial: only those that name it.
  // Those that a program reads, such as the data's identity, are not told.
  std::vector<EventRecord> events(const ExperimentRecord& experiment, std::int64_t count,
                                  std::optional<TrialId> trial = std::nullopt);

  // The body of the newest event of a kind that is no trial's; nullopt: there is none.
  std::optional<std::string> last_note(const ExperimentRecord& experiment, const std::string& kind);
  // The event log as another run can repeat it.
  std::vector<EventLogged> facts(const ExperimentRecord& experiment);
  std::vector<RunningRecord> running(const ExperimentRecord& experiment);
  Usage usage(const ExperimentRecord& experiment, std::int64_t session, std::int64_t now_us);

  // At most count_max of the ranked trials with finite objectives, by number; which, if there are
  // more, is drawn from the seed. One row a trial: its parameters as the layout has them.
  struct Sample {
    std::vector<double> objectives;
    std::vector<std::vector<Cell>> points;
    std::int64_t of = 0;  // there are so many
  };
  Sample sample(const ExperimentRecord& experiment, std::size_t count_max, std::uint64_t seed);

  // The names that query() knows.
  std::vector<KnownColumn> columns(const ExperimentRecord& experiment) const;
  Rows query(const ExperimentRecord& experiment, const std::vector<KnownColumn>& columns,
             const Filter& filter, const std::vector<SortKey>& sort,
             std::optional<std::int64_t> limit);

  // A statement of the user's own, which may only read. The reader trusts nobody afterwards.
  Rows sql(const std::string& text);

 private:
  // Unless the statement looks up single rows.
  void prefetch_if_scanned(const std::string& sql, const std::vector<std::string>& tables);

  sqlite::Connection db_;
  Prefetch prefetch_;
};

}  // namespace brood
