// Goal: whatever a trial does, it ends as docs/promises.md says, with its reason in the record; the
// run goes on, and nothing of it stays behind.
// Method: the real program, with this very test as the program that each trial runs: one trial for
// each misdeed, all in one experiment, or in one with a deadline.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "store/sqlite.h"
#include "tests/shell_fixture.h"

namespace brood {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Misdeed {
  std::string how, state, cause, why;
};

// Without any limit of time.
const std::vector<Misdeed> kMisdeeds = {
    {"none", "completed", "", ""},
    {"segfault", "failed", "signal", "was killed by signal 11"},
    {"abort", "failed", "signal", "was killed by signal 6"},
    {"eats memory", "failed", "memory", "over its memory limit of 300 MiB"},
    {"silent end", "failed", "protocol", "ended with status 0 without a report"},
    {"early end", "failed", "protocol", "ended after epoch 1 of 3"},
    {"nan", "failed", "nan", "value became NaN at epoch 2"},
    {"report after the end", "completed", "", ""},
    {"reports without end", "completed", "", ""},
    {"endless line", "failed", "protocol", "a line of more than 1 MiB"},
    {"broken text", "failed", "protocol", "wrote a broken line: "},
    {"control characters", "failed", "protocol", "has a control character"},
    {"a huge broken token", "failed", "protocol", "wrote a broken line: "},
    {"1e400", "failed", "protocol", "number overflow"},
    {"metric twice", "failed", "protocol", "\"value\" is there twice"},
    {"epochs backwards", "failed", "protocol", "reported epoch 1 after epoch 2"},
    {"other metrics each time", "completed", "", ""},
    {"floods its log", "completed", "", ""},
    {"leaks descriptors", "completed", "", ""},
    {"removes its folder", "completed", "", ""},
    {"a child holds the pipe", "completed", "", ""},
    {"a child leaves the session", "completed", "", ""}};

// Each would run for ever.
const std::vector<Misdeed> kEndless = {
    {"loops", "failed", "silence", "did not report within report_timeout (2.0 s)"},
    {"loops deaf, with a child", "failed", "silence", "did not report within report_timeout"}};
const std::vector<Misdeed> kSlow = {
    {"creeps", "failed", "deadline", "ran longer than max_trial_time (1.0 s)"}};

// Each of its processes has memory too, so this goes without a limit of that.
const std::vector<Misdeed> kBomb = {
    {"forks without end", "failed", "memory", "more than 100 processes at a time"},
    {"none", "completed", "", ""}};

class Hostile : public Shell {
 protected:
  // Runs an experiment with a trial for each.
  Result run(const std::vector<Misdeed>& misdeeds, const std::string& more, const char* jobs,
             const std::string& resources = R"({"memory_per_trial": "300MiB"})") {
    std::string values;
    for (const Misdeed& one : misdeeds) values += (values.empty() ? "\"" : ", \"") + one.how + "\"";
    write("h.json", R"({"version": 1, "experiment": {"name": "h"}, "output": {"database": "h.db"},
      "objective": {"metric": "value", "goal": "minimize"}, "search": {"algorithm": "grid"},
      "resources": )" + resources +
                        ", " + more +
                        R"("search_space": {"how": {"type": "categorical", "values": [)" + values +
                        R"(]}}, "trainer": {"name": "command", "epochs": 3, "argv": [")" +
                        fs::read_symlink("/proc/self/exe").string() +
                        R"(", "misbehave", {"$param": "how"}]}})");
    return shell("$BROOD run h.json -q -j " + std::string(jobs));
  }

  void expect(const std::vector<Misdeed>& misdeeds) {
    sqlite::Connection db(path("h.db"), sqlite::Access::read);
    EXPECT_EQ(db.text("SELECT state FROM experiment"), "completed");
    for (std::size_t k = 0; k < misdeeds.size(); ++k) {
      const Misdeed& one = misdeeds[k];
      const std::string trial = " FROM trial WHERE number = " + std::to_string(k);
      EXPECT_EQ(db.text("SELECT state" + trial), one.state) << one.how;
      EXPECT_EQ(db.text("SELECT ifnull(cause, '')" + trial), one.cause) << one.how;
      EXPECT_THAT(db.text("SELECT ifnull(why, '')" + trial), HasSubstr(one.why)) << one.how;
      EXPECT_LT(db.whole("SELECT length(ifnull(why, ''))" + trial), 6000) << one.how;
      const Result why = shell("$BROOD why " + std::to_string(k) + " h.db");
      EXPECT_EQ(why.status, 0) << one.how;
      EXPECT_THAT(why.output, HasSubstr(one.why)) << one.how;
      for (const char c : why.output)
        ASSERT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << one.how;
    }
  }

  // Of what a trial left behind, by the file where it wrote its number.
  void expect_gone(const std::string& file) {
    const std::string number = read(file);
    ASSERT_FALSE(number.empty()) << file;
    const auto there = [&] {
      std::ostringstream stat;
      stat << std::ifstream("/proc/" + number + "/stat").rdbuf();
      const auto name_end = stat.str().rfind(')');
      return name_end != std::string::npos && stat.str()[name_end + 2] != 'Z';
    };
    for (int i = 0; i < 6000 && there(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_FALSE(there()) << file;
  }
};

TEST_F(Hostile, EveryMisdeedEndsAsPromisedAndTheRunGoesOn) {
  const Result result =
      run(kMisdeeds,
          R"("fault_tolerance": {"max_retries_per_trial": 0, "max_initial_failures": 0},)", "2");
  EXPECT_EQ(result.status, 0) << result.output;
  expect(kMisdeeds);
  expect_gone("holds.pid");
  // QEMU's user mode gives a worker no orphans (Linux does since 3.4).
  int reaper = 0;
  if (prctl(PR_GET_CHILD_SUBREAPER, &reaper) == 0) expect_gone("leaves.pid");
  // Its input, its output and the descriptor for reports, and nothing of ours.
  EXPECT_EQ(sqlite::Connection(path("h.db"), sqlite::Access::read)
                .whole("SELECT max(descriptors) FROM trials_h WHERE trial = 0"),
            4);
  std::uintmax_t longest = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path("h.db.files")))
    if (entry.is_regular_file()) longest = std::max(longest, entry.file_size());
  EXPECT_GT(longest, 1U << 20);
  EXPECT_LT(longest, 17U << 20) << "a flood of 400 MiB is cut";
}

