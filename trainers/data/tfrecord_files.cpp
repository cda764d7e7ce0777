#include "trainers/data/tfrecord_files.h"

#include <glob.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "engine/error.h"
#include "trainers/data/crc32c.h"

namespace brood::data {

namespace {

namespace fs = std::filesystem;

// The most that deflate can compress.
constexpr std::uint64_t kRatioMax = 1032;

std::string escaped(const std::string& folder) {
  std::string out;
  for (const char c : folder) {
    if (std::strchr("*?[]\\", c) != nullptr) out += '\\';
    out += c;
  }
  return out;
}

std::vector<std::string> matches_of(const std::string& pattern, const std::string& base) {
  const fs::path whole = fs::path(base) / pattern;
  std::error_code error;
  if (fs::exists(whole, error)) return {whole.string()};  // a name may hold a [ of its own
  const std::string text =
      fs::path(pattern).is_absolute() ? pattern : (fs::path(escaped(base)) / pattern).string();
  glob_t found{};
  const int status = ::glob(text.c_str(), 0, nullptr, &found);
  std::vector<std::string> out;
  if (status == 0) out.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (out.empty())
    throw UserError(whole.string() +
                    ": matches no file; \"train\" and \"test\" name TFRecord files " +
                    "below data_dir, or beside the config");
  std::sort(out.begin(), out.end());
  return out;
}

// Are these the first bytes of a plain file? Its length and that one's checksum come first, and the
// length may look like the beginning of a compressed file.
bool is_plain(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::uint8_t head[12] = {};
  in.read(reinterpret_cast<char*>(head), sizeof head);
  if (in.gcount() < 12) return true;
  std::uint32_t checksum = 0;
  std::memcpy(&checksum, head + 8, sizeof checksum);
  return head[0] != 0x1F || head[1] != 0x8B || masked_crc32c(head, 8) == checksum;
}

}  // namespace

std::vector<std::string> find_shards(const std::vector<std::string>& patterns,
                                     const std::string& base) {
  std::vector<std::string> out;
  for (const std::string& pattern : patterns)
    for (const std::string& path : matches_of(pattern, base)) {
      const std::string whole = fs::absolute(path).lexically_normal().string();
      if (std::find(out.begin(), out.end(), whole) != out.end())
        throw UserError(whole + ": is named twice; every file may be read once");
      out.push_back(whole);
    }
  return out;
}

RecordReader open_records(const std::string& path) {
  ByteFile file = open_bytes(path);  // refuses folders and what cannot be read
  std::error_code error;
  const std::uint64_t size = fs::file_size(path, error);
  if (!is_plain(path)) return {std::move(file.read), size * kRatioMax, path};
  const auto in = std::make_shared<std::ifstream>(path, std::ios::binary);
  return {[in](std::uint8_t* to, std::size_t n) {
            in->read(reinterpret_cast<char*>(to), static_cast<std::streamsize>(n));
            return static_cast<std::size_t>(in->gcount());
          },
          size, path};
}

}  // namespace brood::data
