#include "tfrecord_writer.h"

#include <cstring>

namespace brood {

namespace {

std::string little_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

std::string list_of(const FeatureValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return field(1, field(1, *text));
  std::string packed;
  if (const auto* reals = std::get_if<std::vector<float>>(&value)) {
    for (const float real : *reals) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &real, sizeof bits);
      packed += little_endian(bits, 4);
    }
    return field(2, field(1, packed));
  }
  for (const std::int64_t number : std::get<std::vector<std::int64_t>>(value))
    packed += varint(static_cast<std::uint64_t>(number));
  return field(3, field(1, packed));
}

}  // namespace

std::uint32_t plain_masked_crc(const std::string& bytes) {
  std::uint32_t crc = ~0U;
  for (const char c : bytes) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  return out + static_cast<char>(value);
}

std::string field(int number, const std::string& bytes) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(bytes.size()) + bytes;
}

std::string example_bytes(const FeatureList& features) {
  std::string map;
  for (const auto& [name, value] : features)
    map += field(1, field(1, name) + field(2, list_of(value)));
  return field(1, map);
}

std::string record_bytes(const std::string& data) {
  const std::string length = little_endian(data.size(), 8);
  return length + little_endian(plain_masked_crc(length), 4) + data +
         little_endian(plain_masked_crc(data), 4);
}

}  // namespace brood
