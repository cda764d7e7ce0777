// The program as people run it: real processes, real signals, real SQLite. The synthetic trainer
// keeps it short. Everything of a run that must not depend on executors, launchers and crashes is
// compared as text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "engine/rng.h"
#include "store/sqlite.h"

namespace brood {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class EndToEnd : public testing::Test {
 protected:
  EndToEnd() {
    static int number = 0;
    folder_ = fs::temp_directory_path() /
              ("brood-e2e-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    fs::create_directories(folder_);
    const char* binary = std::getenv("BROOD_BINARY");
    binary_ = binary != nullptr ? binary : "./brood";
  }
  ~EndToEnd() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
  }

  struct Result {
    int status = 0;
    std::string output;  // standard output and error together
  };

  // Runs a shell command in the folder, with $BROOD the program.
  Result shell(const std::string& command) const {
    const std::string all = "cd '" + folder_.string() + "' && BROOD='" + binary_ + "' && (" +
                            command + ") > output.txt 2>&1";
    const int status = std::system(all.c_str());
    std::ifstream file(path("output.txt"));
    std::stringstream text;
    text << file.rdbuf();
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text.str()};
  }

  // The program in the folder, in the background.
  pid_t start(std::vector<std::string> arguments) const {
    const pid_t child = fork();
    if (child != 0) return child;
    fs::current_path(folder_);
    std::freopen("/dev/null", "w", stdout);
    arguments.insert(arguments.begin(), "brood");
    std::vector<char*> words;
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    execv(binary_.c_str(), words.data());
    _exit(127);
  }

  // Until this gives so much, in e2e.db. A minute is more than any machine takes.
  void await(const char* query, std::int64_t count = 1) const {
    for (int i = 0; i < 6000; ++i) {
      try {
        sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
        if (db.whole(query) >= count) return;
      } catch (const UserError&) {
        // It is being made.
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << query << " never came to " << count;
  }
  void await_reports(std::int64_t count) const { await("SELECT count(*) FROM report", count); }

  // Parameters, states, verdicts, lineage and exact metrics, with every bit.
  static std::string table(const std::string& database) {
    sqlite::Connection db(database, sqlite::Access::read);
    std::string text;
    for (const char* query :
         {"SELECT t.number, t.state, t.cause, t.judged_epoch, t.objective, t.same_as, t.lineage, "
          "t.seed, p.* FROM trial t JOIN point_1 p ON p.trial = t.id WHERE t.state != 'surplus' "
          "ORDER BY t.number",
          "SELECT t.number, r.epoch, r.m0, r.m1 FROM report r JOIN trial t ON t.id = r.trial "
          "WHERE r.epoch <= t.judged_epoch AND t.state != 'surplus' ORDER BY 1, 2",
          "SELECT g.trial, g.epoch, g.score, g.verdict, g.horizon FROM rung g JOIN trial t ON "
          "t.number = g.trial WHERE t.state != 'surplus' ORDER BY 1, 2"}) {
      sqlite::Statement rows(db, query);
      while (rows.step()) {
        for (int c = 0; c < rows.columns(); ++c) {
          char number[40];
          std::snprintf(number, sizeof number, "%a", rows.real(c));
          text += (rows.type(c) == sqlite::CellType::real ? std::string(number)
                                                          : std::string(rows.text(c))) +
                  " ";
        }
        text += "\n";
      }
    }
    return text;
  }

  static std::string config(const std::string& search, const std::string& stopper,
                            int epoch_ms = 0) {
    std::string text = R"({"version": 1, "experiment": {"name": "e2e", "seed": 5},
      "objective": {"metric": "value", "goal": "minimize"},
      "output": {"database": "e2e.db"},
      "trainer": {"name": "synthetic", "epochs": 5, "epoch_ms": )" +
                       std::to_string(epoch_ms) + R"(, "noise": 0.5, "fail": [
        {"how": "nan", "epoch": 3, "trials": [4]},
        {"how": "segfault", "epoch": 2, "trials": [6]},
        {"how": "segfault", "epoch": 4, "trials": [8], "attempts": 1},
        {"how": "throw", "epoch": 2, "trials": [9]}]},)";
    text += R"("search_space": {
        "kind": {"type": "categorical", "values": ["flat", "steep", "bent"]},
        "depth": {"type": "int", "min": 1, "max": 3, "when": {"kind": ["steep", "bent"]}},
        "x": )" +
            std::string(search == "grid" ? "[0.1, 0.2, 0.5, 1.0]"
                                         : R"({"type": "float", "min": 0.001, "max": 1.0,
                                              "distribution": "log_uniform"})") +
            "},";
    if (!stopper.empty())
      text += R"("early_stopping": {"algorithm": ")" + stopper +
              R"(", "settings": {"min_epochs": 1, "verdict_lag": 3}},)";
    if (search == "random") text += R"("budget": {"max_trials": 28},)";
    text +=
        R"("search": {"algorithm": ")" + search + "\"" +
        (search == "genetic" ? R"(, "settings": {"population_size": 7, "generations": 4})" : "") +
        "}}";
    return text;
  }

  fs::path folder_;
  std::string binary_;
};

