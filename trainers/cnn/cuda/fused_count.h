// How many trials of a shape train at a time: as many as raise what the device does altogether.
//
// Bits do not depend on it (program.h), only time does: more trials than fill the device delay each
// other's results and gain nothing.
#pragma once

#include <cstdint>
#include <map>

namespace brood::cnn::cuda {

class FusedCount {
 public:
  static constexpr double kGain = 1.05;     // twice as many trials should do so many times as much
  static constexpr double kSeconds = 0.25;  // of training, before a number is judged
  static constexpr int kTurns = 4;          // and so many pieces of work

  // most: that may be asked for; memory may allow fewer.
  explicit FusedCount(int most) : most_(most) {}

  // 1 at first, then twice as many as long as it pays.
  int wanted() const { return wanted_; }
  bool settled() const { return settled_; }

  // So many trials trained at a time for so long, and together did so many images. Only what was
  // done with as many as are wanted counts.
  void measured(int trials, std::int64_t images, double seconds);

 private:
  struct Work {
    std::int64_t images = 0;
    double seconds = 0.0;
    int turns = 0;
    double rate() const { return static_cast<double>(images) / seconds; }
  };

  const int most_;
  int wanted_ = 1;
  bool settled_ = false;
  std::map<int, Work> work_;  // by trials
};

}  // namespace brood::cnn::cuda
