#include "trainers/data/source_key.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

#include "engine/error.h"
#include "trainers/data/hash.h"

namespace brood::data {

namespace {

// Coarser than any tick, and than the two seconds of FAT.
constexpr std::chrono::seconds kYoung{3};
constexpr std::size_t kPart = std::size_t{1} << 20;
constexpr std::size_t kDigits = 16;

[[noreturn]] void cannot_read(const std::string& path) {
  throw UserError(path + ": cannot be read (" + std::strerror(errno) + ")");
}

std::uint64_t nanoseconds(const timespec& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

struct Look {
  Hash hash;
  std::uint64_t youngest = 0;  // the latest change of any file, nanoseconds since 1970
};

Look look_at(const Source& source) {
  Look out;
  out.hash.add(std::string_view(source.options()));
  for (const std::string& path : source.files()) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) cannot_read(path);
    const std::uint64_t content = nanoseconds(status.st_mtim), change = nanoseconds(status.st_ctim);
    out.hash.add(std::string_view(path));
    for (const std::uint64_t number :
         {static_cast<std::uint64_t>(status.st_size), static_cast<std::uint64_t>(status.st_ino),
          static_cast<std::uint64_t>(status.st_dev), content, change})
      out.hash.add(number);
    out.youngest = std::max({out.youngest, content, change});
  }
  return out;
}

std::uint64_t hash_of_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) cannot_read(path);
  Hash hash;
  std::vector<char> buffer(kPart);
  ssize_t got = 0;
  do {
    got = ::read(file, buffer.data(), buffer.size());
    if (got > 0) hash.add(buffer.data(), static_cast<std::size_t>(got));
  } while (got > 0 || (got < 0 && errno == EINTR));
  const int error = errno;
  ::close(file);
  errno = error;
  if (got < 0) cannot_read(path);
  return hash.value();
}

// The length of the path of the folder that all files lie in: a copy of a data set elsewhere has
// the same key.
std::size_t common_folder(const std::vector<std::string>& paths) {
  std::size_t length = paths.front().rfind('/') + 1;
  for (const std::string& path : paths) {
    while (path.compare(0, length, paths.front(), 0, length) != 0)
      length = paths.front().rfind('/', length - 2) + 1;
  }
  return length;
}

std::string content_key(const Source& source) {
  Hash hash;
  hash.add(std::string_view(source.options()));
  const std::vector<std::string> paths = source.files();
  const std::size_t start = common_folder(paths);
  for (const std::string& path : paths) {
    hash.add(std::string_view(path).substr(start));
    hash.add(hash_of_file(path));
  }
  return hex(hash.value());
}

std::string kept_key(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text;
  std::getline(in, text);
  const bool whole = text.size() == kDigits && !in.eof() &&
                     text.find_first_not_of("0123456789abcdef") == std::string::npos;
  return whole ? text : "";
}

void keep_key(const std::string& path, const std::string& key) {
  const std::string beside = path + "." + std::to_string(::getpid());
  std::ofstream out(beside, std::ios::binary);
  out << key << '\n';
  out.close();
  if (!out || std::rename(beside.c_str(), path.c_str()) != 0) std::remove(beside.c_str());
}

}  // namespace

std::string signature_of(const Source& source) { return hex(look_at(source).hash.value()); }

SourceKey key_of(const Source& source, const std::string& folder, SystemTime now) {
  const Look look = look_at(source);
  SourceKey out;
  out.signature = hex(look.hash.value());
  const std::string path = folder + "/" + out.signature + ".key";
  const auto time =
      std::chrono::duration_cast<std::chrono::nanoseconds>((now - kYoung).time_since_epoch())
          .count();
  const bool settled = time > 0 && look.youngest < static_cast<std::uint64_t>(time);
  if (settled) out.text = kept_key(path);
  if (!out.text.empty()) return out;
  out.text = content_key(source);
  if (signature_of(source) != out.signature)
    throw UserError(source.files().front() +
                    ": this data set is being changed; start again when its files are complete");
  if (settled) keep_key(path, out.text);
  return out;
}

}  // namespace brood::data
