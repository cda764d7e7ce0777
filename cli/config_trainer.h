// The trainer block of a config: its references against the space, and what the trainer itself says
// about the block at a sample of points.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/config_document.h"
#include "cli/config_space.h"
#include "engine/error.h"
#include "engine/space.h"

namespace brood {

struct TrainerReading {
  SearchSpace space;                 // with the trainer's say in what is active
  std::optional<int> epochs;         // the most that any point of the sample trains
  std::vector<std::string> metrics;  // that all points of the sample report; empty: not known
};

// space_good: the space had no problems; otherwise what follows from its absent fields is not
// complained about again.
TrainerReading read_trainer(const JsonPlace& trainer, const DeclaredSpace& declared,
                            bool space_good, std::vector<Problem>& problems);

// Points that together show what a space can do: all of a small one; else each value of each
// countable field (of many values, some), the ends of the others, and some tens of random points.
// Always the same for the same space.
std::vector<Point> covering_sample(const SearchSpace& space);

}  // namespace brood