std::string mpirun(int ranks) {
  return "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --enable-recovery "
         "--bind-to none --oversubscribe --mca pml ob1 --mca btl self,vader -n " +
         std::to_string(ranks) + " ";
}

struct Identity : EndToEnd, testing::WithParamInterface<std::pair<std::string, std::string>> {};

INSTANTIATE_TEST_SUITE_P(Searches, Identity,
                         testing::Values(std::pair{"grid", ""}, std::pair{"grid", "median"},
                                         std::pair{"random", ""}, std::pair{"random", "asha"},
                                         std::pair{"genetic", ""}, std::pair{"genetic", "median"},
                                         std::pair{"genetic", "asha"}),
                         [](const auto& made) {
                           return std::string(made.param.first) +
                                  (made.param.second[0] != '\0' ? "_" : "") + made.param.second;
                         });

TEST_P(Identity, OneTwoAndSevenExecutorsAndMpiGiveTheSameTable) {
  write("e2e.json", config(GetParam().first, GetParam().second, 2));
  ASSERT_EQ(shell("$BROOD run e2e.json -j 1").status, 0) << shell("cat output.txt").output;
  const std::string expected = table(path("e2e.db"));
  ASSERT_THAT(expected, HasSubstr("completed"));
  std::vector<std::string> ways = {"$BROOD run e2e.json -j 2", "$BROOD run e2e.json -j 7"};
  if (BROOD_MPI && std::system("command -v mpirun > /dev/null") == 0)
    ways.push_back(mpirun(3) + "$BROOD run e2e.json");
  else
    GTEST_LOG_(INFO) << "no MPI in this build or no mpirun: only local runs are compared";
  for (const std::string& way : ways) {
    shell("rm -rf e2e.db*");
    const Result result = shell(way);
    ASSERT_EQ(result.status, 0) << way << "\n" << result.output;
    EXPECT_EQ(table(path("e2e.db")), expected) << way;
  }
}

TEST_F(EndToEnd, SevenExecutorsSpeculateAndDropEpochs) {
  // While trial 6 says nothing, later ones cannot be judged: they train on, and some in vain.
  std::string text = config("random", "asha", 10);
  const std::string entry = R"("segfault", "epoch": 2)";
  text.replace(text.find(entry), entry.size(), R"("hang", "epoch": 1)");
  write("e2e.json", text);
  ASSERT_EQ(shell("$BROOD run e2e.json -j 7 --set early_stopping.settings.verdict_lag=1 "
                  "--set fault_tolerance.report_timeout=400ms "
                  "--set fault_tolerance.max_retries_per_trial=0")
                .status,
            0);
  sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
  EXPECT_GT(db.whole("SELECT count(*) FROM trial WHERE state = 'stopped'"), 3);
  EXPECT_GT(db.whole("SELECT count(*) FROM report r JOIN trial t ON t.id = r.trial "
                     "WHERE r.epoch > t.judged_epoch AND t.state = 'stopped'"),
            0);
}

