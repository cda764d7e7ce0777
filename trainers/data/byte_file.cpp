#include "trainers/data/byte_file.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "engine/error.h"

namespace brood::data {

namespace {

constexpr std::size_t kPart = std::size_t{1} << 20;
// The most that deflate can compress.
constexpr std::uint64_t kRatioMax = 1032;

}  // namespace

void broken_file(const std::string& name, const std::string& why) {
  throw UserError(name + ": " + why + "; get the file again");
}

std::size_t read_fully(const ByteReader& read, std::uint8_t* to, std::size_t n) {
  std::size_t done = 0;
  while (done < n) {
    const std::size_t got = read(to + done, std::min(n - done, kPart));
    if (got == 0) break;
    done += got;
  }
  return done;
}

ByteFile open_bytes(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    throw UserError(path + ": is a folder, expected a file");
  const std::uint64_t size = std::filesystem::file_size(path, error);
  if (error) throw UserError(path + ": cannot be read (" + error.message() + ")");
  // Plain files pass through zlib as they are.
  const std::shared_ptr<gzFile_s> file(gzopen(path.c_str(), "rb"), [](gzFile opened) {
    if (opened) gzclose(opened);
  });
  if (!file) throw UserError(path + ": cannot be opened; check its permissions");
  gzbuffer(file.get(), 1U << 17);
  ByteFile out;
  out.read = [file, path](std::uint8_t* to, std::size_t n) -> std::size_t {
    const int got = gzread(file.get(), to, static_cast<unsigned>(std::min(n, kPart)));
    int code = Z_OK;
    const char* const why = gzerror(file.get(), &code);
    if (code == Z_BUF_ERROR) broken_file(path, "is cut short inside its compressed data");
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
      broken_file(path, std::string("its compressed data is damaged (") + why + ")");
    return static_cast<std::size_t>(got);
  };
  const bool packed = path.size() > 3 && path.ends_with(".gz");
  out.most = packed ? size * kRatioMax : size;
  return out;
}

std::string plain_or_packed(const std::string& path) {
  for (const char* ending : {"", ".gz"}) {
    std::error_code error;
    if (std::filesystem::exists(path + ending, error)) return path + ending;
  }
  return "";
}

}  // namespace brood::data
