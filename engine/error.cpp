#include "engine/error.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace brood {

namespace {

std::string one_line_each(const std::string& file, const std::vector<Problem>& problems) {
  std::string text;
  for (const Problem& problem : problems) {
    if (!text.empty()) text += '\n';
    text += file + ": ";
    if (!problem.pointer.empty()) text += problem.pointer + ": ";
    text += problem.message;
  }
  return text;
}

}  // namespace

ConfigError::ConfigError(const std::string& file, std::vector<Problem> problems)
    : UserError(one_line_each(file, problems)), problems_(std::move(problems)) {}

void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  std::fprintf(stderr, "%s:%d: bug in brood: %s (%s does not hold)\n", file, line, message.c_str(),
               condition);
  std::abort();
}

}  // namespace brood
