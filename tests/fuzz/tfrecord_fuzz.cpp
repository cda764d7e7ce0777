// A TFRecord file gives records within its bytes or a UserError; and any bytes, which the checksums
// would keep from a fuzzer, are an Example or none.
#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "tests/fuzz/targets.h"
#include "trainers/data/tf_example.h"
#include "trainers/data/tfrecord.h"

namespace brood::fuzz {

namespace {

void example(std::span<const std::uint8_t> record) {
  const auto inside = [&](const void* from, std::size_t size) {
    const auto* const at = static_cast<const std::uint8_t*>(from);
    return size == 0 || (at >= record.data() && size <= record.size() &&
                         at <= record.data() + record.size() - size);
  };
  const data::Example read = data::parse_example(record);
  CHECK(!read.contents().empty(), "an Example without a description");
  for (const auto& [name, feature] : read.features) {
    CHECK(inside(name.data(), name.size()), "a name outside the record");
    CHECK(read.find(name) == &feature, "two features of one name");
    for (const auto& bytes : feature.bytes)
      CHECK(inside(bytes.data(), bytes.size()), "bytes outside the record");
    CHECK(feature.integers.size() + feature.reals.size() <= record.size(), "numbers from nothing");
  }
}

}  // namespace

void tfrecord(const std::uint8_t* data, std::size_t size) {
  try {
    example({data, size});
  } catch (const UserError&) {
  }
  std::size_t position = 0;
  data::RecordReader reader(
      [&](std::uint8_t* to, std::size_t n) {
        const std::size_t part = std::min(n, size - position);
        if (part > 0) std::memcpy(to, data + position, part);
        position += part;
        return part;
      },
      size, "input");
  std::size_t records = 0;
  try {
    while (const auto record = reader.next()) {
      CHECK(++records * 16 <= size, "more records than bytes");
      example(*record);
    }
  } catch (const UserError&) {
  }
}

}  // namespace brood::fuzz
