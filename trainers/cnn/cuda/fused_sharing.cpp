#include "trainers/cnn/cuda/fused_sharing.h"

namespace brood::cnn::cuda {

bool Sharing::together(const std::string& mix) {
  const Work* known = work_.find(mix);
  if (known == nullptr || known->turns < kTurns) return true;
  return known->alone > kGain * known->together;
}

void Sharing::measured(const std::string& mix, double together, double alone) {
  Work* known = work_.find(mix);
  Work& work = known == nullptr ? work_.add(mix, {}) : *known;
  if (work.turns == kTurns) return;
  ++work.turns;
  work.together += together;
  work.alone += alone;
}

}  // namespace brood::cnn::cuda
