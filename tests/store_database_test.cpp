// What the world does to a database: files that are something else, damage, newer versions, places
// that cannot be written, full disks. Each is told by its own sentence and changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "engine/error.h"
#include "store/lock.h"
#include "store/prefetch.h"
#include "store/query.h"
#include "store/schema.h"
#include "tests/store_fixture.h"

namespace brood {
namespace {

using testing::HasSubstr;

std::string bytes_of(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) return {};
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

SqliteStoreOptions quick() {
  SqliteStoreOptions options;
  options.power_safe = false;
  return options;
}

// What open() says of this path; its bytes must not change.
std::string refusal(const std::string& path) {
  const std::string before = bytes_of(path);
  std::string said;
  try {
    open_sqlite_store(path, quick())->open(small_spec(), small_session());
    said = "opened";
  } catch (const UserError& error) {
    said = error.what();
  }
  EXPECT_TRUE(bytes_of(path) == before) << path << " was changed";
  return said;
}

std::string reading_refusal(const std::string& path) {
  try {
    Reader reader(path);
    return "opened";
  } catch (const UserError& error) {
    return error.what();
  }
}

void make_small(const std::string& path, int trials = 3) {
  const auto store = open_sqlite_store(path, quick());
  store->open(small_spec(), small_session());
  for (TrialId id = 0; id < trials; ++id) store->put(TrialAdded{small_trial(id)});
  store->flush();
}

TEST(Database, TellsAFileThatIsNoDatabase) {
  TestFolder folder;
  write_bytes(folder / "notes.txt", "just some text, and quite a lot of it for a header");
  EXPECT_EQ(refusal(folder / "notes.txt"),
            folder / "notes.txt: is not a SQLite database: name another file");
  EXPECT_EQ(reading_refusal(folder / "notes.txt"),
            folder / "notes.txt: is not a SQLite database: name another file");
}

TEST(Database, TellsADatabaseOfAnotherProgram) {
  TestFolder folder;
  for (const int application : {0, 77}) {
    const std::string path = folder / ("other" + std::to_string(application) + ".db");
    {
      sqlite::Connection db(path, sqlite::Access::create);
      db.run("PRAGMA application_id=" + std::to_string(application));
      db.run("CREATE TABLE trial(id INTEGER PRIMARY KEY); INSERT INTO trial VALUES(1)");
    }
    EXPECT_EQ(refusal(path), path + ": is a database of another program: name another file");
    EXPECT_EQ(reading_refusal(path),
              path + ": is a database of another program: name another file");
  }
}

TEST(Database, TellsATruncatedFile) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  make_small(path);
  const std::string whole = bytes_of(path);
  ASSERT_GT(whole.size(), 100'000u);
  for (const std::size_t size :
       {std::size_t{50}, std::size_t{4096}, whole.size() / 2, whole.size() - 1}) {
    write_bytes(path, whole.substr(0, size));
    std::filesystem::remove(path + "-wal");
    EXPECT_THAT(refusal(path), testing::AnyOf(HasSubstr("is truncated ("), HasSubstr("malformed")))
        << size;
  }
}

TEST(Database, TellsDamageInside) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  make_small(path, 500);
  std::string bytes = bytes_of(path);
  std::fill(bytes.begin() + 16384, bytes.end(), '\x5a');  // all but the first page
  write_bytes(path, bytes);
  EXPECT_THAT(refusal(path), HasSubstr("malformed"));
}

TEST(Database, TellsANewerSchema) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  make_small(path);
  {
    sqlite::Connection db(path, sqlite::Access::write);
    db.run("PRAGMA journal_mode=DELETE; PRAGMA user_version=1000");
  }
  EXPECT_THAT(refusal(path), HasSubstr("was made by a newer brood (schema 1000; this one knows up "
                                       "to " +
                                       std::to_string(schema_version()) + "): use that version"));
  EXPECT_THAT(reading_refusal(path), HasSubstr("newer brood"));
}