TEST_F(Hostile, WhatNeverEndsMeetsItsDeadline) {
  const std::string once = R"("max_retries_per_trial": 0, "max_initial_failures": 0)";
  const Result silent =
      run(kEndless, R"("fault_tolerance": {)" + once + R"(, "report_timeout": "2s"},)", "2");
  EXPECT_THAT(silent.output, HasSubstr("No trial has a result"));
  expect(kEndless);
  // On a machine that is busy enough it never came to have a child.
  if (fs::exists(path("deaf.pid"))) expect_gone("deaf.pid");
  shell("rm -r h.db*");
  run(kSlow, R"("budget": {"max_trial_time": "1s"}, "fault_tolerance": {)" + once + "},", "1");
  expect(kSlow);
}

TEST_F(Hostile, AMisdeedIsTriedAgainAndEachAttemptIsTold) {
  const std::vector<Misdeed> alike(1, kMisdeeds[1]);
  run(alike, "", "1");
  expect(alike);
  const Result why = shell("$BROOD why 0 h.db");
  EXPECT_THAT(why.output, HasSubstr("Attempt 3"));
  EXPECT_THAT(why.output, HasSubstr("charged"));
}

// As many as the test may ask of any machine; 300 are held at once, so that one look is enough.
TEST_F(Hostile, AForkBombIsEndedWithAllItsProcesses) {
  ::setenv("BROOD_MAX_PROCESSES", "100", 1);
  // Where so many may not be had it is silent for ever.
  const std::string once =
      R"("fault_tolerance": {"max_retries_per_trial": 0, "report_timeout": "3m"},)";
  const Result result = run(kBomb, once, "1", R"({"memory_per_trial": "4096GiB"})");
  ::unsetenv("BROOD_MAX_PROCESSES");
  EXPECT_EQ(result.status, 0) << result.output;
  expect(kBomb);
  expect_gone("bomb.pid");
}

// Checkpoints are a cache: whoever removes them, and the logs, costs time.
TEST_F(Hostile, FoldersThatVanishWhileTrialsRunChangeNothing) {
  const std::string config = R"({"version": 1, "experiment": {"name": "v"},
    "objective": {"metric": "val_loss", "goal": "minimize"}, "output": {"database": "v.db"},
    "search_space": {"learning_rate": [0.1, 0.05, 0.02, 0.01]}, "search": {"algorithm": "grid"},
    "fault_tolerance": {"checkpoint_every_epochs": 1},
    "trainer": {"name": "cnn", "epochs": 12, "dataset": {"synthetic": {"train": 800}},
      "optimizer": {"name": "sgd", "learning_rate": {"$param": "learning_rate"}},
      "layers": [{"conv": {"filters": 8, "kernel": 3}}, {"global_avg_pool": {}}]}})";
  write("v.json", config);
  const std::string values =
      "$BROOD query --db v.db --json --sql 'SELECT trial, epoch, val_loss FROM curve'";
  ASSERT_EQ(shell("$BROOD run v.json -q -j 2").status, 0);
  const std::string quiet = shell(values).output;
  ASSERT_THAT(quiet, HasSubstr("\"epoch\""));
  const Result robbed = shell(
      "rm -r v.db*; $BROOD run v.json -q -j 2 & run=$!; while kill -0 $run 2> /dev/null; do rm -rf "
      "v.db.files/v/trial_*; sleep 0.02; done; wait $run");
  EXPECT_EQ(robbed.status, 0) << robbed.output;
  EXPECT_EQ(shell(values).output, quiet);
}

// --- the program's side ---

