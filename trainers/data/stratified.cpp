#include "trainers/data/stratified.h"

#include <algorithm>
#include <map>

#include "engine/rng.h"

namespace brood::data {

std::vector<bool> set_apart(const std::vector<std::uint16_t>& labels, double share,
                            std::uint64_t seed) {
  struct Class {
    std::uint64_t left = 0, chosen = 0;  // still to be looked at, and of these to be taken
    Rng rng;
  };
  const Rng all(seed, 0, Purpose::split);
  std::map<std::uint16_t, Class> classes;
  for (const std::uint16_t label : labels) {
    // 0 and 1 are the validation part's and the limits'.
    auto [at, is_new] = classes.try_emplace(label, Class{0, 0, all.split(2U + label)});
    ++at->second.left;
  }
  for (auto& [label, one] : classes)
    one.chosen = std::min(static_cast<std::uint64_t>(share * static_cast<double>(one.left) + 0.5),
                          one.left - 1);
  std::vector<bool> out;
  for (const std::uint16_t label : labels) {
    Class& one = classes.at(label);
    const bool take = one.rng.below(one.left) < one.chosen;
    if (take) --one.chosen;
    --one.left;
    out.push_back(take);
  }
  return out;
}

}  // namespace brood::data
