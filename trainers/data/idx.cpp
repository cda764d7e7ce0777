#include "trainers/data/idx.h"

#include "engine/error.h"

namespace brood::data {

namespace {

constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 34;

std::string hex(std::uint32_t value) {
  static const char* const kDigits = "0123456789abcdef";
  std::string out = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) out += kDigits[(value >> shift) & 15U];
  return out;
}

std::uint32_t read_word(const ByteReader& read, const std::string& name) {
  std::uint8_t b[4];
  if (read_fully(read, b, 4) < 4) broken_file(name, "ends inside its header");
  return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
}

}  // namespace

IdxArray parse_idx(const ByteReader& read, std::uint64_t most, const std::string& name,
                   int dimensions, bool only_sizes) {
  const std::uint32_t magic = read_word(read, name);
  const std::uint32_t expected = 0x800U + static_cast<std::uint32_t>(dimensions);
  if (magic != expected)
    throw UserError(name + ": starts with " + hex(magic) + ", expected " + hex(expected) +
                    ": this is not an IDX file of " + (dimensions == 1 ? "labels" : "grey images") +
                    "; check the file name");
  IdxArray out;
  std::uint64_t count = 1;
  for (int i = 0; i < dimensions; ++i) {
    const std::uint64_t size = read_word(read, name);
    if (size == 0)
      broken_file(name, "its header says that dimension " + std::to_string(i + 1) + " is 0");
    if (count > kBytesMax / size)
      broken_file(name, "its header says that it holds more than 16 GiB");
    count *= size;
    out.sizes.push_back(static_cast<std::int64_t>(size));
  }
  if (count > most)
    broken_file(name, "is cut short: its header says " + std::to_string(count) +
                          " values, more than a file of its size can hold");
  if (only_sizes) return out;
  out.values.resize(count);
  const std::size_t got = read_fully(read, out.values.data(), count);
  if (got < count)
    broken_file(name, "is cut short: its header says " + std::to_string(count) +
                          " values, it holds " + std::to_string(got));
  std::uint8_t more = 0;
  if (read(&more, 1) > 0)
    broken_file(name, "is longer than the " + std::to_string(count) + " values of its header");
  return out;
}

namespace {

IdxArray open_idx(const std::string& path, int dimensions, bool only_sizes) {
  const ByteFile file = open_bytes(path);
  return parse_idx(file.read, file.most, path, dimensions, only_sizes);
}

}  // namespace

IdxArray read_idx(const std::string& path, int dimensions) {
  return open_idx(path, dimensions, false);
}

std::vector<std::int64_t> read_idx_sizes(const std::string& path, int dimensions) {
  return open_idx(path, dimensions, true).sizes;
}

}  // namespace brood::data
