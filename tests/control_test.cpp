// Commands as people give them: the control socket with friendly and hostile peers, the lines it
// takes, and the program itself with a real run in the background. What the commands do to a table
// is in commands_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "cli/config.h"
#include "cli/control_desk.h"
#include "cli/control_socket.h"
#include "engine/error.h"
#include "store/sqlite.h"

namespace brood {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kConfig = R"({"version": 1, "experiment": {"name": "told", "seed": 5},
  "objective": {"metric": "value", "goal": "minimize"},
  "output": {"database": "told.db"},
  "search_space": {"kind": {"type": "categorical", "values": ["flat", "steep"]},
    "x": {"type": "float", "min": 0.0, "max": 1.0, "when": {"kind": ["steep"]}},
    "n": {"type": "int", "min": 1, "max": 9}},
  "budget": {"max_trials": 24}, "search": {"algorithm": "random"},
  "trainer": {"name": "synthetic", "epochs": 4, "epoch_ms": 25, "noise": 0.1}})";

// The same, not over before it was told something, however slow the machine is: 200 s of one core.
std::string long_config() {
  std::string text = kConfig;
  text.replace(text.find("24"), 2, "2000");
  return text;
}

class Control : public testing::Test {
 protected:
  Control() {
    static int number = 0;
    folder_ = fs::temp_directory_path() /
              ("brood-control-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    fs::create_directories(folder_);
  }
  ~Control() override {
    if (run_ > 0) {
      kill(run_, SIGKILL);
      waitpid(run_, nullptr, 0);
    }
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // Runs a shell command in the folder, with $BROOD the program: what it printed.
  std::string shell(const std::string& command, int expected_status = 0) const {
    const char* binary = std::getenv("BROOD_BINARY");
    const std::string all = "cd '" + folder_.string() + "' && BROOD='" +
                            (binary != nullptr ? binary : "./brood") + "' && (" + command +
                            ") > output.txt 2>&1";
    const int status = std::system(all.c_str());
    std::stringstream text;
    text << std::ifstream(path("output.txt")).rdbuf();
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, expected_status) << command << "\n"
                                                                             << text.str();
    return text.str();
  }

  // Starts `brood run told.json` and returns when it listens.
  void start(const std::vector<std::string>& arguments) {
    std::vector<std::string> words = {"brood", "run", "told.json", "-q"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const char* binary = std::getenv("BROOD_BINARY");
    run_ = fork();
    if (run_ == 0) {
      fs::current_path(folder_);
      std::freopen("run.txt", "w", stdout);
      std::freopen("run.txt", "a", stderr);
      execv(binary != nullptr ? binary : "./brood", argv.data());
      _exit(127);
    }
    wait_for([&] { return fs::exists(path("told.db.files/control.sock")); });
  }

  static void wait_for(const std::function<bool()>& there) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!there()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "it did not come";
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  int end_of_run() {
    int status = 0;
    waitpid(run_, &status, 0);
    run_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string count(const std::string& what) const {
    return shell("$BROOD query --db told.db --sql \"SELECT count(*) AS n FROM " + what +
                 "\" --json");
  }

  fs::path folder_;
  pid_t run_ = 0;
};

TEST_F(Control, ARunObeysAndRepeatsItFromItsEventLog) {
  std::ofstream(path("told.json")) << long_config();
  start({"-j", "2"});
  EXPECT_THAT(shell("$BROOD pause told.db"), HasSubstr("paused"));
  EXPECT_THAT(shell("$BROOD status told.db"), HasSubstr("paused (`brood continue told.db`"));
  EXPECT_THAT(shell("$BROOD why told.db"), HasSubstr("is paused"));
  const std::string added = shell("$BROOD add '{\"kind\": \"flat\", \"n\": 3.0}' told.json");
  ASSERT_THAT(added, HasSubstr(" is added"));
  const std::string number = added.substr(6, added.find(" is added") - 6);
  EXPECT_THAT(shell("$BROOD why " + number + " told.db"), HasSubstr("the run is paused"));
  EXPECT_THAT(shell("$BROOD cancel " + number + " --why 'no good' told.db"),
              HasSubstr("is cancelled before its first epoch"));
  EXPECT_THAT(shell("$BROOD why " + number + " told.db"), HasSubstr("was cancelled: no good"));
  EXPECT_THAT(shell("$BROOD set max_trials 12 told.db"), HasSubstr("max_trials: 2000 -> 12"));
  EXPECT_THAT(shell("$BROOD set target=-99 told.db"), HasSubstr("target: none -> -99"));
  EXPECT_THAT(shell("$BROOD continue told.db"), HasSubstr("goes on"));
  EXPECT_EQ(end_of_run(), 0);
  EXPECT_FALSE(fs::exists(path("told.db.files/control.sock")));

  const std::string table =
      "SELECT number, state, origin, cause, objective, judged_epoch, seed FROM trial";
  const std::string first = shell("$BROOD query --db told.db --json --sql '" + table + "'");
  EXPECT_THAT(first, HasSubstr("cancelled"));
  shell("$BROOD run told.json -q -j 1 --set output.database=again.db --events told.db");
  EXPECT_EQ(shell("$BROOD query --db again.db --json --sql '" + table + "'"), first);
}

TEST_F(Control, ARunRefusesWhatIsWrongAndSaysWhy) {
  std::ofstream(path("told.json")) << long_config();
  start({"-j", "1"});
  const auto refused = [&](const std::string& words) { return shell("$BROOD " + words, 2); };
  EXPECT_THAT(refused("add '{\"kind\": \"steep\", \"n\": 3}' told.db"), HasSubstr("\"x\""));
  EXPECT_THAT(refused("add '{\"kind\": \"flat\", \"n\": 30}' told.db"),
              HasSubstr("n: should be a whole number from 1 to 9 (is 30)"));
  EXPECT_THAT(refused("add '{\"kinds\": 1}' told.db"), HasSubstr("did you mean \"kind\"?"));
  EXPECT_THAT(refused("add '[1' told.db"), HasSubstr("JSON"));
  EXPECT_THAT(refused("cancel 999 told.db"), HasSubstr("there is no trial 999"));
  EXPECT_THAT(refused("set max_trials 0 told.db"), HasSubstr("at least 1"));
  EXPECT_THAT(refused("set max_trials none told.db"), HasSubstr("goes on without end"));
  EXPECT_THAT(refused("set max_trails 9 told.db"), HasSubstr("did you mean \"max_trials\"?"));
  EXPECT_THAT(refused("continue told.db"), HasSubstr("not paused"));
  EXPECT_THAT(refused("pause told.db -e other"), HasSubstr("other"));
  EXPECT_THAT(shell("$BROOD stop told.db"), HasSubstr("what is recorded stays"));
  EXPECT_EQ(end_of_run(), 75);
  EXPECT_THAT(refused("pause told.db"), HasSubstr("no process runs"));
  EXPECT_THAT(refused("set max_trials 30 told.db"), HasSubstr("--set budget.max_trials=30`"));
  EXPECT_THAT(refused("add '{\"kind\": \"flat\", \"n\": 3}' told.db"), HasSubstr("brood resume"));
  // No advice that would be refused in its turn.
  EXPECT_THAT(refused("add '{}' told.db"), HasSubstr("n"));
  EXPECT_THAT(refused("set max_trials soon told.db"), HasSubstr("should be a whole number"));
  EXPECT_THAT(refused("set max_trials told.db"),
              HasSubstr("VALUE is missing: \"told.db\" is a file"));
  EXPECT_THAT(refused("set target none told.db"), HasSubstr("--set objective.target=none`"));
  shell(
      "$BROOD resume told.db -q --set objective.target=none --set budget.max_failed_trials=none "
      "--set trainer.epoch_ms=25 --set budget.max_trials=3");
  EXPECT_THAT(refused("resume told.db -q --set budget.max_trails=none"),
              HasSubstr("did you mean \"max_trials\"?"));
}

TEST_F(Control, RankZeroObeysUnderMpi) {
  if (!BROOD_MPI || std::system("command -v mpirun > /dev/null") != 0)
    GTEST_SKIP() << "no MPI in this build or no mpirun";
  std::ofstream(path("told.json")) << long_config();
  const std::string said = shell(
      "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; mpirun --enable-recovery "
      "--bind-to none --oversubscribe --mca pml ob1 --mca btl self,vader -n 3 $BROOD run told.json "
      "-q > run.txt 2>&1 & for i in $(seq 600); do $BROOD pause told.db 2> /dev/null && break; "
      "sleep 0.05; done; $BROOD set max_trials 3 told.db; $BROOD continue told.db; wait");
  EXPECT_THAT(said, HasSubstr("max_trials: 2000 -> 3"));
  EXPECT_THAT(shell("$BROOD status told.db"), HasSubstr("state       completed"));
}

TEST_F(Control, TheSocketOfAKilledRunIsReplaced) {
  std::ofstream(path("told.json")) << long_config();
  start({"-j", "1"});
  struct stat found {};
  ASSERT_EQ(stat(path("told.db.files/control.sock").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600U);
  kill(run_, SIGKILL);
  waitpid(run_, nullptr, 0);
  run_ = 0;
  ASSERT_TRUE(fs::exists(path("told.db.files/control.sock")));
  EXPECT_THAT(shell("$BROOD pause told.db", 2), HasSubstr("no process runs"));
  start({"-j", "2"});
  // The file was there before: the answer may still have to wait for the new run.
  wait_for([&] {
    const std::string asked = "$BROOD stop told.db > stop.txt 2>&1";
    return std::system(("cd '" + folder_.string() + "' && BROOD='" + std::getenv("BROOD_BINARY") +
                        "' && " + asked)
                           .c_str()) == 0;
  });
  EXPECT_EQ(end_of_run(), 75);
}

TEST_F(Control, APathLongerThanASocketsAddressIsNoMatter) {
  folder_ /= std::string(90, 'a');
  folder_ /= std::string(90, 'b');
  fs::create_directories(folder_);
  ControlSocket server(folder_.string());
  std::string answer;
  std::thread client(
      [&] { answer = ask_control_socket(folder_.string(), "hello", Millis{20000}); });
  bool answered = false;
  wait_for([&] {
    if (const auto request = server.next()) {
      server.answer(request->id, request->line + " yourself");
      answered = true;
    }
    return answered;
  });
  client.join();
  EXPECT_EQ(answer, "hello yourself");
}

// Another experiment, quicker, with what the first one knows.
std::string follower(const std::string& warm_start, const std::string& most_n = "9") {
  std::string text = kConfig;
  const auto put = [&](const std::string& what, const std::string& with) {
    text.replace(text.find(what), what.size(), with);
  };
  put("\"told\"", "\"next\"");
  put("told.db", "next.db");
  put("\"epoch_ms\": 25", "\"epoch_ms\": 0");
  put("\"max\": 9", "\"max\": " + most_n);
  put("\"budget\"", "\"warm_start\": " + warm_start + ", \"budget\"");
  return text;
}

TEST_F(Control, AnExperimentBeginsWithWhatAnotherKnows) {
  std::ofstream(path("told.json")) << kConfig;
  shell("$BROOD run told.json -q --set trainer.epoch_ms=0");
  std::ofstream(path("next.json")) << follower(R"({"database": "told.db", "best": 10})");
  EXPECT_THAT(shell("$BROOD plan next.json"), HasSubstr("Known before: 10 trials"));
  shell("$BROOD run next.json -q --set budget.max_trials=5");
  // Its source is not needed again.
  shell("rm -r told.db*");
  shell("$BROOD resume next.db -q --set budget.max_trials=9");
  const auto rows = [&](const std::string& condition) {
    return shell("$BROOD query --db next.db --csv --sql \"SELECT count(*) FROM trials WHERE " +
                 condition + "\"");
  };
  EXPECT_THAT(rows("state = 'known' AND origin = 'warm' AND value = objective"), HasSubstr("10"));
  EXPECT_THAT(rows("state = 'completed' AND trial >= 10"), HasSubstr("9"));
  EXPECT_THAT(shell("$BROOD why 0 next.db"), HasSubstr("of experiment \"told\""));
  EXPECT_THAT(shell("$BROOD status next.db"), HasSubstr("10 known before"));
  // The winner's config stands alone.
  EXPECT_THAT(shell("$BROOD best next.db --config"), testing::Not(HasSubstr("warm_start")));
}

TEST_F(Control, AnExperimentRefusesWhatItCannotTakeOver) {
  std::ofstream(path("told.json")) << kConfig;
  shell("$BROOD run told.json -q --set trainer.epoch_ms=0");
  const auto refused = [&](const std::string& text, const std::string& set = "") {
    std::ofstream(path("next.json")) << text;
    const std::string said = shell("$BROOD run next.json -q " + set, 2);
    EXPECT_FALSE(fs::exists(path("next.db"))) << said;
    shell("rm -rf next.db*");
    return said;
  };
  const std::string warm = R"({"database": "told.db"})";
  const std::string narrow = refused(follower(warm, "3"));
  EXPECT_THAT(narrow, HasSubstr("n should be a whole number from 1 to 3 (is "));
  EXPECT_THAT(narrow, HasSubstr("\"outside\": \"skip\""));
  EXPECT_THAT(refused(follower(warm), "--set objective.goal=maximize"),
              HasSubstr("cannot be compared"));
  EXPECT_THAT(refused(follower(R"({"database": "nowhere.db"})")), HasSubstr("nowhere.db"));
  EXPECT_THAT(refused(follower(R"({"database": "told.db", "experiment": "tald"})")),
              HasSubstr("told"));
  EXPECT_THAT(refused(follower(R"({"datbase": "told.db"})")), HasSubstr("did you mean"));
  const std::string genetic =
      "--set search.algorithm=genetic --set search.settings.population_size=8 "
      "--set search.settings.generations=3";
  EXPECT_THAT(refused(follower(warm), genetic), HasSubstr("take fewer, with \"best\""));
  std::ofstream(path("next.json"))
      << follower(R"({"database": "told.db", "outside": "skip"})", "3");
  shell("$BROOD run next.json -q");
  EXPECT_THAT(shell("$BROOD query \"state = 'known'\" --db next.db --csv"), HasSubstr("known"));
  shell("$BROOD query \"state = 'known' and n > 3\" --db next.db --csv", 1);  // there is none
}

// A peer that speaks as it likes.
int connect_to(const fs::path& folder) {
  const int peer = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = (folder / "control.sock").string();
  std::copy(name.begin(), name.end(), address.sun_path);
  const int done = ::connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  EXPECT_EQ(done, 0);
  return peer;
}

TEST_F(Control, HostilePeersNeitherBlockNorFillTheServer) {
  ControlSocket server(folder_.string());
  const int silent = connect_to(folder_);
  const int rude = connect_to(folder_);
  ASSERT_EQ(::send(rude, "half a line", 11, 0), 11);
  const int endless = connect_to(folder_);
  const std::string flood(1 << 20, 'x');
  const int gone = connect_to(folder_);
  ASSERT_EQ(::send(gone, "bye\n", 4, 0), 4);
  ::close(gone);
  std::size_t sent = 0;
  bool turned_away = false;
  std::vector<std::string> lines;
  wait_for([&] {
    const ssize_t now = ::send(endless, flood.data(), flood.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (now > 0) sent += static_cast<std::size_t>(now);
    turned_away = now < 0 && (errno == EPIPE || errno == ECONNRESET);
    while (const auto request = server.next()) {
      lines.push_back(request->line);
      server.answer(request->id, "answer");  // to nobody
    }
    return turned_away && !lines.empty();
  });
  EXPECT_EQ(lines, std::vector<std::string>{"bye"});
  EXPECT_LT(sent, std::size_t{8} << 20);
  for (const int peer : {silent, rude, endless}) ::close(peer);
  // The others did it no harm.
  std::string answer;
  std::thread client(
      [&] { answer = ask_control_socket(folder_.string(), "still there?", Millis{20000}); });
  bool answered = false;
  wait_for([&] {
    if (const auto request = server.next()) {
      server.answer(request->id, "yes");
      answered = true;
    }
    return answered;
  });
  client.join();
  EXPECT_EQ(answer, "yes");
}

TEST_F(Control, TheClientSaysThatNobodyAnswers) {
  EXPECT_THROW(ask_control_socket(folder_.string(), "x", Millis{100}), UserError);
  EXPECT_THROW(ask_control_socket(path("nowhere"), "x", Millis{100}), UserError);
  { const ControlSocket gone(folder_.string()); }
  EXPECT_FALSE(fs::exists(path("control.sock")));
  const ControlSocket server(folder_.string());
  try {
    ask_control_socket(folder_.string(), "x", Millis{100});
    FAIL() << "nobody asked the server for it";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("has not answered"));
  }
}

TEST(ControlLine, OnlyWhatARunCanObeyIsTaken) {
  const ExperimentSpec spec = read_config_text(kConfig, "/nowhere/told.json");
  const auto read = [&](const std::string& line) { return command_from(line, spec, spec.config); };
  const std::string head = R"({"experiment": "told", "command": )";
  EXPECT_TRUE(read(head + R"("pause", "now": true})").now);
  EXPECT_FALSE(read(head + R"("pause"})").now);
  EXPECT_EQ(read(head + R"("cancel", "trial": 3, "why": "w"})").trial, 3);
  // 1 in a real parameter is 1.0, as in a config.
  const Command add = read(head + R"("add", "params": {"n": 2, "x": 1, "kind": "steep"}})");
  EXPECT_EQ(to_text(add.params), "kind=steep x=1.0 n=2");
  const Command wall = read(head + R"("set", "key": "max_wall_time", "value": "1m30s"})");
  EXPECT_EQ(wall.value, 90.0);
  EXPECT_EQ(wall.json, "\"1m30s\"");
  EXPECT_EQ(read(head + R"("set", "key": "target", "value": "none"})").value, std::nullopt);
  for (const std::string line :
       {"", "{", "[]", "7", "{\"experiment\": \"told\"}", "{\"command\": \"stop\"}",
        R"({"experiment": "other", "command": "stop"})",
        R"({"experiment": "told", "command": "stop", "command": "pause"})"})
    EXPECT_THROW(read(line), UserError) << line;
  for (const std::string rest :
       {R"("explode"})", R"("cancel"})", R"("cancel", "trial": "3"})",
        R"("cancel", "trial": 1e99})", R"("add"})", R"("add", "params": []})",
        R"("add", "params": {"kind": "flat", "n": null}})", R"("set"})",
        R"("set", "key": "seed", "value": "3"})", R"("set", "key": "max_trials", "value": "many"})",
        R"("set", "key": "max_trials", "value": "{\"a\": 1}"})"})
    EXPECT_THROW(read(head + rest), UserError) << rest;
}

}  // namespace
}  // namespace brood
