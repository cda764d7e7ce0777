// Reads IDX files, the format of MNIST: bytes with a header of sizes, plain or gzip-compressed.
//
// Big-endian: two zero bytes, the type (8: unsigned byte), the number of dimensions, a 32-bit size
// of each, then the values, the last dimension fastest. Source: Yann LeCun's MNIST page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace brood::cnn {

struct IdxArray {
  std::vector<std::int64_t> sizes;
  std::vector<std::uint8_t> values;
};

// All throw UserError naming the file, what was found and the remedy. dimensions: how many the
// file must have. Nothing is allocated before the sizes are known to fit the file.
IdxArray read_idx(const std::string& path, int dimensions);
std::vector<std::int64_t> read_idx_sizes(const std::string& path, int dimensions);

// The reader behind both: read(to, n) gives up to n further bytes; most: an upper bound of all
// bytes to come.
using ByteReader = std::function<std::size_t(std::uint8_t*, std::size_t)>;
IdxArray parse_idx(const ByteReader& read, std::uint64_t most, const std::string& name,
                   int dimensions, bool only_sizes = false);

}  // namespace brood::cnn
