#include "store/schema.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace brood {

namespace {

namespace fs = std::filesystem;
using sqlite::Access;
using sqlite::Connection;

// Step i brings version i to version i + 1. A released step is never edited: add another. The typed
// table of points and the views of each experiment are made by layout.cpp and views.cpp.
constexpr std::array kSteps = {
    R"(
CREATE TABLE experiment(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL,
  seed INTEGER NOT NULL,          -- 64 bits; values above 2^63 show as negative
  config TEXT NOT NULL,           -- canonical JSON
  space TEXT NOT NULL,            -- JSON: parameters with the columns of point_<id>
  metrics TEXT NOT NULL,          -- JSON: names of m0, m1, ... of report and result
  objective TEXT NOT NULL,        -- a metric
  goal TEXT NOT NULL,             -- maximize, minimize
  reduce TEXT NOT NULL,           -- last, best
  numeric_class TEXT NOT NULL,    -- empty: not decided yet
  state TEXT NOT NULL,            -- running, completed, interrupted, failed
  why TEXT,
  suffix TEXT NOT NULL UNIQUE,    -- of its views: trials_<suffix>
  created_us INTEGER NOT NULL,    -- microseconds since 1970, as every column _us
  version TEXT NOT NULL           -- of the program that made it
) STRICT;

CREATE TABLE session(             -- one run or resume
  experiment INTEGER NOT NULL REFERENCES experiment,
  number INTEGER NOT NULL,
  host TEXT NOT NULL, pid INTEGER NOT NULL,
  started_us INTEGER NOT NULL, ended_us INTEGER,
  executors INTEGER NOT NULL,
  expected INTEGER,               -- trials of the whole search, when known
  launcher TEXT NOT NULL,         -- local, mpi
  config_file TEXT NOT NULL,      -- absolute, on that host
  version TEXT NOT NULL,
  PRIMARY KEY(experiment, number)) STRICT, WITHOUT ROWID;

CREATE TABLE trial(
  id INTEGER PRIMARY KEY,         -- experiment << 32 | number; columns named trial refer to it
  experiment INTEGER NOT NULL REFERENCES experiment,
  number INTEGER NOT NULL,        -- 0, 1, 2, ...; parent, same_as and lineage refer to it
  origin TEXT NOT NULL,           -- strategy, initial, user
  state TEXT NOT NULL,
  first_epoch INTEGER NOT NULL, last_epoch INTEGER NOT NULL,
  judged_epoch INTEGER NOT NULL,  -- reports of later epochs are speculative
  parent INTEGER,                 -- started from this trial's checkpoint
  same_as INTEGER,                -- duplicate of
  lineage TEXT,                   -- JSON list of the trials whose genes it carries
  seed INTEGER NOT NULL,
  objective REAL, best_epoch INTEGER,
  cause TEXT, why TEXT) STRICT;
CREATE UNIQUE INDEX trial_number ON trial(experiment, number);
CREATE INDEX trial_rank ON trial(experiment, objective)
  WHERE state IN ('completed', 'stopped') AND objective IS NOT NULL;
CREATE INDEX trial_open ON trial(experiment, number) WHERE state IN ('waiting', 'running');

CREATE TABLE attempt(
  trial INTEGER NOT NULL, attempt INTEGER NOT NULL,
  session INTEGER NOT NULL,
  executor TEXT NOT NULL, host TEXT NOT NULL, device TEXT NOT NULL, numeric_class TEXT NOT NULL,
  started_us INTEGER NOT NULL, ended_us INTEGER,
  from_epoch INTEGER NOT NULL,
  end TEXT,                       -- completed, stopped, or why not; NULL: still running
  charged INTEGER NOT NULL DEFAULT 0,
  why TEXT, max_rss INTEGER,      -- bytes
  log TEXT,                       -- path from the database's folder, as every path
  PRIMARY KEY(trial, attempt)) STRICT, WITHOUT ROWID;

CREATE TABLE report(
  trial INTEGER NOT NULL, epoch INTEGER NOT NULL,
  wall_us INTEGER NOT NULL,
  nan TEXT,                       -- the metrics that were not a number, as in "0,3"
  m0 REAL, m1 REAL, m2 REAL, m3 REAL, m4 REAL, m5 REAL, m6 REAL, m7 REAL,
  PRIMARY KEY(trial, epoch)) STRICT, WITHOUT ROWID;

CREATE TABLE result(              -- the last official report of each ended trial
  trial INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,
  nan TEXT,
  m0 REAL, m1 REAL, m2 REAL, m3 REAL, m4 REAL, m5 REAL, m6 REAL, m7 REAL) STRICT;

CREATE TABLE rung(                -- verdicts of the stopper
  experiment INTEGER NOT NULL, epoch INTEGER NOT NULL, trial INTEGER NOT NULL,
  score REAL,                     -- greater is better, also of a minimised metric; NULL: NaN
  verdict TEXT NOT NULL,          -- proceed, stop
  horizon INTEGER NOT NULL,       -- trials with smaller numbers were seen
  PRIMARY KEY(experiment, epoch, trial)) STRICT, WITHOUT ROWID;

CREATE TABLE event(
  seq INTEGER PRIMARY KEY,
  experiment INTEGER NOT NULL, session INTEGER NOT NULL,
  at_trial INTEGER,               -- number of the trial where it took effect; NULL: a note
  at_us INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL) STRICT;

CREATE TABLE checkpoint(
  trial INTEGER NOT NULL, epoch INTEGER NOT NULL, path TEXT NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY(trial, epoch)) STRICT, WITHOUT ROWID;
)",
    // Executor time idle while the next proposal waited for what its strategy has to be told first.
    "ALTER TABLE session ADD COLUMN horizon_seconds REAL"};