void report(int epoch, const std::string& metrics) {
  dprintf(3, "{\"epoch\": %d, \"metrics\": {%s}}\n", epoch, metrics.c_str());
}

void remember(const char* file) { std::ofstream(file) << getpid(); }

// What is so large or so long that it must be stopped.
void excessive(const std::string& how) {
  if (how == "eats memory") {
    for (int i = 0; i < 100; ++i) {
      constexpr std::size_t kBytes = std::size_t{8} << 20;
      std::memset(std::malloc(kBytes), i, kBytes);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::this_thread::sleep_for(std::chrono::minutes(10));
  }
  const std::string block(std::size_t{1} << 20, 'x');
  if (how == "endless line")
    for (int i = 0; i < 100; ++i) std::ignore = write(3, block.data(), block.size());
  if (how == "floods its log")
    for (int i = 0; i < 400; ++i) std::ignore = write(1, block.data(), block.size());
  if (how == "reports without end")
    for (int epoch = 1;; ++epoch) report(epoch, "\"value\": 1");
  if (how == "a huge broken token") dprintf(3, "{\"%s\n", block.substr(9).c_str());
  if (how == "leaks descriptors")
    while (open("/dev/null", O_RDONLY) >= 0) {
    }
  if (how == "loops deaf, with a child") {
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (fork() == 0) {
      setsid();
      remember("deaf.pid");
    }
  }
  volatile std::uint64_t turns = 0;
  if (how.starts_with("loops"))
    for (;;) turns = turns + 1;
  if (how == "creeps") {
    report(1, "\"value\": 1");
    std::this_thread::sleep_for(std::chrono::minutes(10));
  }
}

// A child that would outlive the trial, with the descriptors open.
void leave_child(bool session) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGTERM, SIG_IGN);
    if (session) {
      setsid();
      if (fork() != 0) _exit(0);
    }
    remember(session ? "leaves.pid" : "holds.pid");
    std::this_thread::sleep_for(std::chrono::minutes(10));
    _exit(0);
  }
  const char* file = session ? "leaves.pid" : "holds.pid";
  while (!fs::exists(file) || fs::file_size(file) == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// A chain of families that leave their groups, up to 300 processes.
void fork_bomb() {
  for (int group = 0; group < 10; ++group) {
    for (int i = 0; i < 29; ++i) {
      const pid_t child = fork();
      if (child == 0)
        for (;;) pause();
      if (group == 0 && i == 0) std::ofstream("bomb.pid") << child;
    }
    if (fork() != 0)
      for (;;) pause();
    setpgid(0, 0);
  }
  for (;;) pause();
}

// What is wrong in a report.
void misreport(const std::string& how) {
  if (how == "broken text") dprintf(3, "{\"epoch\": 1, \"metrics\": {\"\xff\xfe\x1b[31m\": 1}}\n");
  if (how == "control characters") report(1, "\"value\": 1, \"\\u001b[31mred\": 2");
  if (how == "1e400") report(1, "\"value\": 1e400");
  if (how == "metric twice") report(1, "\"value\": 1, \"value\": 2");
  if (how == "nan") {
    report(1, "\"value\": 1");
    report(2, "\"value\": NaN");
  }
  if (how == "epochs backwards")
    for (const int epoch : {1, 2, 1}) report(epoch, "\"value\": 1");
  if (how == "other metrics each time")
    for (int epoch = 1; epoch <= 3; ++epoch) {
      std::string metrics = "\"value\": 1";
      for (int i = 0; i < 250; ++i)
        metrics += ", \"m" + std::to_string(epoch) + "_" + std::to_string(i) + "\": 1";
      report(epoch, metrics);
    }
}

int descriptors() {
  int count = 0;
  for (int i = 0; i < 1024; ++i) count += fcntl(i, F_GETFD) >= 0;
  return count;
}

int misbehave(const std::string& how) {
  std::string line;
  for (char c = 0; read(0, &c, 1) == 1 && c != '\n';) line += c;
  if (how == "segfault" || how == "abort") {
    for (const int number : {SIGSEGV, SIGABRT}) signal(number, SIG_DFL);  // sanitizers have theirs
    raise(how == "abort" ? SIGABRT : SIGSEGV);
  }
  if (how == "silent end") return 0;
  if (how == "forks without end") fork_bomb();
  const int before = descriptors();
  excessive(how);
  if (how.starts_with("a child")) leave_child(how == "a child leaves the session");
  if (how == "removes its folder") {
    const auto start = line.find("\"save_to\":\"") + 11;
    fs::remove_all(fs::path(line.substr(start, line.find('"', start) - start)).parent_path());
  }
  misreport(how);
  if (how == "other metrics each time") return 0;
  const int last = how == "early end" ? 1 : how == "report after the end" ? 4 : 3;
  for (int epoch = 1; epoch <= last; ++epoch)
    report(epoch, "\"value\": 1, \"descriptors\": " + std::to_string(before));
  return 0;
}

}  // namespace
}  // namespace brood

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "misbehave") return brood::misbehave(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
