// A user's program under way: started, written to, read line by line, ended with all it started.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/dependents.h"
#include "engine/descriptor.h"
#include "engine/spawn.h"

namespace brood {

struct ProgramRequest {
  std::vector<std::string> argv;
  Environment environment;
  std::string directory;
  std::string log;  // empty: this process's output
};

// Non-blocking but for the moment in which it starts or is killed.
class Program {
 public:
  // Its lines may be this long; a line that goes on beyond it is cut there and marked.
  static constexpr std::size_t kLineMax = std::size_t{1} << 20;

  // Throws UserError when it cannot be started.
  explicit Program(const ProgramRequest& request);
  ~Program();  // kills it and what it started

  // Readable when there is a line, when it can be written to after all, or when it has ended.
  int descriptor() const { return epoll_.get(); }

  // Buffered. Nothing happens when the program has closed its input: it need not read.
  void write_line(std::string_view line);
  void close_input();

  // Takes in what is there, sends what was kept, looks whether it ended.
  void pump();

  // The next whole line, without its end. After the exit also a last line without an end.
  std::optional<std::string> next_line();
  bool line_too_long() const { return buffer_.size() - start_ > kLineMax; }

  // Set once it has ended and every line was read. As waitpid() gives it.
  std::optional<int> exit_status() const;

  // With all that it started, also what left its session.
  void kill();

  // Of its log since it started, or since mark_log(): the last lines; all of it, at most 1 MiB.
  std::string tail(int lines_max) const;
  std::string output_since_mark() const;
  void mark_log();

 private:
  void read_lines();
  void flush();
  void trim_log();

  std::string log_;
  std::vector<pid_t> others_;  // children of this process that are not the program's
  std::uint64_t log_start_ = 0;
  pid_t pid_ = 0;
  std::optional<DependentGroup> group_;
  Descriptor pidfd_, input_, output_, epoll_;
  std::string outgoing_;
  bool watching_input_ = false, closing_input_ = false;
  std::string buffer_;
  std::size_t start_ = 0;
  std::optional<int> status_;
};

}  // namespace brood
