#include "engine/os_processes.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "engine/error.h"
#include "engine/framing.h"
#include "engine/log_tail.h"
#include "engine/node.h"
#include "engine/process_tree.h"

namespace brood {

namespace {

constexpr std::chrono::milliseconds kMeasureEvery{100};
constexpr std::size_t kReadAtOnce = std::size_t{256} << 10;
constexpr std::size_t kReadAtExit = std::size_t{64} << 20;

// Memory that a worker needs besides its trial. Its own allocations beyond limit and base fail, so
// that the trainer can say so itself; what its programs take is measured.
constexpr std::uint64_t kWorkerBaseBytes = std::uint64_t{64} << 20;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // the shadow memory alone is terabytes of data
#else
constexpr bool kSanitized = false;
#endif

// What an epoll event is about: a worker's socket, its pidfd, or (worker 0) the news.
constexpr std::uint64_t kPidfd = std::uint64_t{1} << 32;

}  // namespace

struct OsProcesses::Child {
  ProcessLimits limits;
  pid_t pid = 0;
  Descriptor pidfd;
  std::optional<FrameSocket> socket;
  bool wants_write = false;  // as epoll knows it
  bool socket_ended = false;
  std::uint64_t log_start = 0;
  Exit exit;
  std::uint64_t max_bytes = 0;
  std::string refused;  // why it could not be started

  TreeUse measure() {
    const TreeUse use = tree_use(pid);
    max_bytes = std::max(max_bytes, use.bytes);
    return use;
  }
};

OsProcesses::OsProcesses(OsProcessesOptions options)
    : options_(std::move(options)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      news_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      out_of_memory_kills_(out_of_memory_kills()) {
  if (!epoll_ || !news_)
    throw UserError(std::string("cannot watch worker processes: ") + std::strerror(errno));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, news_.get(), &event);
}

OsProcesses::~OsProcesses() {
  for (auto& [worker, child] : children_) end(*child);
  for (auto& [worker, child] : children_)
    if (child->pid > 0) ::waitpid(child->pid, nullptr, 0);
}

void OsProcesses::start(int worker, const ProcessLimits& limits) {
  CHECK(worker > 0 && !children_.contains(worker), "worker " + std::to_string(worker) + " again");
  auto& child = *children_.emplace(worker, std::make_unique<Child>()).first->second;
  child.limits = limits;
  try {
    if (launch(worker, child)) return;
    child.refused = std::strerror(errno);
  } catch (const UserError& error) {
    child.refused = error.what();
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(news_.get(), &one, sizeof one);
}

bool OsProcesses::launch(int worker, Child& child) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return false;
  child.socket.emplace(Descriptor(ends[0]));
  const Descriptor theirs(ends[1]);
  child.log_start = file_bytes(child.limits.log);
  SpawnRequest request;
  request.argv = options_.argv;
  request.environment = options_.environment;
  request.log = child.limits.log;
  request.third = theirs.get();
  request.own_session = true;
  request.death_signal = SIGTERM;  // it may have programs to take along (dependents.h)
  if (child.limits.memory > 0 && !kSanitized)
    request.data_bytes = child.limits.memory + kWorkerBaseBytes;
  Spawned spawned = spawn(request);
  child.pid = spawned.pid;
  child.pidfd = std::move(spawned.pidfd);
  const auto watch = [&](int descriptor, std::uint64_t what) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = what;
    CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) == 0, std::strerror(errno));
  };
  watch(child.socket->descriptor(), static_cast<std::uint64_t>(worker));
  watch(child.pidfd.get(), static_cast<std::uint64_t>(worker) | kPidfd);
  return true;
}

void OsProcesses::send(int worker, std::string_view frame) {
  const auto found = children_.find(worker);
  if (found == children_.end() || !found->second->socket) return;
  found->second->socket->send(frame);
  update_interest(worker, *found->second);
}

void OsProcesses::kill(int worker) {
  const auto found = children_.find(worker);
  if (found != children_.end()) end(*found->second);
}

// The leader is not waited for here: its number, and so the session's, stays taken until then.
void OsProcesses::end(Child& child) {
  child.exit.killed_by_us = true;
  if (child.pid <= 0) return;
  kill_descendants(child.pid);  // also who left the session
  kill_session(child.pid);
}

std::uint64_t OsProcesses::memory_in_use(int worker) {
  const auto found = children_.find(worker);
  if (found == children_.end() || found->second->pid == 0) return 0;
  return found->second->measure().bytes;
}

