// A walk over every distinct point of a finite search space, in the order of the grid.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/space.h"

namespace brood {

// Lexicographic in the declaration order, the last-declared field fastest, as Python's
// itertools.product. A point is what SearchSpace::mask() leaves; of the full points behind it only
// the one whose inactive fields have their first value is visited, so each comes once. Nothing is
// materialised.
class GridWalk {
 public:
  // Every field is countable. The space outlives the walk.
  explicit GridWalk(const SearchSpace& space);

  // nullptr past the last point.
  const ParamSet* point() const { return at_end_ ? nullptr : &point_; }
  void advance();

  // Full points looked at so far: what the walk has cost.
  std::int64_t visits() const { return visits_; }

 private:
  bool step();
  bool visit();

  const SearchSpace* space_;
  std::vector<std::int64_t> counts_;   // by field
  std::vector<std::int64_t> indices_;  // of the full point now visited
  std::vector<bool> was_active_;       // by field: at some point under the indices before it
  ParamSet point_;
  bool at_end_ = false;
  std::int64_t visits_ = 0;
};

bool is_countable(const SearchSpace& space);

// The number of distinct points; nullopt when the space is continuous, or when counting would look
// at more than `visits_max` full points.
std::optional<std::int64_t> count_points(const SearchSpace& space, std::int64_t visits_max);

}  // namespace brood
