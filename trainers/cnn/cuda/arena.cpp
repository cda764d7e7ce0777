#include "trainers/cnn/cuda/arena.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/units.h"

namespace brood::cnn::cuda {

Arena::Arena(Runtime& runtime, std::int64_t bytes) : runtime_(runtime) {
  // What is free can be less in one piece, or be gone by now.
  for (bytes_ = bytes / kUnit * kUnit; bytes_ >= kUnit; bytes_ = bytes_ / 8 * 7 / kUnit * kUnit) {
    base_ = runtime_.allocate(bytes_);
    if (base_ != nullptr) return;
  }
  throw UserError("the device has no memory left for trials: something else uses it (" +
                  size_text(static_cast<std::uint64_t>(runtime.info().bytes_free)) + " are free)");
}

Arena::~Arena() { runtime_.release(base_); }

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