TEST(Database, TellsAFolderAndAPlaceThatIsNotThere) {
  TestFolder folder;
  std::filesystem::create_directory(folder / "runs");
  EXPECT_THAT(refusal(folder / "runs"), HasSubstr("runs: is a folder: name a file, such as"));
  EXPECT_THAT(refusal(folder / "nowhere/x.db"), HasSubstr("there is no folder"));
  EXPECT_THAT(reading_refusal(folder / "x.db"), HasSubstr("there is no such database"));
  EXPECT_FALSE(std::filesystem::exists(folder / "x.db"));
}

// /proc takes no new files, not even root's.
TEST(Database, TellsAFolderThatCannotBeWritten) {
  EXPECT_THAT(refusal("/proc/brood-test.db"), HasSubstr("make the folder writable"));
}

TEST(Database, TakesAnEmptyFileForANewOne) {
  TestFolder folder;
  write_bytes(folder / "x.db", "");
  make_small(folder / "x.db");
  EXPECT_EQ(reading_refusal(folder / "x.db"), "opened");
}

// A process that dies while it makes the tables leaves pages in the file and a journal to take them
// back with.
TEST(Database, WhoseMakingWasCutOffIsANewOne) {
  TestFolder folder;
  const std::string path = folder / "cut.db";
  const pid_t child = fork();
  if (child == 0) {
    sqlite::Connection db(path, sqlite::Access::create);
    db.run("PRAGMA cache_size=1");
    db.run("BEGIN");
    db.run("PRAGMA application_id=" + std::to_string(kApplicationId));
    for (int i = 0; i < 40; ++i) db.run("CREATE TABLE t" + std::to_string(i) + "(a, b, c)");
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  ASSERT_GT(std::filesystem::file_size(path), 0U);
  ASSERT_GT(std::filesystem::file_size(path + "-journal"), 0U);
  EXPECT_THAT(reading_refusal(path), HasSubstr("holds nothing yet: start the run"));
  EXPECT_TRUE(holds_nothing(path));
  make_small(path);
  EXPECT_FALSE(holds_nothing(path));
  EXPECT_EQ(reading_refusal(path), "opened");
}

TEST(Database, TakesNamesThatLookLikeUris) {
  TestFolder folder;
  const std::string path = folder / "a?mode=memory&b#c%20d.db";
  make_small(path);
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(Reader(path).experiments(), std::vector<std::string>{"small"});
}

TEST(Database, IsReadFromAReadOnlyFolderAndLeavesNothingThere) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  make_small(path);
  const auto files = [&] {
    std::vector<std::string> out;
    for (const auto& each : std::filesystem::directory_iterator(folder / ""))
      out.push_back(each.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  };
  ASSERT_EQ(files(), (std::vector<std::string>{"x.db", "x.db.lock"}));
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  std::filesystem::permissions(
      folder / "", std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_EQ(Reader(path).experiments(), std::vector<std::string>{"small"});
  EXPECT_EQ(files(), (std::vector<std::string>{"x.db", "x.db.lock"}));
}

TEST(Database, IsReadWhileARunWritesIt) {
  TestFolder folder;
  const auto store = open_sqlite_store(folder / "x.db", quick());
  store->open(small_spec(), small_session());
  store->put(TrialAdded{small_trial(0)});
  store->flush();
  Reader reader(folder / "x.db");
  const ExperimentRecord experiment = reader.experiment("");
  EXPECT_EQ(reader.counts(experiment).waiting, 1);
  store->put(TrialAdded{small_trial(1)});
  store->flush();
  EXPECT_EQ(reader.counts(experiment).waiting, 1);  // of one moment
  EXPECT_EQ(Reader(folder / "x.db").counts(experiment).waiting, 2);
}

TEST(Database, KnowsWhoWritesIt) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  EXPECT_EQ(writer_of(path), std::nullopt);
  {
    const auto store = open_sqlite_store(path, quick());
    store->open(small_spec(), small_session());
    ASSERT_TRUE(writer_of(path).has_value());
    EXPECT_THAT(*writer_of(path), HasSubstr("process " + std::to_string(getpid()) + " on "));
  }
  EXPECT_EQ(writer_of(path), std::nullopt);
}

// A disk of so many pages: the store waits, says so, loses nothing, and goes on once there is room.
TEST(FullDisk, IsWaitedOutByTheManualStore) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  make_small(path, 0);
  SqliteStoreOptions options = quick();
  options.durability = SqliteStoreOptions::Durability::manual;
  options.commit_every = 1;
  options.pages_max =
      static_cast<std::int64_t>(std::filesystem::file_size(path)) / 16384;  // not one more
  Ticket durable = 0;
  {
    const auto store = open_sqlite_store(path, options);
    store->open(small_spec(), small_session());
    Trial trial = small_trial(0);
    trial.why = std::string(100'000, 'x');
    store->put(TrialAdded{trial});
    EXPECT_THAT(store->trouble(), HasSubstr("full"));
    EXPECT_THAT(store->trouble(), HasSubstr("free some space"));
    store->put(TrialAdded{small_trial(1)});
    durable = store->durable();
    EXPECT_EQ(durable, 0u);
  }
  options.pages_max = 0;
  const auto store = open_sqlite_store(path, options);
  EXPECT_TRUE(store->open(small_spec(), small_session()).trials.empty());
}

TEST(FullDisk, TroublesTheGroupStoreUntilThereIsRoom) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  make_small(path, 0);
  SqliteStoreOptions options = quick();
  options.pages_max = static_cast<std::int64_t>(std::filesystem::file_size(path)) / 16384 + 4;
  std::atomic<int> committed = 0;
  options.wake = [&committed] { ++committed; };
  const auto store = open_sqlite_store(path, options);
  store->open(small_spec(), small_session());
  store->put(TrialAdded{small_trial(0)});
  store->flush();
  const Ticket before = store->durable();
  Trial big = small_trial(1);
  big.why = std::string(200'000, 'x');
  store->put(TrialAdded{big});
  while (store->trouble().empty()) std::this_thread::yield();
  EXPECT_THAT(store->trouble(), HasSubstr("free some space"));
  EXPECT_EQ(store->durable(), before);
}

TEST(Database, NoticesThatItWasRemovedUnderARun) {
  TestFolder folder;
  const auto store = open_sqlite_store(folder / "x.db", quick());
  store->open(small_spec(), small_session());
  std::filesystem::remove(folder / "x.db");
  store->put(TrialAdded{small_trial(0)});
  try {
    store->flush();
    FAIL() << "wrote into a file without a name";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("was removed or replaced while a run was writing it"));
  }
}

