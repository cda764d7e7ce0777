// Goal: whatever a worker process does, its supervisor hears of it and nothing of it stays behind.
// Method: this very program is the worker; its second argument says how it behaves.
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "engine/dependents.h"
#include "engine/framing.h"
#include "engine/os_processes.h"
#include "engine/process_tree.h"
#include "engine/supervisor.h"

namespace brood {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

// --- the worker's side ---

void say(const std::string& frame) {
  std::string stream;
  append_frame(stream, frame);
  ASSERT_EQ(::write(3, stream.data(), stream.size()), static_cast<ssize_t>(stream.size()));
}

[[noreturn]] void sleep_for_ever() {
  while (true) ::pause();
}

void echo() {
  FrameSocket socket{Descriptor(3)};
  while (true) {
    pollfd on{3, static_cast<short>(POLLIN | (socket.has_unsent() ? POLLOUT : 0)), 0};
    ::poll(&on, 1, -1);
    socket.flush();
    const bool open = socket.read_some();
    while (const auto frame = socket.next()) socket.send(*frame);
    if (!open) return;
  }
}

// The descriptors that are open, but for the one that lists them.
std::string open_descriptors() {
  std::string out;
  DIR* const dir = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(dir))
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != ::dirfd(dir))
      out += std::string(entry->d_name) + ' ';
  ::closedir(dir);
  return out;
}

pid_t start_descendants() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setpgid(0, 0);  // as a shell with job control would
    if (::fork() == 0) sleep_for_ever();
    sleep_for_ever();
  }
  ::setpgid(child, child);
  say(std::to_string(child));
  return child;
}

void allocate(bool raise_limit) {
  if (raise_limit) {
    rlimit limit{};
    ::getrlimit(RLIMIT_DATA, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_DATA, &limit);
  }
  std::vector<std::unique_ptr<char[]>> blocks;
  try {
    while (blocks.size() < 1000) {  // 4 GB
      blocks.push_back(std::make_unique<char[]>(4 << 20));
      std::memset(blocks.back().get(), 1, 4 << 20);
      if (raise_limit) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  } catch (const std::bad_alloc&) {
    std::_Exit(77);
  }
}

int worker(const std::string& how) {
  if (how == "echo") echo();
  if (how == "hang") sleep_for_ever();
  if (how == "fork") {
    for (int i = 0; i < 120; ++i) {
      const pid_t child = ::fork();
      if (child == 0) sleep_for_ever();
      if (i == 0) say(std::to_string(child));
    }
    sleep_for_ever();
  }
  if (how == "status") {
    for (int i = 1; i <= 30; ++i) std::cout << "line " << i << std::endl;
    std::cerr << "\x1b[31mlast\xff" << std::endl;
    say("before the end");
    return 7;
  }
  if (how == "segfault") ::raise(SIGSEGV);
  if (how == "say pid") {
    say(std::to_string(::getpid()));
    sleep_for_ever();
  }
  if (how == "descendants") start_descendants();
  if (how == "descendants") sleep_for_ever();
  if (how == "leave descendants") start_descendants();
  if (how == "garbage") return ::write(3, "\xff\xff\xff\xff", 4) == 4 ? (sleep_for_ever(), 0) : 1;
  if (how == "describe") {
    std::string environment;
    for (char** at = environ; *at != nullptr; ++at) environment += std::string(*at) + '\n';
    sigset_t blocked;
    ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
    say(open_descriptors());
    say(environment);
    say(::sigismember(&blocked, SIGTERM) != 0 ? "blocked" : "not blocked");
    say(::getsid(0) == ::getpid() ? "own session" : "shared session");
  }
  if (how == "allocate") allocate(false);
  if (how == "allocate in spite of limit") allocate(true);
  if (how == "with dependents") {
    end_dependents_on_termination();
    const DependentGroup group(start_descendants);  // which says its pid before it is listed
    sleep_for_ever();
  }
  if (how == "parent" || how == "parent of dependents") {
    const std::string inner = how == "parent" ? "say pid" : "with dependents";
    OsProcesses processes({{"/proc/self/exe", "worker", inner}, child_environment()});
    processes.start(1, {});
    for (bool told = false; !told;)
      processes.dispatch(
          [&](int, std::string_view frame) {
            say(std::string(frame));
            told = true;
          },
          [](int, const Exit&) {});
    sleep_for_ever();
  }
  return 0;
}

// --- the supervisor's side ---

class Processes : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("brood_processes_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  OsProcesses& make(const std::string& how) {
    processes_.emplace(OsProcessesOptions{{"/proc/self/exe", "worker", how}, child_environment()});
    return *processes_;
  }

  std::string log(int worker) const {
    return (folder_ / "logs" / (std::to_string(worker) + ".log")).string();
  }

  // Until `done`; a broken test fails by time, not by hanging.
  template <class Done>
  void run(Done done) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "nothing happens";
      pollfd on{processes_->descriptor(), POLLIN, 0};
      ::poll(&on, 1, 100);
      processes_->dispatch(
          [this](int worker, std::string_view frame) {
            EXPECT_FALSE(exits_.contains(worker)) << "a frame after the exit";
            frames_.emplace_back(frame);
          },
          [this](int worker, const Exit& exit) { exits_[worker] = exit; });
    }
  }
  void run_until_exit(int worker) {
    run([&] { return exits_.contains(worker); });
  }
  void run_until_frames(std::size_t count) {
    run([&] { return frames_.size() >= count; });
  }

  fs::path folder_;
  std::optional<OsProcesses> processes_;
  std::vector<std::string> frames_;
  std::map<int, Exit> exits_;
};

