#include "engine/spawn.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "engine/error.h"

namespace brood {

namespace {

constexpr const char* kEnterDirectory = "cannot enter its working directory";
constexpr unsigned kCloseRangeCloexec = 4;  // Linux 5.11

// Everything the child needs, made before it exists: it shares this process's memory until it
// executes, so that it may neither allocate nor take a lock.
struct Prepared {
  std::vector<std::string> candidates;  // paths to try, in the order of PATH
  std::vector<char*> argv, environment;
  const char* directory = nullptr;
  int input = -1, output = -1, third = -1, highest = 0;
  int death_signal = SIGKILL;
  bool own_session = false;
  rlimit data{};
  pid_t parent = 0;
  int failures = -1;  // pipe that takes a Failure; closed by a successful start
};

struct Failure {
  const char* step = nullptr;  // a literal: the same address in parent and child
  int error = 0;
};

std::vector<std::string> candidates(const std::string& program, const Environment& environment) {
  if (program.find('/') != std::string::npos) return {program};
  std::string path = "/usr/local/bin:/usr/bin:/bin";
  for (const std::string& variable : environment)
    if (variable.starts_with("PATH=")) path = variable.substr(5);
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    const std::string folder = path.substr(at, end - at);
    out.push_back(folder.empty() ? program : folder + '/' + program);
    at = end + 1;
  }
  return out;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

[[noreturn]] void give_up(const Prepared& prepared, const char* step) {
  const Failure failure{step, errno};
  [[maybe_unused]] const ssize_t written = ::write(prepared.failures, &failure, sizeof failure);
  ::_exit(127);
}

void default_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void place_descriptors(Prepared& prepared) {
  // The sources may be any number, 0 to 3 included: first all of them out of the way.
  std::array<int, 4> from = {prepared.input, prepared.output, prepared.third, prepared.failures};
  for (int& descriptor : from)
    if (descriptor >= 0 && (descriptor = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 10)) < 0)
      give_up(prepared, "cannot duplicate a descriptor");
  prepared.failures = from[3];
  if (::dup2(from[0], 0) < 0 || ::dup2(from[1], 1) < 0 || ::dup2(from[1], 2) < 0)
    give_up(prepared, "cannot set up its input and output");
  if (from[2] >= 0 && ::dup2(from[2], 3) < 0) give_up(prepared, "cannot set up its descriptor 3");
  // Marked, not closed: the pipe for failures must live until the program has started.
  const int first = from[2] >= 0 ? 4 : 3;
  if (::syscall(SYS_close_range, first, ~0U, kCloseRangeCloexec) != 0)
    for (int descriptor = first; descriptor < prepared.highest; ++descriptor)
      ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

// Only system calls from here on, see Prepared.
[[noreturn]] void become(Prepared& prepared) {
  if (prepared.own_session ? ::setsid() < 0 : ::setpgid(0, 0) < 0)
    give_up(prepared, "cannot make a process group");
  ::prctl(PR_SET_PDEATHSIG, prepared.death_signal);
  if (::getppid() != prepared.parent) ::_exit(127);  // it died before the line above
  const rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::setrlimit(RLIMIT_DATA, &prepared.data);
  // When memory runs out, the kernel should take a trial, not the controller.
  const int adjust = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (adjust >= 0) {
    [[maybe_unused]] const ssize_t written = ::write(adjust, "800", 3);
    ::close(adjust);
  }
  if (prepared.directory != nullptr && ::chdir(prepared.directory) != 0)
    give_up(prepared, kEnterDirectory);
  place_descriptors(prepared);
  default_signals();
  int error = ENOENT;
  for (const std::string& path : prepared.candidates) {
    ::execve(path.c_str(), prepared.argv.data(), prepared.environment.data());
    if (errno != ENOENT && errno != ENOTDIR) error = errno;  // a hit that cannot be run says more
  }
  errno = error;
  give_up(prepared, "");
}

// vfork: a fork would copy the page tables, 96 ms for a process of 2 GB. Its own function, without
// locals that the child could spoil.
[[gnu::noinline]] pid_t vfork_and_become(Prepared& prepared) {
  const pid_t pid = ::vfork();
  if (pid == 0) become(prepared);
  return pid;
}

std::string reason(const SpawnRequest& request, const Failure& failure) {
  const std::string& program = request.argv.front();
  const std::string step = failure.step;
  std::string text = "cannot run \"" + program + "\": ";
  if (!step.empty()) text += step + ": ";
  if (step == kEnterDirectory) text += request.directory + ": ";
  text += std::strerror(failure.error);
  if (step.empty() && failure.error == ENOENT)
    text += program.find('/') == std::string::npos ? " (not found in PATH)"
                                                   : " (or its interpreter is missing)";
  return text;
}

Descriptor open_or_throw(const std::string& path, int flags, const std::string& what) {
  Descriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC, 0666));
  if (!descriptor)
    throw UserError("cannot open " + what + " " + path + ": " + std::strerror(errno));
  return descriptor;
}

