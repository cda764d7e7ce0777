#include "trainers/cnn/cuda/fused_sharing.h"

namespace brood::cnn::cuda {

bool Sharing::together(const std::string& mix) const {
  const auto known = work_.find(mix);
  if (known == work_.end() || known->second.turns < kTurns) return true;
  return known->second.alone > kGain * known->second.together;
}

void Sharing::measured(const std::string& mix, double together, double alone) {
  Work& work = work_[mix];
  if (work.turns == kTurns) return;
  ++work.turns;
  work.together += together;
  work.alone += alone;
}

}  // namespace brood::cnn::cuda
