#include "trainers/program.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>

#include "engine/error.h"
#include "engine/log_tail.h"
#include "engine/process_tree.h"

namespace brood {

namespace {

// A program that writes without end must not fill the disk: of a longer log the beginning stays and
// what comes from then on.
constexpr std::uint64_t kLogMax = std::uint64_t{16} << 20;
constexpr std::uint64_t kLogHead = std::uint64_t{1} << 20;

// Read in one go: a program that floods its descriptor must not keep us from looking at the rest.
constexpr std::size_t kReadAtOnce = std::size_t{256} << 10;

[[noreturn]] void fail(const char* what) {
  throw UserError(std::string(what) + ": " + std::strerror(errno));
}

}  // namespace

Program::Program(const ProgramRequest& request)
    : log_(request.log), log_start_(file_bytes(request.log)) {
  // Writing to a program that has closed its input is no reason to die; its end is seen anyway.
  static const auto ignored = ::signal(SIGPIPE, SIG_IGN);
  static_cast<void>(ignored);
  // Pipes, not sockets: a program may open /dev/stdin.
  std::array<int, 2> in{}, out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0) fail("cannot make a pipe");
  const Descriptor their_input(in[0]);
  input_ = Descriptor(in[1]);
  if (::pipe2(out.data(), O_CLOEXEC) != 0) fail("cannot make a pipe");
  output_ = Descriptor(out[0]);
  const Descriptor their_output(out[1]);
  ::fcntl(input_.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(output_.get(), F_SETFL, O_NONBLOCK);
  epoll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) fail("cannot watch a program");

  SpawnRequest spawn_request;
  spawn_request.argv = request.argv;
  spawn_request.environment = request.environment;
  spawn_request.directory = request.directory;
  spawn_request.log = request.log;
  spawn_request.inherit_output = true;
  spawn_request.input = their_input.get();
  spawn_request.third = their_output.get();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // what a program leaves behind is given to us
  others_ = children_of(::getpid());
  group_.emplace([&] {
    Spawned spawned = spawn(spawn_request);
    pidfd_ = std::move(spawned.pidfd);
    return pid_ = spawned.pid;
  });
  for (const int descriptor : {output_.get(), pidfd_.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event);
  }
}

Program::~Program() {
  kill();
  group_.reset();  // before its number can be another's
  if (status_) return;
  ::waitpid(pid_, nullptr, 0);
  kill_descendants(::getpid(), others_);  // its children are given to us only now
}

// Its number is its own until it was waited for, so that the group cannot be another's.
void Program::kill() {
  if (!status_) {
    kill_descendants(pid_);
    ::kill(-pid_, SIGKILL);
  }
  std::vector<pid_t> except = others_;
  except.push_back(pid_);
  kill_descendants(::getpid(), except);
}

void Program::write_line(std::string_view line) {
  if (!input_ || closing_input_) return;
  outgoing_.append(line);
  outgoing_.push_back('\n');
  flush();
}

void Program::close_input() {
  closing_input_ = true;
  flush();
}

void Program::flush() {
  while (input_ && !outgoing_.empty()) {
    const ssize_t count = ::write(input_.get(), outgoing_.data(), outgoing_.size());
    if (count > 0) {
      outgoing_.erase(0, static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (!watching_input_) {
        epoll_event event{};
        event.events = EPOLLOUT;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, input_.get(), &event);
        watching_input_ = true;
      }
      return;
    } else if (errno != EINTR) {
      outgoing_.clear();
      closing_input_ = true;
    }
  }
  if (watching_input_) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, input_.get(), nullptr);
  watching_input_ = false;
  if (closing_input_) input_.reset();
}

void Program::read_lines() {
  std::array<char, 16384> chunk;
  for (std::size_t total = 0; output_ && total < kReadAtOnce && !line_too_long();) {
    const ssize_t count = ::read(output_.get(), chunk.data(), chunk.size());
    if (count > 0) {
      buffer_.append(chunk.data(), static_cast<std::size_t>(count));
      total += static_cast<std::size_t>(count);
    } else if (count == 0) {
      output_.reset();  // and out of the epoll set
    } else if (errno != EINTR) {
      return;
    }
  }
}

void Program::trim_log() {
  const std::uint64_t bytes = log_.empty() ? 0 : file_bytes(log_);
  if (bytes <= kLogMax) return;
  const Descriptor file(::open(log_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(kLogHead)) != 0) return;
  const std::string note = "\n[brood cut out " + std::to_string((bytes - kLogHead) >> 20) +
                           " MiB here: a log may have 16 MiB]\n";
  [[maybe_unused]] const ssize_t written = ::write(file.get(), note.data(), note.size());
  log_start_ = std::min(log_start_, kLogHead);
}

void Program::pump() {
  if (!outgoing_.empty()) flush();
  trim_log();
  if (!status_) {
    siginfo_t info{};
    const int looked = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    if (looked == 0 && info.si_pid == pid_) {
      kill();  // what it left behind
      group_.reset();
      int status = 0;
      ::waitpid(pid_, &status, 0);
      status_ = status;
      pidfd_.reset();
      trim_log();
    }
  }
  // After the look: what it wrote before it ended is in the pipe by now.
  const std::size_t before = buffer_.size();
  read_lines();
  const bool silent = buffer_.size() == before;
  if (status_ && output_ && silent && !line_too_long()) output_.reset();  // a survivor holds it
}

std::optional<std::string> Program::next_line() {
  auto end = buffer_.find('\n', start_);
  if (end == std::string::npos) {
    const bool last = status_ && !output_ && start_ < buffer_.size();
    if (!last) return std::nullopt;
    end = buffer_.size();
  }
  std::string line = buffer_.substr(start_, end - start_);
  start_ = std::min(end + 1, buffer_.size());
  if (start_ == buffer_.size() || start_ > kReadAtOnce) {
    buffer_.erase(0, start_);
    start_ = 0;
  }
  return line;
}

std::optional<int> Program::exit_status() const {
  return !output_ && start_ == buffer_.size() ? status_ : std::nullopt;
}

std::string Program::tail(int lines_max) const { return log_tail(log_, log_start_, lines_max); }

std::string Program::output_since_mark() const {
  std::ifstream file(log_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(log_start_));
  std::string text(kLineMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

void Program::mark_log() { log_start_ = file_bytes(log_); }

}  // namespace brood