TEST(Views, ShowRealNamesAndHideWhatDoesNotCount) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  {
    const auto store = open_sqlite_store(path, quick());
    store->open(small_spec("my-sweep"), small_session());
    for (TrialId id : {0, 1, 2}) {
      Trial trial = small_trial(id);
      if (id == 2) {
        trial.state = TrialState::duplicate;
        trial.same_as = 0;
        trial.objective = 0.8;
        trial.lineage = {0, 1};
        store->put(TrialAdded{trial});
        continue;
      }
      store->put(TrialAdded{trial});
      for (int epoch : {1, 2, 3})
        store->put(Reported{id, small_report(epoch, 0.5 + 0.1 * epoch), 0});
      trial.state = id == 0 ? TrialState::completed : TrialState::stopped;
      trial.judged_epoch = id == 0 ? 3 : 2;
      trial.objective = id == 0 ? 0.8 : 0.7;
      store->put(TrialChanged{trial});
    }
    store->flush();
  }
  const auto answer = [&](const std::string& sql) {
    std::string out;
    for (const auto& row : Reader(path).sql(sql).rows) {
      for (const Cell& cell : row) {
        if (const auto* whole = std::get_if<std::int64_t>(&cell)) out += std::to_string(*whole);
        if (const auto* real = std::get_if<double>(&cell))
          out += std::to_string(*real).substr(0, 4);
        if (const auto* text = std::get_if<std::string>(&cell)) out += *text;
        out += ' ';
      }
      out += '\n';
    }
    return out;
  };
  EXPECT_EQ(answer("SELECT trial, epochs, \"filters[1]\", nesterov, val_accuracy FROM trials"),
            "0 3 16 1 0.80 \n1 2 64  0.70 \n2 3 16 1 0.80 \n");
  EXPECT_EQ(answer("SELECT trial, objective FROM best_my_sweep"), "0 0.80 \n1 0.70 \n");
  EXPECT_EQ(answer("SELECT trial, max(epoch) FROM curve GROUP BY trial"), "0 3 \n1 2 \n");
  EXPECT_EQ(answer("SELECT * FROM lineage ORDER BY kind, ancestor"),
            "2 0 genes \n2 1 genes \n2 0 same \n");
  EXPECT_EQ(answer("SELECT name, trials, best FROM experiments"), "my-sweep 3 0.80 \n");
  make_small(path, 1);  // another experiment: the short names show the newest
  EXPECT_EQ(answer("SELECT count(*) FROM trials"), "1 \n");
  EXPECT_EQ(answer("SELECT count(*) FROM trials_my_sweep"), "3 \n");
  EXPECT_EQ(answer("SELECT count(*) FROM all_trials"), "4 \n");
}