bool can_write(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  return access(path.c_str(), W_OK) == 0 &&
         access(folder.empty() ? "." : folder.c_str(), W_OK) == 0;
}

// Does a write-ahead log hold what the file itself may not yet?
bool has_log(const std::string& path) {
  std::error_code missing;
  const auto bytes = fs::file_size(path + "-wal", missing);
  return !missing && bytes > 0;
}

void require_place(const std::string& path) {
  const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : ".";
  if (!fs::is_directory(folder))
    throw UserError(path + ": there is no folder " + folder.string() +
                    ": make it, or name another place for the database");
}

// Before SQLite sees the file: what it is by its first bytes.
void require_sqlite_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw UserError(path + ": cannot be read (" + std::strerror(errno) +
                    "): check who owns it and its permissions");
  std::array<char, 100> header{};
  file.read(header.data(), header.size());
  const auto got = file.gcount();
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  if (std::string_view(header.data(), 16) != kMagic)
    throw UserError(path + ": is not a SQLite database: name another file");
  if (got < 100)
    throw UserError(path + ": is truncated (" + std::to_string(got) +
                    " bytes): restore a copy, or name another file");
}

void require_tables(Connection& db) {
  const std::int64_t application = db.whole("PRAGMA application_id");
  const std::int64_t version = db.whole("PRAGMA user_version");
  const std::int64_t tables = db.whole("SELECT count(*) FROM sqlite_schema");
  const std::string& path = db.path();
  if (application != kApplicationId && (application != 0 || tables > 0))
    throw UserError(path + ": is a database of another program: name another file");
  if (application == kApplicationId && version > schema_version())
    throw UserError(path + ": was made by a newer brood (schema " + std::to_string(version) +
                    "; this one knows up to " + std::to_string(schema_version()) +
                    "): use that version, or name another file");
}

// A file shorter than its header says. SQLite itself may notice only when it reads the lost part.
void require_whole(Connection& db) {
  const auto bytes = static_cast<std::int64_t>(fs::file_size(db.path()));
  const std::int64_t expected = db.whole("PRAGMA page_size") * db.whole("PRAGMA page_count");
  // With a log beside it pages may lie there still.
  if (!has_log(db.path()) && bytes < expected)
    throw UserError(db.path() + ": is truncated (" + std::to_string(bytes) + " of " +
                    std::to_string(expected) + " bytes): restore a copy, or name another file");
}

// What a process that was killed while it made the tables left behind: the next one to open the
// file takes it back, as SQLite does.
void take_back_journal(const std::string& path) {
  std::error_code missing;
  if (!fs::exists(path + "-journal", missing) || !can_write(path)) return;
  try {
    Connection(path, Access::write).whole("PRAGMA user_version");
  } catch (const UserError&) {  // what is wrong with the file is found and said below
  }
}

[[noreturn]] void throw_nothing_yet(const std::string& path) {
  throw UserError(path +
                  ": holds nothing yet: start the run, or start it again if it was cut off " +
                  "at once, with `brood run CONFIG`");
}

}  // namespace

std::int64_t schema_version() { return static_cast<std::int64_t>(kSteps.size()); }

void require_ours(const std::string& path, bool may_be_missing) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    throw UserError(path + ": is a folder: name a file, such as " +
                    (fs::path(path) / "experiments.db").string());
  if (!fs::exists(path, ignored)) {
    if (!may_be_missing)
      throw UserError(path + ": there is no such database: name one with --db, or make it with " +
                      "`brood run CONFIG`");
    require_place(path);
    return;
  }
  take_back_journal(path);
  if (fs::is_regular_file(path, ignored) && fs::file_size(path) == 0) {
    if (!may_be_missing) throw_nothing_yet(path);
    return;
  }
  require_sqlite_file(path);
  // Only the header and the catalogue are read: a stranger's file must stay as it is.
  Connection db(path, has_log(path) ? Access::read : Access::read_immutable);
  require_tables(db);
  require_whole(db);
}

bool holds_nothing(const std::string& path) {
  std::error_code missing;
  if (!fs::exists(path, missing)) return true;
  require_ours(path, true);
  if (fs::file_size(path) == 0) return true;
  return Connection(path, has_log(path) ? Access::read : Access::read_immutable)
             .whole("PRAGMA user_version") == 0;
}

Connection open_for_writing(const std::string& path, bool power_safe, const std::string& vfs) {
  require_ours(path, true);
  Connection db(path, Access::create, vfs);
  db.run(power_safe ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF");
  db.run("PRAGMA cache_size=-65536");
  db.run("PRAGMA page_size=16384");  // of a new file
  for (std::int64_t at = db.whole("PRAGMA user_version"); at < schema_version(); ++at) {
    sqlite::Transaction step(db);
    db.run("PRAGMA application_id=" + std::to_string(kApplicationId));
    db.run(kSteps[static_cast<std::size_t>(at)]);
    db.run("PRAGMA user_version=" + std::to_string(at + 1));
    step.commit();
  }
  db.run("PRAGMA journal_mode=WAL");
  db.run("PRAGMA wal_autocheckpoint=256");  // pages: the log stays near 4 MiB
  db.run("PRAGMA journal_size_limit=4194304");
  return db;
}

Connection open_for_reading(const std::string& path) {
  require_ours(path, false);
  // Where it can be, not Access::read, which could not remove its -wal and -shm files again.
  Connection db(path, can_write(path) ? Access::write
                      : has_log(path) ? Access::read
                                      : Access::read_immutable);
  db.run("PRAGMA query_only=ON");
  if (db.whole("PRAGMA user_version") == 0) throw_nothing_yet(path);
  return db;
}

}  // namespace brood