TEST_F(EndToEnd, KilledAtAnyMomentItGoesOnToTheSameTable) {
  write("e2e.json", config("genetic", "asha", 8));
  const auto started = std::chrono::steady_clock::now();
  ASSERT_EQ(shell("$BROOD run e2e.json -j 3").status, 0);
  // Of a whole run here and now: sanitizers make everything ten times slower.
  const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - started;
  const std::string expected = table(path("e2e.db"));
  Rng rng(1, 0, Purpose::simulate);
  shell("rm -rf e2e.db*");
  // A run that comes to its end before it is killed begins anew.
  int killed = 0;
  for (int i = 0; killed < 8 && i < 100; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      fs::current_path(folder_);
      std::freopen("/dev/null", "w", stdout);
      execl(binary_.c_str(), "brood", "run", "e2e.json", "-q", "-j",
            std::to_string(1 + i % 4).c_str(), nullptr);
      _exit(127);
    }
    std::this_thread::sleep_for(whole * (0.1 + 0.5 * rng.uniform()));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    killed += WIFSIGNALED(status);
    if (WIFSIGNALED(status)) continue;
    EXPECT_EQ(table(path("e2e.db")), expected);
    shell("rm -rf e2e.db*");
  }
  EXPECT_EQ(killed, 8);
  const Result last = shell("$BROOD run e2e.json");
  EXPECT_EQ(last.status, 0) << last.output;
  EXPECT_EQ(table(path("e2e.db")), expected);
  sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
}

TEST_F(EndToEnd, CtrlCDrainsAndSaysHowToGoOn) {
  write("e2e.json", config("random", "", 50));
  const Result result = shell(
      "(for i in $(seq 3000); do grep -qs '^trial' output.txt && break; sleep 0.02; done; "
      "kill -INT $(cat pid)) & sh -c \"echo \\$\\$ > pid; exec $BROOD run e2e.json -j 2\"; wait");
  EXPECT_THAT(result.output, HasSubstr("brood resume e2e.db -e e2e"));
  sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
  EXPECT_EQ(db.text("SELECT state FROM experiment"), "interrupted");
  EXPECT_EQ(db.whole("SELECT count(*) FROM trial WHERE state = 'running'"), 0);
  EXPECT_EQ(shell("$BROOD resume e2e.json -q").status, 0);
}

// Running trials save at the end of their epoch; the run ends as soon as they have.
TEST_F(EndToEnd, Usr1SavesWhatRunsAndEndsResumable) {
  write("e2e.json", config("random", "", 25));
  const std::string longer = " --set trainer.epochs=40 --set budget.max_trials=4";
  ASSERT_EQ(shell("$BROOD run e2e.json -q -j 3" + longer).status, 0);
  const std::string expected = table(path("e2e.db"));
  shell("rm -rf e2e.db*");
  const pid_t child = start({"run", "e2e.json", "-q", "-j", "2", "--set", "trainer.epochs=40",
                             "--set", "budget.max_trials=4"});
  await_reports(3);
  kill(child, SIGUSR1);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 75);
  sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
  EXPECT_EQ(db.text("SELECT state FROM experiment"), "interrupted");
  EXPECT_GT(db.whole("SELECT count(*) FROM checkpoint c JOIN trial t ON t.id = c.trial WHERE "
                     "t.state = 'waiting' AND c.epoch < t.last_epoch"),
            0);
  EXPECT_EQ(shell("$BROOD resume e2e.db -q").status, 0);
  EXPECT_GT(db.whole("SELECT count(*) FROM attempt WHERE from_epoch > 1"), 0) << "nobody went on";
  EXPECT_EQ(table(path("e2e.db")), expected);
}

// An epoch of a minute cannot be waited for: what a second allows.
TEST_F(EndToEnd, SigtermEndsResumableWhateverTheTrialsDo) {
  write("e2e.json", config("random", ""));
  const pid_t child =
      start({"run", "e2e.json", "-q", "-j", "2", "--set", "trainer.epoch_ms=60000"});
  await("SELECT count(*) FROM attempt");
  kill(child, SIGTERM);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 75);
  sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
  EXPECT_EQ(db.text("SELECT state FROM experiment"), "interrupted");
}