// The number of processes first: each of a fork bomb's has memory too.
void OsProcesses::enforce_limits() {
  const auto time = std::chrono::steady_clock::now();
  if (time - measured_ < kMeasureEvery) return;
  measured_ = time;
  for (auto& [worker, child] : children_) {
    const ProcessLimits& limits = child->limits;
    if (child->pid == 0 || child->exit.killed_by_us) continue;
    if (limits.memory == 0 && limits.processes == 0) continue;
    const TreeUse use = child->measure();
    child->exit.over_processes = limits.processes > 0 && use.processes > limits.processes;
    child->exit.over_memory = !child->exit.over_processes && limits.memory > 0 &&
                              use.bytes > limits.memory + kWorkerBaseBytes;
    if (child->exit.over_processes || child->exit.over_memory) end(*child);
  }
}

// The socket is watched for reading until it has ended, for writing while something is kept back.
void OsProcesses::update_interest(int worker, Child& child) {
  const bool wants_write = child.socket->has_unsent();
  if (wants_write == child.wants_write || child.socket_ended) return;
  child.wants_write = wants_write;
  epoll_event event{};
  event.events = EPOLLIN | (wants_write ? EPOLLOUT : 0U);
  event.data.u64 = static_cast<std::uint64_t>(worker);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, child.socket->descriptor(), &event);
}

void OsProcesses::dispatch(const OnFrame& on_frame, const OnExit& on_exit) {
  enforce_limits();
  std::array<epoll_event, 64> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t what = events[static_cast<std::size_t>(i)].data.u64;
    const int worker = static_cast<int>(what & 0xffffffff);
    if (worker == 0) {
      std::uint64_t times = 0;
      [[maybe_unused]] const ssize_t got = ::read(news_.get(), &times, sizeof times);
      std::vector<int> refused;
      for (const auto& [number, child] : children_)
        if (child->pid == 0) refused.push_back(number);
      for (const int number : refused) tell_exit(number, on_frame, on_exit);
    } else if (children_.contains(worker)) {  // not told of meanwhile
      if ((what & kPidfd) != 0) {
        tell_exit(worker, on_frame, on_exit);
      } else {
        tell_frames(worker, on_frame, kReadAtOnce);
      }
    }
  }
}

void OsProcesses::tell_frames(int worker, const OnFrame& on_frame, std::size_t bytes_max) {
  Child& child = *children_.at(worker);
  child.socket->flush();
  if (!child.socket->read_some(bytes_max) && !child.socket_ended) {
    child.socket_ended = true;  // its exit follows; until then there is nothing to read
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, child.socket->descriptor(), nullptr);
  }
  update_interest(worker, child);
  try {
    while (const auto frame = child.socket->next()) on_frame(worker, *frame);
  } catch (const UserError&) {  // not a stream of frames any more
    child.exit.broken_stream = true;
    end(child);
  }
}

void OsProcesses::tell_exit(int worker, const OnFrame& on_frame, const OnExit& on_exit) {
  Child& child = *children_.at(worker);
  Exit& exit = child.exit;
  if (child.pid == 0) {
    exit.status = 127 << 8;  // as a shell says "cannot be run"
    exit.log_tail = child.refused;
  } else {
    kill_session(child.pid);  // what it leaves behind goes with it
    rusage usage{};
    ::wait4(child.pid, &exit.status, 0, &usage);
    child.pid = 0;
    // All that it sent lies in the socket now. Not until its end: who left the session, and so
    // survived, could hold it open.
    tell_frames(worker, on_frame, kReadAtExit);
    // Killed by somebody else: by the kernel, for memory?
    const std::uint64_t kills = out_of_memory_kills();
    const bool by_kernel = WIFSIGNALED(exit.status) && WTERMSIG(exit.status) == SIGKILL &&
                           !exit.killed_by_us && kills > out_of_memory_kills_;
    if (by_kernel) out_of_memory_kills_ = kills;
    exit.over_memory = exit.over_memory || by_kernel;
    exit.max_rss = std::max(child.max_bytes, static_cast<std::uint64_t>(usage.ru_maxrss) * 1024);
    exit.log_tail = log_tail(child.limits.log, child.log_start);
  }
  const Exit told = std::move(exit);
  children_.erase(worker);  // closes its descriptors, which also ends their watch
  on_exit(worker, told);
}

std::optional<std::uint64_t> OsProcesses::memory_free() { return free_memory(); }

}  // namespace brood
