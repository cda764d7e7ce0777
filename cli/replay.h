// `brood replay N`: trains a trial, or with --all every one, once more, here and now, and compares
// every exact metric.
#pragma once

#include <optional>
#include <ostream>

#include "cli/questions.h"

namespace brood {

struct ReplayOptions {
  Where where;
  std::optional<TrialId> trial;  // nullopt: all that completed or were stopped
};

// Writes nothing to the database. Returns 0 when every bit is the same, 1 when one differs.
int replay_command(const ReplayOptions& options, std::ostream& out);

}  // namespace brood
