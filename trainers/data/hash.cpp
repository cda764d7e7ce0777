#include "trainers/data/hash.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace brood::data {

namespace {

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87U, kPrime2 = 0xC2B2AE3D27D4EB4FU,
                        kPrime3 = 0x165667B19E3779F9U, kPrime4 = 0x85EBCA77C2B2AE63U,
                        kPrime5 = 0x27D4EB2F165667C5U;

static_assert(std::endian::native == std::endian::little, "words are read as they lie");

template <class T>
T word(const unsigned char* from) {
  T out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

std::uint64_t round_of(std::uint64_t lane, std::uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

}  // namespace

void Hash::stripe(const unsigned char* from) {
  for (std::size_t i = 0; i < lanes_.size(); ++i)
    lanes_[i] = round_of(lanes_[i], word<std::uint64_t>(from + 8 * i));
}

void Hash::add(const void* bytes, std::size_t size) {
  const auto* from = static_cast<const unsigned char*>(bytes);
  const auto kept = static_cast<std::size_t>(total_ % rest_.size());
  total_ += size;
  if (kept > 0) {
    const std::size_t part = std::min(size, rest_.size() - kept);
    std::copy_n(from, part, rest_.data() + kept);
    from += part;
    size -= part;
    if (kept + part < rest_.size()) return;
    stripe(rest_.data());
  }
  for (; size >= rest_.size(); size -= rest_.size(), from += rest_.size()) stripe(from);
  std::copy_n(from, size, rest_.data());
}

void Hash::add(std::uint64_t number) { add(&number, sizeof number); }

void Hash::add(std::string_view text) {
  add(std::uint64_t{text.size()});
  add(text.data(), text.size());
}

std::uint64_t Hash::value() const {
  std::uint64_t out = kPrime5;
  if (total_ >= rest_.size()) {
    out = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
          std::rotl(lanes_[3], 18);
    for (const std::uint64_t lane : lanes_) out = (out ^ round_of(0, lane)) * kPrime1 + kPrime4;
  }
  out += total_;
  const unsigned char* from = rest_.data();
  const unsigned char* const end = from + total_ % rest_.size();
  for (; end - from >= 8; from += 8)
    out = std::rotl(out ^ round_of(0, word<std::uint64_t>(from)), 27) * kPrime1 + kPrime4;
  if (end - from >= 4) {
    out = std::rotl(out ^ (word<std::uint32_t>(from) * kPrime1), 23) * kPrime2 + kPrime3;
    from += 4;
  }
  for (; from < end; ++from) out = std::rotl(out ^ (*from * kPrime5), 11) * kPrime1;
  out = (out ^ (out >> 33U)) * kPrime2;
  out = (out ^ (out >> 29U)) * kPrime3;
  return out ^ (out >> 32U);
}

std::uint64_t hash_of(const void* bytes, std::size_t size) {
  Hash hash;
  hash.add(bytes, size);
  return hash.value();
}

std::string hex(std::uint64_t value) {
  static const char* const kDigits = "0123456789abcdef";
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[(value >> shift) & 15U];
  return out;
}

}  // namespace brood::data
