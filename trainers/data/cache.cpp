#include "trainers/data/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "engine/error.h"
#include "engine/units.h"
#include "trainers/data/cache_file.h"
#include "trainers/data/note.h"
#include "trainers/data/source_key.h"

namespace brood::data {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kWorthANote = std::uint64_t{1} << 28;  // bytes; seconds of decoding

// Held by one process at a time, where the file system can lock; elsewhere several may decode the
// same source, each into a file of its own, which is only a waste.
class Lock {
 public:
  // Waits. patience is told once before.
  template <class Patience>
  Lock(std::string path, Patience patience) : path_(std::move(path)) {
    while (true) {
      file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
      if (file_ < 0) throw CacheTrouble(path_ + " cannot be made (" + std::strerror(errno) + ")");
      held_ = ::flock(file_, LOCK_EX | LOCK_NB) == 0;
      if (!held_ && errno == EWOULDBLOCK) {
        patience();
        do {
          held_ = ::flock(file_, LOCK_EX) == 0;
        } while (!held_ && errno == EINTR);
      }
      if (!held_ || in_place()) return;
      ::close(file_);  // its last holder has removed it
    }
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    if (held_) ::unlink(path_.c_str());
    ::close(file_);
  }
  bool held() const { return held_; }

 private:
  bool in_place() const {
    struct stat mine {
    }, there{};
    return ::fstat(file_, &mine) == 0 && ::stat(path_.c_str(), &there) == 0 &&
           mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
  }

  const std::string path_;
  int file_ = -1;
  bool held_ = false;
};

std::string folder_of(const std::string& folder) {
  if (folder.empty()) throw CacheTrouble("there is no cache folder: HOME is not set");
  const fs::path path = fs::path(folder) / "data";
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw CacheTrouble(path.string() + " cannot be made (" + error.message() + ")");
  return path.string();
}

std::string path_of(const Source& source, const std::string& folder, const std::string& key) {
  const std::string options = source.options();
  return folder + "/" + options.substr(0, options.find(' ')) + "-" + key + ".images";
}

std::string name_of_this_process() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return std::string(host.data()) + "." + std::to_string(::getpid());
}

}  // namespace

std::string default_cache_dir() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return std::string(cache) + "/brood";
  const char* const home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return std::string(home) + "/.cache/brood";
  return "";
}

std::optional<Contents> cached_contents(const Source& source, const std::string& folder) {
  std::error_code error;
  const std::string data = (fs::path(folder) / "data").string();
  if (!fs::is_directory(data, error)) return std::nullopt;
  const SourceKey key = key_of(source, data);
  return cache_contents(path_of(source, data, key.text), key.text);
}

DatasetKey dataset_key(const DatasetSpec& spec, const Places& places) {
  const std::unique_ptr<Source> source = open_source(spec, places);
  const std::vector<std::string> files = source->files();
  if (files.empty()) return {};
  const std::string folder = places.cache_dir.empty() ? default_cache_dir() : places.cache_dir;
  fs::path common = fs::path(files.front()).parent_path();
  while (!files.back().starts_with((common / "").string())) common = common.parent_path();
  return {key_of(*source, folder + "/data").text, common.string()};
}

Dataset cached_dataset(Source& source, const std::string& folder) {
  const std::string data = folder_of(folder);
  const SourceKey key = key_of(source, data);
  const std::string path = path_of(source, data, key.text);
  if (auto found = map_cache(path, key.text)) return *found;
  const Lock lock(path + ".lock", [&] {
    note("waiting for another process that decodes " + source.files().front());
  });
  if (auto found = map_cache(path, key.text)) return *found;
  const Contents contents = source.contents();
  if (contents.bytes() >= kWorthANote)
    note("decoding " + std::to_string(contents.train + contents.test) + " images once into " +
         path + " (" + size_text(contents.bytes()) + ")");
  const std::string beside = path + (lock.held() ? "" : "." + name_of_this_process()) + ".part";
  CacheWriter writer(beside, contents, key.text);
  source.read(writer);
  if (signature_of(source) != key.signature)
    throw UserError(source.files().front() +
                    ": this data set is being changed; start again when its files are complete");
  writer.finish(path);
  if (auto found = map_cache(path, key.text)) return *found;
  throw CacheTrouble(path + " does not read as it was written");
}

}  // namespace brood::data
