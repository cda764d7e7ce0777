// The two kinds of wrong: what the world can do (UserError) and what only a bug can do (CHECK).
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace brood {

// Something outside the program is wrong: a config, a file, a disk, a peer. The text names the
// thing, the value and the remedy. Caught in two places only: cli/main.cpp, and the worker for the
// trial that threw it.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One thing wrong with a config: where (a JSON pointer into the file, "" for the whole) and what,
// with the value and the remedy.
struct Problem {
  std::string pointer;
  std::string message;
  friend bool operator==(const Problem&, const Problem&) = default;
};

// A config with problems: all of them, in the order of the file. what() is one line a problem,
// `file: pointer: message`.
class ConfigError : public UserError {
 public:
  ConfigError(const std::string& file, std::vector<Problem> problems);
  const std::vector<Problem>& problems() const { return problems_; }

 private:
  std::vector<Problem> problems_;
};

// Prints file, line and message to standard error and aborts. In all builds. For what only a bug of
// ours can cause, never for what the world can do.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& message);

#define CHECK(condition, message) \
  ((condition) ? void(0) : ::brood::check_failed(__FILE__, __LINE__, #condition, (message)))

}  // namespace brood
