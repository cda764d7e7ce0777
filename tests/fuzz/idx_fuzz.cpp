// The IDX reader returns what its header says or throws UserError, and allocates no more than the
// input could fill.
#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "tests/fuzz/targets.h"
#include "trainers/data/idx.h"

namespace brood::fuzz {

void idx(const std::uint8_t* data, std::size_t size) {
  for (int dimensions = 1; dimensions <= 4; ++dimensions) {
    std::size_t position = 0;
    const auto read = [&](std::uint8_t* to, std::size_t n) {
      const std::size_t part = std::min(n, size - position);
      if (part > 0) std::memcpy(to, data + position, part);
      position += part;
      return part;
    };
    try {
      const data::IdxArray array = data::parse_idx(read, size, "input", dimensions);
      CHECK(array.values.size() <= size, "more values than bytes");
    } catch (const UserError&) {
    }
  }
}

}  // namespace brood::fuzz
