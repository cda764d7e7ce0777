#include "trainers/cnn/idx.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "engine/error.h"

namespace brood::cnn {

namespace {

constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 34;
constexpr std::size_t kPart = std::size_t{1} << 20;
// The most that deflate can compress.
constexpr std::uint64_t kRatioMax = 1032;

struct Close {
  void operator()(gzFile file) const { gzclose(file); }
};

[[noreturn]] void broken(const std::string& name, const std::string& why) {
  throw UserError(name + ": " + why + "; get the file again");
}

std::string hex(std::uint32_t value) {
  static const char* const kDigits = "0123456789abcdef";
  std::string out = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) out += kDigits[(value >> shift) & 15U];
  return out;
}

// Fewer than n only at the end.
std::size_t read_fully(const ByteReader& read, std::uint8_t* to, std::size_t n) {
  std::size_t done = 0;
  while (done < n) {
    const std::size_t got = read(to + done, std::min(n - done, kPart));
    if (got == 0) break;
    done += got;
  }
  return done;
}

std::uint32_t read_word(const ByteReader& read, const std::string& name) {
  std::uint8_t b[4];
  if (read_fully(read, b, 4) < 4) broken(name, "ends inside its header");
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
      broken(name, "its header says that dimension " + std::to_string(i + 1) + " is 0");
    if (count > kBytesMax / size) broken(name, "its header says that it holds more than 16 GiB");
    count *= size;
    out.sizes.push_back(static_cast<std::int64_t>(size));
  }
  if (count > most)
    broken(name, "is cut short: its header says " + std::to_string(count) +
                     " values, more than a file of its size can hold");
  if (only_sizes) return out;
  out.values.resize(count);
  const std::size_t got = read_fully(read, out.values.data(), count);
  if (got < count)
    broken(name, "is cut short: its header says " + std::to_string(count) + " values, it holds " +
                     std::to_string(got));
  std::uint8_t more = 0;
  if (read(&more, 1) > 0)
    broken(name, "is longer than the " + std::to_string(count) + " values of its header");
  return out;
}

namespace {

IdxArray open_idx(const std::string& path, int dimensions, bool only_sizes) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    throw UserError(path + ": is a folder, expected an IDX file");
  const std::uint64_t size = std::filesystem::file_size(path, error);
  if (error) throw UserError(path + ": cannot be read (" + error.message() + ")");
  // Plain files pass through zlib as they are.
  const std::unique_ptr<gzFile_s, Close> file(gzopen(path.c_str(), "rb"));
  if (!file) throw UserError(path + ": cannot be opened; check its permissions");
  gzbuffer(file.get(), 1U << 17);
  const ByteReader read = [&](std::uint8_t* to, std::size_t n) -> std::size_t {
    const int got = gzread(file.get(), to, static_cast<unsigned>(n));
    int code = Z_OK;
    const char* const why = gzerror(file.get(), &code);
    if (code == Z_BUF_ERROR) broken(path, "is cut short inside its compressed data");
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
      broken(path, std::string("its compressed data is damaged (") + why + ")");
    return static_cast<std::size_t>(got);
  };
  const bool packed = path.size() > 3 && path.ends_with(".gz");
  return parse_idx(read, packed ? size * kRatioMax : size, path, dimensions, only_sizes);
}

}  // namespace

IdxArray read_idx(const std::string& path, int dimensions) {
  return open_idx(path, dimensions, false);
}

std::vector<std::int64_t> read_idx_sizes(const std::string& path, int dimensions) {
  return open_idx(path, dimensions, true).sizes;
}

}  // namespace brood::cnn
