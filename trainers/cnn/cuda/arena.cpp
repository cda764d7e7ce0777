#include "trainers/cnn/cuda/arena.h"

#include <algorithm>

#include "engine/error.h"

namespace brood::cnn::cuda {

Arena::Arena(Runtime& runtime, std::int64_t bytes) : runtime_(runtime) { take_again(bytes); }

void Arena::take_again(std::int64_t bytes) {
  CHECK(taken_.empty(), "parts of the arena are in use");
  if (base_ != nullptr) runtime_.release(base_);
  base_ = nullptr;
  // What is free can be less in one piece, or be gone by now.
  for (bytes_ = bytes / kUnit * kUnit; bytes_ >= kUnit; bytes_ = bytes_ / 8 * 7 / kUnit * kUnit) {
    base_ = runtime_.allocate(bytes_);
    if (base_ != nullptr) return;
  }
  bytes_ = 0;
}

Arena::~Arena() {
  if (base_ != nullptr) runtime_.release(base_);
}

std::optional<std::int64_t> Arena::take(std::int64_t bytes) {
  const std::int64_t size = std::max(kUnit, (bytes + kUnit - 1) / kUnit * kUnit);
  std::int64_t gap = 0;
  for (const auto& [offset, taken] : taken_) {
    if (offset - gap >= size) break;
    gap = offset + taken;
  }
  if (bytes_ - gap < size) return std::nullopt;
  taken_[gap] = size;
  return gap;
}

void Arena::give(std::int64_t offset) { taken_.erase(offset); }

}  // namespace brood::cnn::cuda
