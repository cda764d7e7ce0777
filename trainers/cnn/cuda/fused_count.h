// How many trials of a shape train at a time: as many as raise what the device does altogether.
//
// Bits do not depend on it (program.h), only time does: more trials than fill the device delay each
// other's results and gain nothing.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace brood::cnn::cuda {

class FusedCount {
 public:
  static constexpr double kGain = 1.05;     // twice as many trials should do so many times as much
  static constexpr double kSeconds = 0.25;  // of training, before a number is judged
  static constexpr int kTurns = 9;          // and so many pieces of work, by their median
  // Of training with what was found, before more are tried again: something else may have slowed
  // the device down. Each time longer than before, as trials that gained nothing stay to their end.
  static constexpr double kAgainSeconds = 5.0, kAgainLonger = 10.0;

  // most: that may be asked for; memory may allow fewer.
  explicit FusedCount(int most) : most_(most) {}

  // 1 at first, then twice as many as long as it pays.
  int wanted() const { return wanted_; }
  bool settled() const { return settled_; }

  // So many trials trained at a time for so long, and together did so many images. Only what was
  // done with as many as are wanted counts.
  void measured(int trials, std::int64_t images, double seconds);

 private:
  void measure(int trials);
  bool pays(double rate) const;

  const int most_;
  int wanted_ = 1;
  bool settled_ = false;
  bool again_ = false;  // fewer were found to be enough, and are measured anew
  double again_after_ = kAgainSeconds;
  bool fresh_ = true;            // nothing was done with so many yet
  std::vector<double> now_;      // images/s of each piece of work with so many
  double seconds_ = 0.0;         // of them
  std::map<int, double> rates_;  // by trials, as judged
};

}  // namespace brood::cnn::cuda
