// The CIFAR reader gives the whole records of its bytes, in order, or throws UserError.
#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "tests/fuzz/targets.h"
#include "trainers/data/cifar.h"

namespace brood::fuzz {

void cifar(const std::uint8_t* data, std::size_t size) {
  for (const std::size_t label_bytes : {1, 2}) {
    std::size_t position = 0, seen = 0;
    const auto read = [&](std::uint8_t* to, std::size_t n) {
      const std::size_t part = std::min(n, size - position);
      if (part > 0) std::memcpy(to, data + position, part);
      position += part;
      return part;
    };
    try {
      const std::int64_t count = data::parse_cifar(
          read, "input", label_bytes,
          [&](std::span<const std::uint8_t> labels, std::span<const std::uint8_t> pixels) {
            CHECK(labels.size() == label_bytes && pixels.size() == data::kCifarPixels,
                  "a record of another size");
            CHECK(labels[0] == data[seen] && pixels.back() == data[seen + label_bytes + 3071],
                  "a record from another place");
            seen += label_bytes + pixels.size();
          });
      CHECK(seen == size && count > 0, "bytes that belong to no record");
    } catch (const UserError&) {
    }
  }
}

}  // namespace brood::fuzz