bool gone(pid_t pid) {
  for (int i = 0; i < 1000; ++i) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    if (!std::getline(stat, text) || text.find(") Z ") != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST_F(Processes, FramesOfAnySizeGoBothWays) {
  OsProcesses& processes = make("echo");
  processes.start(1, {});
  const std::vector<std::string> frames = {"x", "", std::string(3 << 20, 'y'), "z"};
  for (const std::string& frame : frames) processes.send(1, frame);
  run_until_frames(frames.size());
  EXPECT_EQ(frames_, frames);
  EXPECT_EQ(processes.alive(), 1U);
}

TEST_F(Processes, AnExitIsToldAfterTheFramesWithTheLastLinesOfItsLog) {
  OsProcesses& processes = make("status");
  fs::create_directories(folder_ / "logs");
  std::ofstream(log(1)) << "of an earlier process\n";
  processes.start(1, {0, log(1)});
  run_until_exit(1);
  EXPECT_EQ(frames_, std::vector<std::string>{"before the end"});
  const Exit& exit = exits_[1];
  ASSERT_TRUE(WIFEXITED(exit.status));
  EXPECT_EQ(WEXITSTATUS(exit.status), 7);
  EXPECT_FALSE(exit.killed_by_us);
  EXPECT_FALSE(exit.over_memory);
  EXPECT_GT(exit.max_rss, 100'000U);
  EXPECT_THAT(exit.log_tail, testing::StartsWith("line 12\n"));
  EXPECT_THAT(exit.log_tail, testing::EndsWith("line 30\n?[31mlast?"));
  EXPECT_THAT(exit.log_tail, Not(HasSubstr("earlier")));
}

TEST_F(Processes, ACrashIsToldWithItsSignal) {
  make("segfault").start(1, {});
  run_until_exit(1);
  const int status = exits_[1].status;
  // A sanitizer turns the signal into a status of its own.
  EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGSEGV : WEXITSTATUS(status) != 0);
  EXPECT_FALSE(exits_[1].killed_by_us);
}

TEST_F(Processes, AKilledWorkerTakesItsDescendantsAlong) {
  make("descendants").start(1, {});
  run_until_frames(1);
  processes_->kill(1);
  run_until_exit(1);
  EXPECT_TRUE(exits_[1].killed_by_us);
  EXPECT_EQ(WTERMSIG(exits_[1].status), SIGKILL);
  EXPECT_TRUE(gone(std::stoi(frames_[0])));
}

TEST_F(Processes, AWorkerThatEndsLeavesNoDescendantsBehind) {
  make("leave descendants").start(1, {});
  run_until_exit(1);
  EXPECT_TRUE(gone(std::stoi(frames_.at(0))));
}

TEST_F(Processes, WorkersDieWithAKilledParent) {
  make("parent").start(1, {});
  run_until_frames(1);  // from the worker's worker, which has a session of its own
  processes_->kill(1);
  run_until_exit(1);
  EXPECT_TRUE(gone(std::stoi(frames_[0])));
}

TEST_F(Processes, WhatWorkersStartedDiesWithAKilledParentToo) {
  make("parent of dependents").start(1, {});
  run_until_frames(1);
  processes_->kill(1);
  run_until_exit(1);
  EXPECT_TRUE(gone(std::stoi(frames_[0])));
}

TEST_F(Processes, AllocationsOfTheWorkerItselfFailAtTheLimit) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  const int expected_status = -1;  // no such limit there: it is measured and killed
#else
  const int expected_status = 77;
#endif
  make("allocate").start(1, {std::uint64_t{100} << 20, ""});
  run_until_exit(1);
  const Exit& exit = exits_[1];
  EXPECT_TRUE(exit.over_memory ||
              (WIFEXITED(exit.status) && WEXITSTATUS(exit.status) == expected_status));
  EXPECT_LT(exit.max_rss, std::uint64_t{3} << 30);
}

TEST_F(Processes, MemoryAboveTheLimitIsMeasuredAndEnded) {
  make("allocate in spite of limit").start(1, {std::uint64_t{100} << 20, ""});
  run_until_exit(1);
  EXPECT_TRUE(exits_[1].over_memory);
  EXPECT_TRUE(exits_[1].killed_by_us);
  EXPECT_GT(exits_[1].max_rss, std::uint64_t{100} << 20);
  EXPECT_LT(exits_[1].max_rss, std::uint64_t{3} << 30);
}

TEST_F(Processes, MoreDescendantsThanTheLimitEndItWithAllOfThem) {
  make("fork").start(1, {0, "", 40});
  run_until_exit(1);
  EXPECT_TRUE(exits_[1].over_processes);
  EXPECT_FALSE(exits_[1].over_memory);
  EXPECT_TRUE(exits_[1].killed_by_us);
  EXPECT_TRUE(gone(std::stoi(frames_.at(0))));
}

TEST_F(Processes, AWorkerInheritsNothingByAccident) {
  ::setenv("OMPI_COMM_WORLD_RANK", "5", 1);
  ::setenv("PMIX_RANK", "5", 1);
  ::setenv("BROOD_TEST_VARIABLE", "kept", 1);
  const int leaky = ::dup(0);  // not close-on-exec
  sigset_t term, before;
  ::sigemptyset(&term);
  ::sigaddset(&term, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &term, &before);
  make("describe").start(1, {});
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  run_until_exit(1);
  ::close(leaky);
  ASSERT_EQ(frames_.size(), 4U);
  EXPECT_EQ(frames_[0], "0 1 2 3 ");
  EXPECT_THAT(frames_[1], Not(HasSubstr("OMPI_")));
  EXPECT_THAT(frames_[1], Not(HasSubstr("PMIX_")));
  EXPECT_THAT(frames_[1], HasSubstr("BROOD_TEST_VARIABLE=kept\n"));
  EXPECT_THAT(frames_[1], HasSubstr("OMP_NUM_THREADS="));
  EXPECT_EQ(frames_[2], "not blocked");
  EXPECT_EQ(frames_[3], "own session");
  ::unsetenv("OMPI_COMM_WORLD_RANK");
  ::unsetenv("PMIX_RANK");
}

TEST_F(Processes, ManyLivesLeakNoDescriptor) {
  const std::string before = open_descriptors();
  {
    OsProcesses& processes = make("echo");
    for (int worker = 1; worker <= 20; ++worker) {
      processes.start(worker, {0, log(worker)});
      processes.send(worker, "hello");
      if (worker % 2 == 0) processes.kill(worker);
    }
    run([&] { return exits_.size() == 10; });
    EXPECT_EQ(processes.alive(), 10U);
  }
  processes_.reset();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Processes, AProgramThatCannotBeRunIsAnExitWithTheReason) {
  processes_.emplace(OsProcessesOptions{{"no-such-program"}, child_environment()});
  processes_->start(1, {});
  processes_->send(1, "to nobody");
  EXPECT_EQ(processes_->memory_in_use(1), 0U);
  run_until_exit(1);
  EXPECT_EQ(WEXITSTATUS(exits_[1].status), 127);
  EXPECT_THAT(exits_[1].log_tail, HasSubstr("cannot run \"no-such-program\""));
  EXPECT_THAT(exits_[1].log_tail, HasSubstr("not found in PATH"));
}

TEST_F(Processes, ALogThatCannotBeOpenedIsAnExitWithTheReason) {
  make("echo").start(1, {0, "/proc/no/such/folder/log"});
  run_until_exit(1);
  EXPECT_THAT(exits_[1].log_tail, HasSubstr("/proc/no/such/folder/log"));
}

TEST_F(Processes, AStreamThatIsNoneEndsTheWorker) {
  make("garbage").start(1, {});
  run_until_exit(1);
  EXPECT_TRUE(exits_[1].killed_by_us);
}

TEST_F(Processes, TheMemoryOfDescendantsCounts) {
  make("descendants").start(1, {});
  run_until_frames(1);
  const pid_t child = std::stoi(frames_[0]);
  EXPECT_GT(processes_->memory_in_use(1), tree_use(child).bytes);
  EXPECT_GT(tree_use(child).bytes, 0U);
  EXPECT_EQ(processes_->memory_in_use(99), 0U);
}

// What a supervisor asks of it.
struct AskedHost final : ProcessHost {
  void start(int worker, const ProcessLimits&) override { started.push_back(worker); }
  void send(int, std::string_view) override {}
  void kill(int worker) override { killed.push_back(worker); }
  std::uint64_t memory_in_use(int) override { return 0; }
  std::vector<int> started, killed;
};

// A supervisor with a trial on its one worker, whose ticks a test makes.
struct Supervised : testing::Test {
  Supervised() {
    brood::Setup setup;
    setup.lease_ms = 10'000;
    setup.report_timeout_ms = 20'000;
    setup.max_trial_ms = 30'000;
    supervisor.from_controller(0, encode(setup), now);
    supervisor.from_worker(1, encode(Hello{}), now);
    supervisor.from_controller(1, encode(Assign{}), now);
  }
  void live(Millis time) {
    for (const Millis until = now + time; now < until; now += Millis{50}) supervisor.tick(now);
  }
  AskedHost host;
  Supervisor supervisor{1, {}, host, [](Address, std::string_view) {}};
  Millis now{1'000'000};
};

TEST_F(Supervised, WorkersAreKilledWhenTheControllerIsSilentForTheLease) {
  live(Millis{9'000});
  EXPECT_TRUE(host.killed.empty());
  live(Millis{2'000});
  EXPECT_TRUE(supervisor.lease_lost());
  EXPECT_EQ(host.killed, std::vector<int>{1});
}

// SIGSTOP and SIGCONT of a whole job: nobody was silent, and nobody is charged.
TEST_F(Supervised, WorkersOutliveThatTheirSupervisorStoodStill) {
  live(Millis{5'000});
  now += Millis{3'600'000};
  live(Millis{9'000});
  EXPECT_TRUE(host.killed.empty());
  supervisor.from_controller(0, encode(Lease{}), now);
  live(Millis{5'000});
  EXPECT_TRUE(host.killed.empty());
  supervisor.from_controller(0, encode(Lease{}), now);
  live(Millis{5'000});  // 24 s of its own without a report
  EXPECT_FALSE(supervisor.lease_lost());
  EXPECT_EQ(host.killed, std::vector<int>{1});
}

}  // namespace
}  // namespace brood

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "worker") return brood::worker(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
