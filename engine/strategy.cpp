#include "engine/strategy.h"

#include <utility>

namespace brood {

void PointIndex::add(ParamSet params) {
  by_hash_.emplace(hash(params), size());
  points_.push_back(std::move(params));
}

std::optional<TrialId> PointIndex::find(const ParamSet& params) const {
  std::optional<TrialId> first;
  const auto [begin, end] = by_hash_.equal_range(hash(params));
  for (auto at = begin; at != end; ++at)
    if ((!first || at->second < *first) && (*this)[at->second] == params) first = at->second;
  return first;
}

}  // namespace brood