// Against SQLite's own account of its pages.
TEST(Prefetch, KnowsThePagesOfTablesAndIndexes) {
  const TestFolder scratch;
  sqlite::Connection db((scratch / "pages.db"), sqlite::Access::create);
  db.run("PRAGMA page_size=512");
  db.run(
      "CREATE TABLE wide(id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX by_text ON wide(text);"
      "CREATE TABLE tiny(id INTEGER PRIMARY KEY)");
  db.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
      "INSERT INTO wide SELECT i, 'text ' || (i * 7919 % 3000) FROM n");
  Prefetch prefetch((scratch / "pages.db"));
  for (const std::string name : {"wide", "by_text"}) {
    std::vector<std::int64_t> expected;
    sqlite::Statement pages(db, "SELECT pageno FROM dbstat WHERE pagetype = 'leaf' AND name = '" +
                                    name + "' ORDER BY pageno");
    while (pages.step()) expected.push_back(pages.whole(0));
    EXPECT_GT(expected.size(), 50U);
    EXPECT_EQ(prefetch.leaves(db, name), expected) << name;
  }
  EXPECT_TRUE(prefetch.leaves(db, "tiny").empty());
  EXPECT_TRUE(prefetch.leaves(db, "nothing").empty());
}

// A file of any version is asked with this version's words; both kinds of question, one answer.
TEST(Views, AreFoundByNumberAndRank) {
  const TestFolder scratch;
  const std::string path = scratch / "plans.db";
  open_sqlite_store(path, quick())->open(small_spec(), small_session());
  Reader reader(path);
  const auto first_step = [&](const std::string& question) {
    const Rows rows = reader.sql("EXPLAIN QUERY PLAN SELECT * FROM " + question);
    return std::get<std::string>(rows.rows.at(0).at(3));
  };
  EXPECT_THAT(first_step("trials WHERE trial = 5"), HasSubstr("trial_number"));
  EXPECT_THAT(first_step("trials WHERE trial BETWEEN 5 AND 9"), HasSubstr("trial_number"));
  EXPECT_THAT(first_step("trials ORDER BY trial DESC LIMIT 5"), HasSubstr("trial_number"));
  EXPECT_THAT(first_step("best LIMIT 5"), HasSubstr("trial_rank"));
  EXPECT_THAT(first_step("trials WHERE state = 'failed'"), HasSubstr("rowid>"));
}

TEST(Sql, OfTheUserOnlyReads) {
  TestFolder folder;
  const std::string path = folder / "x.db";
  make_small(path);
  const auto refused = [&](const std::string& sql) {
    try {
      Reader(path).sql(sql);
      return std::string("done");
    } catch (const UserError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(refused("SELECT 1"), "done");
  EXPECT_EQ(refused("PRAGMA table_info(trial)"), "done");
  EXPECT_THAT(refused("DELETE FROM trial"), HasSubstr("only reads"));
  EXPECT_THAT(refused("SELECT 1; SELECT 2"), HasSubstr("one statement"));
  EXPECT_THAT(refused("ATTACH '" + path + "' AS again"), HasSubstr("not authorized"));
  EXPECT_THAT(refused("PRAGMA query_only=OFF"), HasSubstr("not authorized"));
  EXPECT_THAT(refused("PRAGMA journal_mode=DELETE"), HasSubstr("not authorized"));
  EXPECT_THAT(refused("SELECT nowhere FROM trials"), HasSubstr("no such column: nowhere"));
  EXPECT_EQ(Reader(path).counts(Reader(path).experiment("")).waiting, 3);
}

}  // namespace
}  // namespace brood
