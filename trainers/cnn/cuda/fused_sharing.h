// Whether work of different shapes takes turns on a device or shares it: whichever measures better.
#pragma once

#include <map>
#include <string>

namespace brood::cnn::cuda {

class Sharing {
 public:
  static constexpr double kGain = 1.03;  // what sharing must save to be worth it
  static constexpr int kTurns = 4;       // together, before it is judged

  // mix: what there is to do, by any name.
  bool together(const std::string& mix) const;

  // What a turn together took, and what its parts would have taken one after another.
  void measured(const std::string& mix, double together, double alone);

 private:
  struct Work {
    double together = 0.0, alone = 0.0;
    int turns = 0;
  };
  std::map<std::string, Work> work_;
};

}  // namespace brood::cnn::cuda
