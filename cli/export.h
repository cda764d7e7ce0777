// `brood export`: a trial's model as a file for other programs.
#pragma once

#include <optional>
#include <ostream>
#include <string>

#include "cli/questions.h"

namespace brood {

struct ExportOptions {
  Where where;  // a database or a config; or a model that `brood train --save` wrote
  std::optional<TrialId> trial = std::nullopt;  // nullopt: the best
  std::string onnx, weights;                    // files to write; one of them at least
};

int export_command(const ExportOptions& options, std::ostream& out);

}  // namespace brood