Descriptor open_output(const SpawnRequest& request) {
  if (request.log.empty()) {
    if (request.inherit_output) return Descriptor(::fcntl(2, F_DUPFD_CLOEXEC, 3));
    return open_or_throw("/dev/null", O_WRONLY, "the output");
  }
  std::error_code ignored;  // the open below says what is wrong
  std::filesystem::create_directories(std::filesystem::path(request.log).parent_path(), ignored);
  return open_or_throw(request.log, O_WRONLY | O_CREAT | O_APPEND, "the log");
}

}  // namespace

Environment child_environment() {
  Environment out;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view text = *at;
    const bool launcher = text.starts_with("OMPI_") || text.starts_with("PMIX_") ||
                          text.starts_with("PMI_") || text.starts_with("ORTE");
    if (!launcher) out.emplace_back(text);
  }
  for (const std::string_view name :
       {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"})
    if (std::getenv(std::string(name).c_str()) == nullptr) set_variable(out, name, "1");
  return out;
}

void set_variable(Environment& environment, std::string_view name, std::string_view value) {
  const std::string prefix = std::string(name) + '=';
  std::erase_if(environment, [&](const std::string& text) { return text.starts_with(prefix); });
  environment.push_back(prefix + std::string(value));
}

Spawned spawn(const SpawnRequest& request) {
  CHECK(!request.argv.empty(), "a program without a name");
  Descriptor null;
  if (request.input < 0) null = open_or_throw("/dev/null", O_RDONLY, "the input");
  const Descriptor output = open_output(request);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw UserError(std::string("cannot make a pipe: ") + std::strerror(errno));
  const Descriptor failures(ends[0]);
  Descriptor failures_input(ends[1]);
  Prepared prepared;
  prepared.failures = failures_input.get();
  prepared.candidates = candidates(request.argv.front(), request.environment);
  prepared.argv = pointers(request.argv);
  prepared.environment = pointers(request.environment);
  prepared.directory = request.directory.empty() ? nullptr : request.directory.c_str();
  prepared.input = request.input < 0 ? null.get() : request.input;
  prepared.output = output.get();
  prepared.third = request.third;
  prepared.death_signal = request.death_signal;
  prepared.own_session = request.own_session;
  prepared.parent = ::getpid();
  prepared.highest = static_cast<int>(std::min<long>(::sysconf(_SC_OPEN_MAX), 65536));
  ::getrlimit(RLIMIT_DATA, &prepared.data);
  prepared.data.rlim_cur = prepared.data.rlim_max;
  if (request.data_bytes > 0 && request.data_bytes < prepared.data.rlim_max)
    prepared.data.rlim_cur = request.data_bytes;

  // A handler of ours must not run in the child while it shares our memory.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const pid_t pid = vfork_and_become(prepared);
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0)
    throw UserError("cannot start \"" + request.argv.front() + "\": " + std::strerror(fork_error));
  failures_input.reset();
  Failure failure;
  if (::read(failures.get(), &failure, sizeof failure) == sizeof failure) {
    ::waitpid(pid, nullptr, 0);
    throw UserError(reason(request, failure));
  }
  Descriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));  // close-on-exec as made
  if (!pidfd) {
    const int error = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    throw UserError(std::string("cannot watch a child process (needs Linux 5.3): ") +
                    std::strerror(error));
  }
  return {pid, std::move(pidfd)};
}

std::string describe_status(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int number = WTERMSIG(wait_status);
    const char* name = ::sigdescr_np(number);
    return "was killed by signal " + std::to_string(number) + " (" +
           (name != nullptr ? name : "unknown") + ")";
  }
  return "ended with status " + std::to_string(WEXITSTATUS(wait_status));
}

}  // namespace brood
