// Turns the changes of a run into rows, inside a transaction of the caller's.
#pragma once

#include <string>
#include <vector>

#include "engine/store.h"
#include "store/layout.h"
#include "store/sqlite.h"

namespace brood {

// A change that is not a run's: of the experiment's own row.
struct ConfigSet {
  std::string config;
};
struct NumericClassSet {
  std::string numeric_class;
};

// One thread at a time. The connection outlives it.
class Recorder {
 public:
  Recorder(sqlite::Connection& db, std::int64_t experiment, std::int64_t session);

  void apply(const Change& change);
  void apply(const ConfigSet& change);
  void apply(const NumericClassSet& change);

  // After a rollback: what is known of the metrics' columns is read again.
  void reload();

 private:
  void write(const TrialAdded& change);
  void write(const TrialChanged& change);
  void write(const AttemptStarted& change);
  void write(const AttemptEnded& change);
  void write(const Reported& change);
  void write(const Judged& change);
  void write(const CheckpointSaved& change);
  void write(const CheckpointDropped& change);
  void write(const EventLogged& change);
  void write(const SessionUsed& change);
  void write(const StateChanged& change);
  void write_point(const Trial& trial);
  void write_result(const Trial& trial);
  std::int64_t id(TrialId trial) const;
  std::size_t metric_column(const Metric& metric, std::size_t guess);
  void learn_metrics(const Report& report);
  void prepare_reports();

  sqlite::Connection& db_;
  std::int64_t experiment_;
  std::int64_t session_;
  Layout layout_;
  std::size_t width_ = 0;            // columns m0, m1, ... that the tables have
  std::vector<std::size_t> places_;  // of the current report's metrics
  sqlite::Statement add_trial_, change_trial_, add_point_, start_attempt_, end_attempt_, judge_,
      save_checkpoint_, drop_checkpoint_, log_event_, change_state_, end_session_, use_session_;
  std::optional<sqlite::Statement> report_, result_;  // prepared anew when a metric is added
};

}  // namespace brood
