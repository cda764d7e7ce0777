// A quick 64-bit hash, to tell changed bytes from unchanged ones; no defence against intent.
//
// XXH64 with seed 0: Yann Collet, "xxHash fast digest algorithm", specification 0.1.1, 2018.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace brood::data {

class Hash {
 public:
  void add(const void* bytes, std::size_t size);
  // The text and its length, so that two texts never run together.
  void add(std::string_view text);
  void add(std::uint64_t number);
  std::uint64_t value() const;  // of all that was added

 private:
  void stripe(const unsigned char* from);

  std::array<std::uint64_t, 4> lanes_ = {0x60EA27EEADC0B5D6U, 0xC2B2AE3D27D4EB4FU, 0U,
                                         0x61C8864E7A143579U};
  std::array<unsigned char, 32> rest_{};
  std::uint64_t total_ = 0;  // bytes
};

std::uint64_t hash_of(const void* bytes, std::size_t size);

std::string hex(std::uint64_t value);  // 16 digits

}  // namespace brood::data
