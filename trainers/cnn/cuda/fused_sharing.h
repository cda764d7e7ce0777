// Whether work of different shapes takes turns on a device or shares it: whichever measures better.
#pragma once

#include <cstddef>
#include <string>

#include "trainers/cnn/cuda/recent.h"

namespace brood::cnn::cuda {

class Sharing {
 public:
  static constexpr double kGain = 1.03;  // what sharing must save to be worth it
  static constexpr int kTurns = 4;       // together, before it is judged
  static constexpr std::size_t kMixes = 1024;

  // mix: what there is to do, by any name.
  bool together(const std::string& mix);

  // What a turn together took, and what its parts would have taken one after another.
  void measured(const std::string& mix, double together, double alone);

 private:
  struct Work {
    double together = 0.0, alone = 0.0;
    int turns = 0;
  };
  Recent<Work> work_{kMixes};
};

}  // namespace brood::cnn::cuda
