// One block of device memory, given out in parts: steady work never allocates.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "trainers/cnn/cuda/runtime.h"

namespace brood::cnn::cuda {

// Parts are given by their offset, a multiple of kUnit; the first that is large enough is taken.
class Arena {
 public:
  static constexpr std::int64_t kUnit = 256;

  // Takes so many bytes from the runtime, or less where there is less, or none.
  Arena(Runtime& runtime, std::int64_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // nullopt: no gap is large enough.
  std::optional<std::int64_t> take(std::int64_t bytes);
  void give(std::int64_t offset);

  // Anew, when nothing is given out.
  void take_again(std::int64_t bytes);

  unsigned char* at(std::int64_t offset) const { return base_ + offset; }
  std::int64_t bytes() const { return bytes_; }
  bool empty() const { return taken_.empty(); }

 private:
  Runtime& runtime_;
  unsigned char* base_ = nullptr;
  std::int64_t bytes_ = 0;
  std::map<std::int64_t, std::int64_t> taken_;  // offset to bytes
};

}  // namespace brood::cnn::cuda
