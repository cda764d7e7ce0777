// What is remembered: the controller's side of the database. Questions are asked elsewhere
// (store/query.h); nothing here reads while a run is under way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/experiment.h"
#include "engine/stopper.h"
#include "engine/trial.h"

namespace brood {

// The changes a run makes, in the order of their effect. A crash leaves a prefix of them.

struct TrialAdded {  // a row in its first state; also a duplicate or infeasible one
  Trial trial;
};
struct TrialChanged {  // state, last_epoch, judged_epoch, objective, best_epoch, cause, why,
                       // same_as
  Trial trial;         // params, seed, lineage never change; reports are not looked at
};
struct AttemptStarted {
  TrialId trial = 0;
  int attempt = 1;
  std::string executor;  // "host/worker.slot"
  std::string host, device, numeric_class;
  std::int64_t started_us = 0;  // since 1970
  int from_epoch = 1;
  std::string log;  // path, relative to the database's folder
};
struct AttemptEnded {
  TrialId trial = 0;
  int attempt = 1;
  std::int64_t ended_us = 0;
  std::string end;  // "completed", "stopped", or a Cause
  bool charged = false;
  std::string why;            // one sentence, with the tail of the log where it helps
  std::uint64_t max_rss = 0;  // bytes; 0: not known
};
struct Reported {  // one row per (trial, epoch); a repeat of a known epoch is not stored
  TrialId trial = 0;
  Report report;
  std::int64_t wall_us = 0;  // since 1970
};
struct Judged {  // what resume needs of a stopper
  TrialId trial = 0;
  int epoch = 0;
  double score = 0.0;  // what peers see
  Verdict verdict = Verdict::proceed;
  TrialId horizon = 0;  // trials below it were seen
};
struct CheckpointSaved {
  TrialId trial = 0;
  int epoch = 0;
  std::string path;  // relative to the database's folder
  std::uint64_t bytes = 0;
};
struct CheckpointDropped {
  TrialId trial = 0;
  int epoch = 0;
};
// An outside fact that changed the table (a charged crash, a deadline, a command), or, with
// at_trial -1, a note for people (an interruption, a lost host).
struct EventLogged {
  TrialId at_trial = -1;
  std::int64_t at_us = 0;
  std::string kind;
  std::string body;  // JSON
};
struct SessionUsed {  // of this session so far; every few seconds
  // Executor time that was idle because the next proposal waited for the trials that its strategy
  // has to be told first.
  double horizon_seconds = 0.0;
  std::optional<std::int64_t> expected;  // trials of the whole search, as limits are now
};
struct StateChanged {  // of the experiment: running, paused, completed, interrupted, failed
  std::string state;
  std::string why;
};

using Change =
    std::variant<TrialAdded, TrialChanged, AttemptStarted, AttemptEnded, Reported, Judged,
                 CheckpointSaved, CheckpointDropped, EventLogged, SessionUsed, StateChanged>;

// A process that runs the experiment, once per run or resume.
struct Session {
  std::string host;
  std::int64_t pid = 0;
  std::int64_t started_us = 0;
  int executors = 0;
  std::string launcher;     // local or mpi
  std::string config_file;  // absolute; relative paths and commands start from its folder
  std::string version;
  std::optional<std::int64_t> expected = std::nullopt;  // trials of the whole search, when known
};

// What a run needs to go on. Reports only of trials that have not ended.
struct History {
  bool created = false;       // it did not exist before
  std::string state;          // as in StateChanged
  std::string config;         // canonical JSON of the creation, with later allowed changes
  std::string numeric_class;  // empty: not decided yet
  std::vector<Trial> trials;  // by id
  std::vector<int> attempts;  // by trial: attempts started
  std::vector<int> charged;   // by trial: charged attempts
  std::vector<AttemptEnded> last_ends;       // by trial: how its last attempt ended, if it did
  std::vector<Judged> verdicts;              // ordered by (epoch, trial)
  std::vector<CheckpointSaved> checkpoints;  // not dropped; ordered by (trial, epoch)
  std::vector<EventLogged> facts;            // what engine/facts.h reads; in the order of put()
  std::int64_t session = 0;                  // 1, 2, ...: this one; the fence of every assignment
};

using Ticket = std::uint64_t;  // 1, 2, 3, ... in the order of put()

// One writer: the controller, from one thread.
class Store {
 public:
  virtual ~Store() = default;

  // Creates the experiment or finds it by name. Throws UserError when another process writes this
  // database, when it is not brood's, or when it is damaged. Does not compare configs.
  virtual History open(const ExperimentSpec& spec, const Session& session) = 0;

  // Allowed changes of the config on resume, and the numeric class once it is known.
  virtual void set_config(const std::string& canonical_json) = 0;
  virtual void set_numeric_class(const std::string& numeric_class) = 0;

  // Queues one change. Returns at once unless the queue is full.
  virtual Ticket put(Change change) = 0;

  // Every change up to this ticket survives a power cut. Throws UserError, naming the file and the
  // cause, when writing failed for good; a full disk is waited out and retried meanwhile.
  virtual Ticket durable() = 0;

  // Text for people while the store waits for space on the disk; empty: all is well.
  virtual std::string trouble() const = 0;

  // Returns when every change so far is durable.
  virtual void flush() = 0;
};

}  // namespace brood
