// How much each parameter alone moves an outcome: functional analysis of variance of a forest of
// regression trees.
#pragma once

#include <cstdint>
#include <vector>

namespace brood {

// A parameter's value in each sample, as one of a few bins; bins of a number are in its order.
struct BinnedParam {
  std::vector<std::uint16_t> bin;  // by sample
  std::size_t bins = 1;
};

struct Importance {
  std::vector<double> share;   // by parameter, of the variance: what it explains alone
  std::vector<double> spread;  // standard deviation over the trees
  double explained = 0.0;      // R^2 on samples that a tree had not seen; 0 or less: nothing
};

// F. Hutter, H. Hoos, K. Leyton-Brown: "An efficient approach for assessing hyperparameter
// importance", ICML 2014, with two changes: parameters are taken as binned, and averages are over
// the bins as often as they occur in the samples (not over the whole space).
//
// All of one length, at least 2. The same input gives the same bits.
Importance importance_of(const std::vector<BinnedParam>& params,
                         const std::vector<double>& outcomes, std::uint64_t seed);

}  // namespace brood
