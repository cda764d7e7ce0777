// Sets a share of each class apart.
#pragma once

#include <cstdint>
#include <vector>

namespace brood::data {

// True for those that are set apart: of each class the share, rounded, but never all of it. Drawn
// from the seed (selection sampling: Knuth, "The art of computer programming" 2, 3.4.2, algorithm
// S).
std::vector<bool> set_apart(const std::vector<std::uint16_t>& labels, double share,
                            std::uint64_t seed);

}  // namespace brood::data