// After `brood stop` trials have a minute; who then sends SIGTERM is in a hurry.
TEST_F(EndToEnd, SigtermShortensTheTimeThatAStopGave) {
  write("e2e.json", config("random", ""));
  const auto started = std::chrono::steady_clock::now();
  const pid_t child =
      start({"run", "e2e.json", "-q", "-j", "2", "--set", "trainer.epoch_ms=120000"});
  await("SELECT count(*) FROM attempt");
  EXPECT_THAT(shell("$BROOD stop e2e.db").output, HasSubstr("may save first, for up to 60 s"));
  kill(child, SIGTERM);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 75 << 8);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(45));
}

// A program that repeats epochs and saves none of them will not save any.
TEST_F(EndToEnd, RepeatedEpochsCountWhereSavesAreAwaited) {
  write("again.sh", R"(read -r line
report() { echo "{\"epoch\": $1, \"metrics\": {\"value\": 1}}" >&3; }
case "$line" in
  *'"attempt":1,'*) for e in 1 2 3 4 5 6 7 8; do report $e; done; exit 1;;
esac
e=1
while [ $e -lt 500 ]; do report $e; sleep 0.3; e=$((e+1)); done
)");
  write("e2e.json", R"({"version": 1, "experiment": {"name": "e2e"},
    "objective": {"metric": "value", "goal": "minimize"}, "output": {"database": "e2e.db"},
    "search_space": {"x": [1]}, "search": {"algorithm": "grid"},
    "trainer": {"name": "command", "argv": ["sh", "again.sh"], "epochs": 500}})");
  const auto started = std::chrono::steady_clock::now();
  const pid_t child = start({"run", "e2e.json", "-q"});
  await("SELECT count(*) FROM attempt", 2);
  shell("$BROOD stop e2e.db");
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 75 << 8);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(45));
}

TEST_F(EndToEnd, RepeatsTheEventLogOfARunWithDeadlines) {
  std::string text = config("random", "", 1);
  const std::string entry = R"("how": "nan", "epoch": 3, "trials": [4])";
  text.replace(text.find(entry), entry.size(),
               R"("how": "hang", "epoch": 3, "trials": [2, 4, 13])");
  write("e2e.json", text);
  ASSERT_EQ(shell("$BROOD run e2e.json -q -j 4 --set fault_tolerance.report_timeout=500ms "
                  "--set fault_tolerance.max_retries_per_trial=0")
                .status,
            0);
  const std::string first = table(path("e2e.db"));
  ASSERT_THAT(first, HasSubstr("silence"));
  const Result again = shell(
      "$BROOD run e2e.json -q -j 1 --set fault_tolerance.report_timeout=500ms --events e2e.db "
      "--set fault_tolerance.max_retries_per_trial=0 --set output.database=again.db");
  ASSERT_EQ(again.status, 0) << again.output;
  EXPECT_EQ(table(path("again.db")), first);
  EXPECT_THAT(shell("$BROOD run e2e.json --set experiment.seed=6 --events e2e.db "
                    "--set output.database=other.db")
                  .output,
              HasSubstr("its event log is of another experiment"));
  EXPECT_THAT(shell("$BROOD run e2e.json --events e2e.db").output,
              HasSubstr("is the database of this run itself"));
}

TEST_F(EndToEnd, ResumesFromTheDatabaseAloneWithALargerBudget) {
  write("e2e.json", config("random", ""));
  ASSERT_EQ(shell("$BROOD run e2e.json -q").status, 0);
  const Result result = shell("rm e2e.json; $BROOD resume e2e.db --set budget.max_trials=35 -j 3");
  EXPECT_EQ(result.status, 0) << result.output;
  sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
  EXPECT_EQ(db.whole("SELECT count(*) FROM trial WHERE same_as IS NULL"), 35);
}

TEST_F(EndToEnd, RefusesToGoOnWithAnotherSpaceAndShowsTheDifference) {
  write("e2e.json", config("random", ""));
  ASSERT_EQ(shell("$BROOD run e2e.json -q").status, 0);
  const std::string before = table(path("e2e.db"));
  const Result result = shell("$BROOD run e2e.json --set search_space.x.max=2");
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.output, HasSubstr("/search_space/x/max"));
  EXPECT_THAT(result.output, HasSubstr("-> 2"));
  EXPECT_EQ(table(path("e2e.db")), before);
}

