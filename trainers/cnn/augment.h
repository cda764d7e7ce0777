// Changed copies of training images: flipped, moved, with a hole, mixed.
//
// Every draw comes from the stream of (trial's seed, epoch, sample): what becomes of an image does
// not depend on the batch it is in, nor on where a training was cut and resumed.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/rng.h"
#include "trainers/cnn/dataset.h"
#include "trainers/cnn/network_spec.h"

namespace brood::cnn {

// One thread. The data outlives it.
class Augmenter {
 public:
  Augmenter(const std::vector<AugmentSpec>& changes, const Dataset& data, std::uint64_t seed);

  bool mixes() const { return alpha_ > 0.0; }

  struct Sample {
    const std::uint8_t* pixels;  // until the next call of image()
    // With mixes(): what it is mixed with, and its own share, a half or more.
    const std::uint8_t* other = nullptr;
    std::uint32_t partner = 0;
    double share = 1.0;
  };
  // pool: the samples that a partner may be.
  Sample image(int epoch, std::uint32_t sample, const std::vector<std::uint32_t>& pool);

 private:
  // Into the buffer, or as it is when nothing changes.
  const std::uint8_t* changed(std::uint32_t sample, Rng& rng, std::vector<std::uint8_t>& buffer);
  void flip(std::uint8_t* pixels) const;
  void translate(std::uint8_t* pixels, int down, int right);
  void cut(std::uint8_t* pixels, int row, int column, int size) const;

  std::vector<AugmentSpec> changes_;  // of pixels
  const Dataset& data_;
  const std::uint64_t seed_;
  double alpha_ = 0.0;
  std::vector<std::uint8_t> own_, other_, spare_;
};

// A draw from the beta distribution with both parameters alpha > 0.
double symmetric_beta(double alpha, Rng& rng);

}  // namespace brood::cnn
