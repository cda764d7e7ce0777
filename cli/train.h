// `brood train`: one configuration, here and now, to a model. No database is needed or written.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/questions.h"

namespace brood {

struct TrainOptions {
  Where where;  // a config; with a trial a database or the config that names it
  std::optional<TrialId> trial = std::nullopt;  // train this one of the record
  std::vector<std::string> overrides;           // --set
  std::vector<std::string> params;              // --param
  std::string save;                             // the model's file; empty: it is not kept
  std::optional<int> epoch = std::nullopt;      // the last one to train; nullopt: all
  bool quiet = false;
  Format format = Format::people;  // people or json: a report a line
};

// Returns 0 when it is trained, 1 when the training failed, 75 when it was interrupted. With `save`
// the same command goes on from there, to the same bits: a checkpoint lies beside, as
// SAVE.checkpoint.
int train_command(const TrainOptions& options, std::ostream& out);

}  // namespace brood
