// What lies in a cache folder, and how it goes.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/descriptor.h"
#include "engine/error.h"
#include "trainers/data/cache.h"
#include "trainers/data/cache_file.h"

namespace brood::data {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWhole = ".images", kPart = ".part", kKey = ".key";

// fashion_mnist-0123456789abcdef.images: what was hashed.
std::string key_in(const std::string& name) {
  const std::string stem = name.substr(0, name.find(kWhole));
  return stem.substr(stem.rfind('-') + 1);
}

// Its maker holds the lock beside it until it is whole.
bool locked(const fs::path& whole) {
  const Descriptor lock(::open((whole.string() + ".lock").c_str(), O_RDWR | O_CLOEXEC));
  return lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

std::vector<CacheEntry> cache_entries(const std::string& folder) {
  std::vector<CacheEntry> out;
  for (const fs::path& path : files_in(fs::path(folder) / "data")) {
    CacheEntry entry;
    entry.name = path.filename().string();
    const std::size_t end = entry.name.find(kWhole);
    const bool part = entry.name.ends_with(kPart);
    struct stat status {};
    if (end == std::string::npos || !(part || entry.name.ends_with(kWhole)) ||
        ::stat(path.c_str(), &status) != 0)
      continue;
    entry.bytes = static_cast<std::uint64_t>(status.st_size);
    entry.changed_us = std::int64_t{status.st_mtim.tv_sec} * 1'000'000;
    if (part)
      entry.being_made = locked(path.parent_path() / entry.name.substr(0, end + kWhole.size()));
    else
      entry.contents = cache_contents(path.string(), key_in(entry.name));
    out.push_back(std::move(entry));
  }
  return out;
}

void remove_cache_entry(const std::string& folder, const CacheEntry& entry) {
  const fs::path data = fs::path(folder) / "data";
  std::error_code error;
  fs::remove(data / entry.name, error);
  if (error)
    throw UserError((data / entry.name).string() + ": cannot be removed (" + error.message() + ")");
  // The small files that say which sources have this content.
  for (const fs::path& path : files_in(data)) {
    if (path.extension() != kKey) continue;
    std::string key;
    std::getline(std::ifstream(path), key);
    if (key == key_in(entry.name)) fs::remove(path, error);
  }
}

}  // namespace brood::data
