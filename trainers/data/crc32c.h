// CRC-32C, the checksum of TFRecord files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace brood::data {

// Polynomial 0x1EDC6F41, reflected, from and to the complement: Castagnoli, Braeuer, Herrmann,
// "Optimization of cyclic redundancy-check codes with 24 and 32 parity bits", 1993. Eight bytes a
// step by tables ("slicing-by-8": Kounavis, Berry, "Novel table lookup-based algorithms for
// high-performance CRC generation", 2008).
std::uint32_t crc32c(const std::uint8_t* data, std::size_t size);

// As TFRecord stores it, so that a checksum of bytes with checksums in them stays a good one.
std::uint32_t masked_crc32c(const std::uint8_t* data, std::size_t size);

}  // namespace brood::data