TEST_F(EndToEnd, ATrialThatNeverReportsIsEndedAfterItsTimeout) {
  std::string text = config("random", "");
  text.replace(text.find("\"nan\""), 5, "\"hang\"");
  write("e2e.json", text);
  const Result result = shell(
      "$BROOD run e2e.json -j 2 --set budget.max_trials=10 "
      "--set fault_tolerance.report_timeout=400ms --set fault_tolerance.max_retries_per_trial=0");
  EXPECT_EQ(result.status, 0) << result.output;
  const Result why = shell("$BROOD why 4 e2e.json");
  EXPECT_THAT(why.output, HasSubstr("report_timeout"));
}

TEST_F(EndToEnd, ATrialThatAllocatesWithoutEndIsEndedAtItsLimit) {
  std::string text = config("random", "");
  text.replace(text.find("\"nan\""), 5, "\"allocate\"");
  write("e2e.json", text);
  const Result result = shell(
      "$BROOD run e2e.json -j 2 --set budget.max_trials=10 "
      "--set resources.memory_per_trial=200MiB --set "
      "fault_tolerance.max_retries_per_trial=0");
  EXPECT_EQ(result.status, 0) << result.output;
  sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
  EXPECT_EQ(db.text("SELECT cause FROM trial WHERE number = 4"), "memory");
}

TEST_F(EndToEnd, TwoRunsOnOneDatabaseAreRefused) {
  write("e2e.json", config("random", "", 100));
  const pid_t first = start({"run", "e2e.json", "-q", "-j", "1"});
  await_reports(1);
  const Result result = shell("$BROOD run e2e.json; echo status $?");
  kill(first, SIGKILL);
  waitpid(first, nullptr, 0);
  EXPECT_THAT(result.output, HasSubstr("status 2"));
  EXPECT_THAT(result.output, HasSubstr("process"));
}

TEST_F(EndToEnd, SaysWhatIsWrongWithItsArguments) {
  EXPECT_THAT(shell("$BROOD rum x.json").output, HasSubstr("did you mean \"run\"?"));
  EXPECT_EQ(shell("$BROOD rum x.json").status, 2);
  EXPECT_THAT(shell("$BROOD run").output, HasSubstr("CONFIG is missing"));
  EXPECT_THAT(shell("$BROOD run nowhere.json").output, HasSubstr("nowhere.json"));
  write("e2e.json", config("random", ""));
  EXPECT_THAT(shell("$BROOD run e2e.json -j 0").output, HasSubstr("at least 1 (is \"0\")"));
  EXPECT_THAT(shell("$BROOD run e2e.json --set resources.executors=0").output,
              HasSubstr("/resources/executors"));
  EXPECT_THAT(shell("$BROOD run .").output, HasSubstr("folder"));
  EXPECT_THAT(shell("$BROOD resume e2e.json").output, HasSubstr("brood run"));
  EXPECT_THAT(shell("$BROOD best").output, HasSubstr("experiments.db"));
}

TEST_F(EndToEnd, ADeletedDatabaseTakesNothingFromItsOldFiles) {
  write("e2e.json", config("random", ""));
  const std::string saving = " --set fault_tolerance.checkpoint_every_epochs=1";
  ASSERT_EQ(shell("$BROOD run e2e.json -q --set experiment.seed=6" + saving).status, 0);
  const std::string other = table(path("e2e.db"));
  shell("rm e2e.db*; ls e2e.db.files/e2e");
  ASSERT_EQ(shell("$BROOD run e2e.json -q" + saving).status, 0);
  const std::string left = table(path("e2e.db"));
  EXPECT_TRUE(fs::exists(path("e2e.db.files/e2e.old1")));
  shell("rm -rf e2e.db*");
  ASSERT_EQ(shell("$BROOD run e2e.json -q" + saving).status, 0);
  EXPECT_EQ(left, table(path("e2e.db")));
  EXPECT_NE(left, other);
}

