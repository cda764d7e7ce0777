// The gradient of a dense layer's outputs as lists of its entries that are not zero.
//
// Behind a ReLU about half of the entries are zero, behind a ReLU and a dropout of one half about
// three quarters: products that skip them are faster than full ones although they cannot reuse
// what they load as often. A sum without its zeros is the same sum: the order stays.
#pragma once

#include <cstdint>
#include <vector>

#include "trainers/cnn/kernels.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn {

// Whether a dense layer prepares for it; each batch then decides by its own zeros.
bool may_be_sparse(const Shape& in, const Shape& out);

class SparseGradient {
 public:
  static constexpr std::int32_t kStrip = 128;  // inputs multiplied at a time
  static constexpr std::int32_t kUnits = 64;   // outputs of a chunk of `by_sample`

  // For a batch of at most `samples`; `row` floats from a sample of the layer's input to the next.
  SparseGradient(int samples, int units, std::int64_t row);

  // Floats of scratch: the transposed weights of a strip and a chunk.
  static constexpr std::int64_t kScratch = std::int64_t{kStrip} * kUnits;
  // Bytes that the lists take.
  static std::int64_t bytes(std::int64_t samples, std::int64_t units);

  // Reads the gradient (`stride` floats from sample to sample). False: too many entries are not
  // zero, nothing was listed.
  bool read(const float* dy, std::int64_t stride, int samples);

  // Rows: samples; entries: the outputs of a chunk of kUnits, their offsets kPanel apart.
  SparseProduct by_sample(int chunk) const;
  // Rows: the 16 outputs of a panel; entries: samples, their offsets `row` apart.
  SparseProduct by_unit(int panel) const;

 private:
  bool list_samples(const float* dy, std::int64_t stride);
  void list_units();

  const std::int32_t units_, chunks_;
  const std::int32_t row_;
  std::int32_t samples_ = 0;
  std::vector<SparseEntry> by_sample_, by_unit_;
  std::vector<std::int32_t> sample_begin_;  // [sample][chunk], one more at the end
  std::vector<std::int32_t> unit_begin_;    // [unit], one more at the end
  std::vector<std::int32_t> next_;          // of each unit, while listing
};

}  // namespace brood::cnn
