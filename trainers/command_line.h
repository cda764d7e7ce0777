// The lines that the command trainer and a user's program exchange.
#pragma once

#include <optional>
#include <string>

#include "engine/trainer.h"

namespace brood {

// Without its end of line. {"stop": true} and {"save": true} name the trial for a program that
// serves many.
std::string assignment_line(const Assignment& assignment);
std::string request_line(const char* request, const Assignment& assignment);

// Where a program saves after this epoch.
std::string checkpoint_path(const Assignment& assignment, int epoch);

struct ProgramLine {
  std::optional<TrialId> trial;
  std::optional<int> attempt;
  std::optional<Report> report;
  bool ended = false;
};

// Throws UserError saying what is wrong with the line.
ProgramLine parse_line(const std::string& line);

}  // namespace brood
