// An odometer that does not turn the wheels of inactive fields.
//
// Whether a field is active never depends on its own value, nor on an inactive one's (unless a
// config makes two parameters decide about each other). So when a field was inactive at every point
// visited with its first value, given the indices before it, it is inactive with its other values
// too, and all of these are skipped. Where a field's condition is declared before it (the usual
// case) nothing but grid points is visited; where it depends on later fields, some points are
// visited in vain.
#include "strategies/grid_walk.h"

namespace brood {

GridWalk::GridWalk(const SearchSpace& space)
    : space_(&space), indices_(space.size(), 0), was_active_(space.size(), false) {
  for (const Field& field : space.fields()) counts_.push_back(field.cardinality().value());
  visit();  // the all-first point is its own representative
}

void GridWalk::advance() {
  do {
    at_end_ = !step();
  } while (!at_end_ && !visit());
}

// To the next full point that may be a grid point; false when there is none.
bool GridWalk::step() {
  for (std::size_t i = indices_.size(); i-- > 0;) {
    if (indices_[i] + 1 < counts_[i] && was_active_[i]) {
      ++indices_[i];
      return true;
    }
    indices_[i] = 0;
    was_active_[i] = false;
  }
  return false;
}

// Looks at the full point; true when it is the representative of its grid point.
bool GridWalk::visit() {
  ++visits_;
  Point full;
  full.reserve(indices_.size());
  for (std::size_t i = 0; i < indices_.size(); ++i)
    full.push_back(space_->fields()[i].value_at(indices_[i]));
  const std::vector<bool> active = space_->active(full);
  ParamSet masked;
  for (std::size_t i = 0; i < indices_.size(); ++i) {
    if (active[i]) {
      was_active_[i] = true;
      masked.set(space_->fields()[i].name, full[i]);
    }
  }
  for (std::size_t i = 0; i < indices_.size(); ++i)
    if (!active[i] && indices_[i] != 0) return false;
  point_ = std::move(masked);
  return true;
}

bool is_countable(const SearchSpace& space) {
  for (const Field& field : space.fields())
    if (!field.cardinality()) return false;
  return true;
}

std::optional<std::int64_t> count_points(const SearchSpace& space, std::int64_t visits_max) {
  if (!is_countable(space)) return std::nullopt;
  std::int64_t points = 0;
  GridWalk walk(space);
  for (; walk.point() != nullptr; walk.advance()) {
    ++points;
    if (walk.visits() >= visits_max) return std::nullopt;
  }
  return points;
}

}  // namespace brood
