// Reads IDX files, the format of MNIST: bytes with a header of sizes, plain or gzip-compressed.
//
// Big-endian: two zero bytes, the type (8: unsigned byte), the number of dimensions, a 32-bit size
// of each, then the values, the last dimension fastest. Source: Yann LeCun's MNIST page.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainers/data/byte_file.h"

namespace brood::data {

struct IdxArray {
  std::vector<std::int64_t> sizes;
  std::vector<std::uint8_t> values;
};

// All throw UserError naming the file, what was found and the remedy. dimensions: how many the
// file must have. Nothing is allocated before the sizes are known to fit the file.
IdxArray read_idx(const std::string& path, int dimensions);
std::vector<std::int64_t> read_idx_sizes(const std::string& path, int dimensions);

// The reader behind both; most: an upper bound of all bytes to come.
IdxArray parse_idx(const ByteReader& read, std::uint64_t most, const std::string& name,
                   int dimensions, bool only_sizes = false);

}  // namespace brood::data
