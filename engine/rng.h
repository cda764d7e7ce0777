// Counter-based random numbers: a stream per (experiment seed, trial, purpose).
//
// Philox4x32-10 of Random123 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A stream's n-th number is a pure function of its key and n: adding a draw to
// one trial never shifts another, and nothing has to be saved on a crash. No global generator and
// no std distributions anywhere: their results differ between standard libraries.
#pragma once

#include <array>
#include <cstdint>

namespace brood {

// What a stream is for. Numbers are part of the numerics version: append, never renumber.
enum class Purpose : std::uint32_t {
  propose = 1,    // the strategy's draws for one proposal
  latent = 2,     // values of inactive genes
  train = 3,      // the seed a trial's trainer is given
  split = 4,      // validation split; depends on the experiment's seed alone (trial 0)
  init = 5,       // initial weights
  shuffle = 6,    // order of the samples in an epoch
  dropout = 7,    // dropout masks
  augment = 8,    // augmentation
  synthetic = 9,  // synthetic data and test functions
  simulate = 10,  // delays and faults of the simulated cluster
};

// Cheap to make (32 bytes, no warm-up). Not thread-safe; copies continue independently.
class Rng {
 public:
  Rng(std::uint64_t seed, std::uint64_t trial, Purpose purpose);

  std::uint64_t bits();                  // 64 uniform bits
  double uniform();                      // [0, 1), 53 bits
  std::uint64_t below(std::uint64_t n);  // [0, n), unbiased; n > 0
  bool chance(double probability) { return uniform() < probability; }
  double normal();  // standard normal by inversion (exact_math.h), one uniform a draw

  // A stream of its own for part `index` of this stream's subject (a gene, an epoch). Does not
  // change this stream.
  Rng split(std::uint32_t index) const;

 private:
  void refill();

  std::array<std::uint32_t, 2> key_{};
  std::array<std::uint32_t, 4> counter_{};  // block, part, trial low, trial high
  std::array<std::uint64_t, 2> block_{};
  int used_ = 2;
};

}  // namespace brood
