#include "trainers/cnn/protobuf.h"

#include <bit>

namespace brood::cnn {

namespace {

// The low three bits of a key.
enum Wire : std::uint64_t { kVarint = 0, kLength = 2, kFixed32 = 5 };

std::uint64_t key(int field, Wire wire) { return static_cast<std::uint64_t>(field) << 3 | wire; }

}  // namespace

// Seven bits a byte, the lowest first; the eighth says that more follow.
void ProtoMessage::number(std::uint64_t value) {
  for (; value > 0x7f; value >>= 7) text_ += static_cast<char>((value & 0x7f) | 0x80);
  text_ += static_cast<char>(value);
}

void ProtoMessage::whole(int field, std::int64_t value) {
  number(key(field, kVarint));
  number(static_cast<std::uint64_t>(value));
}

void ProtoMessage::real(int field, float value) {
  number(key(field, kFixed32));
  const auto bits = std::bit_cast<std::uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) text_ += static_cast<char>(bits >> shift & 0xff);
}

void ProtoMessage::bytes(int field, std::string_view value) {
  number(key(field, kLength));
  number(value.size());
  text_ += value;
}

}  // namespace brood::cnn
