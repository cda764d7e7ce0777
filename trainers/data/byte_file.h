// Reads the bytes of a file one after another, plain or gzip-compressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace brood::data {

// read(to, n) gives up to n further bytes, 0 only at the end. Throws UserError.
using ByteReader = std::function<std::size_t(std::uint8_t*, std::size_t)>;

struct ByteFile {
  ByteReader read;
  std::uint64_t most = 0;  // an upper bound of all bytes to come
};

// Throws UserError naming the file when it cannot be read, is a folder, is cut short or has
// damaged compressed data (the latter while reading).
ByteFile open_bytes(const std::string& path);

// Fewer than n only at the end.
std::size_t read_fully(const ByteReader& read, std::uint8_t* to, std::size_t n);

// The path, or the path with .gz; empty when neither exists.
std::string plain_or_packed(const std::string& path);

[[noreturn]] void broken_file(const std::string& name, const std::string& why);

}  // namespace brood::data