TEST_F(EndToEnd, EveryCheckpointOfTheRecordIsThereAfterAKill) {
  write("e2e.json", config("random", "asha", 40));
  const std::string run =
      "$BROOD run e2e.json -j 3 -q --set fault_tolerance.checkpoint_every_epochs=1";
  int seen = 0;
  // Six kills, and later ones where they all came before the first checkpoint.
  for (int i = 0; i < 6 || (seen == 0 && i < 30); ++i) {
    shell("timeout -s KILL " + std::to_string(0.15 + 0.05 * i) + " " + run);
    // Killed while it made the database, a later run begins anew; until then nobody can read it.
    if (shell("$BROOD status e2e.db").status != 0) continue;
    sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
    // What a running trial would go on from. Of others the file may be gone and its row not yet.
    sqlite::Statement rows(db,
                           "SELECT c.path, max(c.epoch) FROM checkpoint c JOIN trial t ON t.id = "
                           "c.trial WHERE t.state IN ('running', 'waiting') GROUP BY c.trial");
    while (rows.step()) {
      ++seen;
      EXPECT_TRUE(fs::exists(path(std::string(rows.text(0))))) << rows.text(0);
    }
  }
  EXPECT_GT(seen, 0);
  ASSERT_EQ(shell(run).status, 0) << shell("cat output.txt").output;
  sqlite::Connection db(path("e2e.db"), sqlite::Access::read);
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path("e2e.db.files")))
    files += entry.path().extension() == ".ckpt";
  EXPECT_EQ(files, db.whole("SELECT count(*) FROM checkpoint")) << "files that the record forgot";
  EXPECT_EQ(files, 1) << "keep_best is 1";
}

// What is lost with the disk of checkpoints and logs is time.
TEST_F(EndToEnd, NeitherLogsNorCheckpointsAreNeeded) {
  write("e2e.json", config("random", "asha"));
  const std::string run =
      "$BROOD run e2e.json -q -j 3 --set fault_tolerance.checkpoint_every_epochs=1";
  ASSERT_EQ(shell(run).status, 0);
  const std::string expected = table(path("e2e.db"));
  // Where trials want their folders there are files.
  shell("rm -rf e2e.db*; " + run + " --set budget.max_trials=2");
  for (int trial = 2; trial < 30; ++trial) {
    char name[40];
    std::snprintf(name, sizeof name, "e2e.db.files/e2e/trial_%06d", trial);
    write(name, "");
  }
  ASSERT_EQ(shell(run).status, 0) << shell("cat output.txt").output;
  EXPECT_EQ(table(path("e2e.db")), expected);
  // A file system of one page takes one of them, and then no more.
  const std::string small = "mount -t tmpfs -o size=4k none e2e.db.files";
  if (shell("rm -rf e2e.db*; mkdir e2e.db.files; export BROOD; unshare -rm sh -c '" + small + "'")
          .status != 0) {
    GTEST_LOG_(INFO) << "no file system of one's own may be mounted here: that part is left out";
    return;
  }
  const Result full =
      shell("export BROOD; unshare -rm sh -c '" + small + " && " + run + " && df e2e.db.files'");
  EXPECT_EQ(full.status, 0) << full.output;
  EXPECT_THAT(full.output, HasSubstr("100%"));
  EXPECT_EQ(table(path("e2e.db")), expected);
}

TEST_F(EndToEnd, LoweredBudgetsEndAResumeQuietly) {
  write("e2e.json", config("genetic", ""));
  ASSERT_EQ(shell("$BROOD run e2e.json -q").status, 0);
  const std::string before = table(path("e2e.db"));
  const Result fewer = shell("$BROOD run e2e.json --set search.settings.generations=2");
  EXPECT_EQ(fewer.status, 0) << fewer.output;
  const Result strict = shell("$BROOD run e2e.json --set budget.max_failed_trials=1");
  EXPECT_EQ(strict.status, 1) << strict.output;
  EXPECT_THAT(strict.output, HasSubstr("max_failed_trials is 1"));
  EXPECT_EQ(table(path("e2e.db")), before);
}

TEST_F(EndToEnd, ARunWithoutASingleResultIsAFailure) {
  std::string text = config("random", "");
  const std::string entry = R"("throw", "epoch": 2, "trials": [9])";
  text.replace(text.find(entry), entry.size(), R"("throw", "epoch": 1)");
  write("e2e.json", text);
  const Result result = shell("$BROOD run e2e.json --set fault_tolerance.max_retries_per_trial=0");
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr("No trial has a result"));
}

