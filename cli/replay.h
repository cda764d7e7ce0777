// `brood replay N`: trains a trial once more, here and now, and compares every exact metric.
#pragma once

#include <ostream>

#include "cli/questions.h"

namespace brood {

struct ReplayOptions {
  Where where;
  TrialId trial = 0;
};

// Writes nothing to the database. Returns 0 when every bit is the same, 1 when one differs.
int replay_command(const ReplayOptions& options, std::ostream& out);

}  // namespace brood