// tests/golden/store/v1.sql is a dump of a run that the first version (schema 1) was interrupted
// in. Its folder and its config, and what is to be different in it.
void make_first_version(const std::string& database, const std::string& config,
                        const std::string& changes) {
  const fs::path golden = fs::path(std::getenv("BROOD_SOURCE_DIR")) / "tests/golden/store";
  std::stringstream sql;
  sql << std::ifstream(golden / "v1.sql").rdbuf();
  fs::copy_file(golden / "v1.json", config);
  sqlite::Connection db(database, sqlite::Access::create);
  db.run("PRAGMA page_size=16384; PRAGMA application_id=" + std::to_string(0x62726f64));
  db.run(sql.str());
  db.run("PRAGMA user_version=1; " + changes);
}

// Which knew no max_initial_failures: that limit must not end now what went on then.
TEST_F(EndToEnd, FirstFailuresOfTheFirstVersionEndNothing) {
  std::string changes =
      "UPDATE trial SET state = 'failed', cause = 'trainer', why = 'threw', "
      "objective = NULL, best_epoch = NULL;";
  for (const std::string table : {"attempt", "report", "result", "rung", "checkpoint", "point_1"})
    changes += "DELETE FROM " + table + " WHERE trial & 0xffffffff > 4;";
  make_first_version(path("v1.db"), path("old.json"),
                     changes +
                         "DELETE FROM trial WHERE number > 4; DELETE FROM result; "
                         "DELETE FROM event; DELETE FROM rung; DELETE FROM checkpoint");
  const auto state = [&] {
    return sqlite::Connection(path("v1.db"), sqlite::Access::read)
        .text("SELECT state || ' ' || (SELECT count(*) > 20 FROM trial) FROM experiment");
  };
  const Result resumed = shell("$BROOD resume v1.db -q");
  EXPECT_EQ(state(), "completed 1") << resumed.output;
  // Now it is a file of this version; neither its config nor one that says nothing ends it.
  shell("$BROOD resume v1.db -q; $BROOD run old.json -q");
  EXPECT_EQ(state(), "completed 1");
  const Result asked = shell("$BROOD run old.json -q --set fault_tolerance.max_initial_failures=5");
  EXPECT_EQ(asked.status, 1) << asked.output;
  EXPECT_EQ(state(), "failed 1");
}

TEST_F(EndToEnd, AnUnfinishedDatabaseOfTheFirstVersionIsAnsweredAndGoesOn) {
  make_first_version(path("v1.db"), path("old.json"),
                     "DROP VIEW best; CREATE VIEW best AS SELECT 'old' AS trial");
  for (const std::string question :
       {"status", "best", "show 3", "why 2", "query \"state = 'stopped'\""}) {
    const Result result = shell("$BROOD " + question + " --db v1.db");
    EXPECT_EQ(result.status, 0) << question << "\n" << result.output;
  }
  EXPECT_EQ(shell("$BROOD resume v1.db -q").status, 0) << shell("cat output.txt").output;
  EXPECT_EQ(shell("$BROOD run old.json -q --set output.database=new.db").status, 0);
  EXPECT_EQ(table(path("v1.db")), table(path("new.db")));
  sqlite::Connection db(path("v1.db"), sqlite::Access::read);
  EXPECT_EQ(db.text("SELECT trial FROM best LIMIT 1"), "0") << "the view is still the old one";
}

TEST_F(EndToEnd, ReplayGivesTheRecordedBitsAndFindsAChangedTrainer) {
  write("e2e.json", config("random", ""));
  ASSERT_EQ(shell("$BROOD run e2e.json -q").status, 0);
  const Result result = shell("$BROOD replay 3 e2e.json");
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("all bits the same"));
  const Result all = shell("$BROOD replay --all e2e.json");
  EXPECT_EQ(all.status, 0) << all.output;
  EXPECT_THAT(all.output, HasSubstr("trained again"));
  EXPECT_THAT(all.output, testing::Not(HasSubstr("differ")));
  EXPECT_EQ(shell("$BROOD replay --db e2e.db").status, 2) << "neither a number nor --all";
}

}  // namespace
}  // namespace brood
