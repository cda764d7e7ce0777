#include "tests/failing_disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/error.h"

namespace brood {

namespace {

constexpr std::size_t kSector = 512;

// A file's content on the disk, and the ranges that are only in the system's memory so far.
struct Image {
  std::string synced;
  std::vector<std::pair<std::size_t, std::size_t>> unsynced;  // offset, bytes
};

struct Disk {
  std::mutex mutex;
  DiskFault fault = DiskFault::none;
  std::int64_t at = 0, times = 1, operations = 0;
  bool failed = false;
  std::map<std::string, Image> images;
};

Disk& disk() {
  static Disk one;
  return one;
}

sqlite3_vfs* real_vfs() {
  static sqlite3_vfs* const found = sqlite3_vfs_find(nullptr);
  return found;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  std::string content(static_cast<std::size_t>(file.tellg()), '\0');
  file.seekg(0).read(content.data(), static_cast<std::streamsize>(content.size()));
  return content;
}

// The fault that this operation meets; the lock is held.
DiskFault next_fault(Disk& d, bool syncs = false) {
  ++d.operations;
  if (d.fault == DiskFault::sync_error) {  // the first sync from there on
    if (!syncs || d.failed || d.operations < d.at) return DiskFault::none;
    d.failed = true;
    return d.fault;
  }
  if (d.fault == DiskFault::none || d.operations < d.at) return DiskFault::none;
  if (d.fault != DiskFault::power_cut && d.operations >= d.at + d.times) return DiskFault::none;
  d.failed = true;
  return d.fault;
}

bool power_is_off(const Disk& d) {
  return d.fault == DiskFault::power_cut && d.operations >= d.at && d.at > 0;
}

// SQLite gives the memory, szOsFile bytes; the real file follows in it.
struct File {
  sqlite3_file base;
  std::string* path;  // nullptr: not watched

  sqlite3_file* real() { return static_cast<sqlite3_file*>(static_cast<void*>(this + 1)); }
};

File& file_of(sqlite3_file* file) { return *static_cast<File*>(static_cast<void*>(file)); }
sqlite3_file* real(sqlite3_file* file) { return file_of(file).real(); }

int close_file(sqlite3_file* file) {
  const int code = real(file)->pMethods->xClose(real(file));
  delete file_of(file).path;
  return code;
}

int read_file(sqlite3_file* file, void* to, int bytes, sqlite3_int64 offset) {
  {
    const std::lock_guard guard(disk().mutex);
    if (file_of(file).path != nullptr && power_is_off(disk())) return SQLITE_IOERR_READ;
  }
  return real(file)->pMethods->xRead(real(file), to, bytes, offset);
}

int write_file(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) {
  const std::lock_guard guard(disk().mutex);
  const std::string* path = file_of(file).path;
  const DiskFault fault = path != nullptr ? next_fault(disk()) : DiskFault::none;
  if (fault == DiskFault::error || fault == DiskFault::power_cut) return SQLITE_IOERR_WRITE;
  if (fault == DiskFault::full) return SQLITE_FULL;
  const int count = fault == DiskFault::short_write ? bytes / 2 : bytes;
  if (path != nullptr && count > 0)
    disk().images[*path].unsynced.emplace_back(static_cast<std::size_t>(offset),
                                               static_cast<std::size_t>(count));
  const int code =
      count > 0 ? real(file)->pMethods->xWrite(real(file), from, count, offset) : SQLITE_OK;
  return fault == DiskFault::short_write ? SQLITE_IOERR_WRITE : code;
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  const std::lock_guard guard(disk().mutex);
  const std::string* path = file_of(file).path;
  const DiskFault fault = path != nullptr ? next_fault(disk()) : DiskFault::none;
  if (fault == DiskFault::error || fault == DiskFault::power_cut) return SQLITE_IOERR_TRUNCATE;
  return real(file)->pMethods->xTruncate(real(file), size);
}

// The real file is not synced: nobody cuts the real power.
int sync_file(sqlite3_file* file, int) {
  const std::lock_guard guard(disk().mutex);
  const std::string* path = file_of(file).path;
  if (path == nullptr) return SQLITE_OK;
  const DiskFault fault = next_fault(disk(), true);
  if (fault == DiskFault::power_cut) return SQLITE_IOERR_FSYNC;
  Image& image = disk().images[*path];
  if (fault == DiskFault::sync_error || fault == DiskFault::error) {
    // Linux marks the pages clean: a later sync says well, and does not write them.
    image.unsynced.clear();
    return SQLITE_IOERR_FSYNC;
  }
  // Only what was written: sanitizers make copies of whole files slow.
  const auto now = static_cast<std::size_t>(std::filesystem::file_size(*path));
  std::ifstream on_disk(*path, std::ios::binary);
  image.synced.resize(now);
  for (const auto& [offset, bytes] : image.unsynced)
    if (offset < now)
      on_disk.seekg(static_cast<std::streamoff>(offset))
          .read(image.synced.data() + offset,
                static_cast<std::streamsize>(std::min(bytes, now - offset)));
  image.unsynced.clear();
  return SQLITE_OK;
}

int size_of_file(sqlite3_file* file, sqlite3_int64* size) {
  return real(file)->pMethods->xFileSize(real(file), size);
}
int lock_file(sqlite3_file* file, int how) { return real(file)->pMethods->xLock(real(file), how); }
int unlock_file(sqlite3_file* file, int how) {
  return real(file)->pMethods->xUnlock(real(file), how);
}
int check_lock(sqlite3_file* file, int* held) {
  return real(file)->pMethods->xCheckReservedLock(real(file), held);
}
int control_file(sqlite3_file* file, int what, void* with) {
  return real(file)->pMethods->xFileControl(real(file), what, with);
}
int sector_size(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
int characteristics(sqlite3_file* file) {
  return real(file)->pMethods->xDeviceCharacteristics(real(file));
}
int map_shared(sqlite3_file* file, int page, int bytes, int extend, void volatile** out) {
  return real(file)->pMethods->xShmMap(real(file), page, bytes, extend, out);
}
int lock_shared(sqlite3_file* file, int offset, int count, int flags) {
  return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}
void fence_shared(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
int unmap_shared(sqlite3_file* file, int remove) {
  return real(file)->pMethods->xShmUnmap(real(file), remove);
}

const sqlite3_io_methods kMethods = {2,
                                     close_file,
                                     read_file,
                                     write_file,
                                     truncate_file,
                                     sync_file,
                                     size_of_file,
                                     lock_file,
                                     unlock_file,
                                     check_lock,
                                     control_file,
                                     sector_size,
                                     characteristics,
                                     map_shared,
                                     lock_shared,
                                     fence_shared,
                                     unmap_shared,
                                     nullptr,
                                     nullptr};

int open_file(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  constexpr int kWatched = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL;
  const std::lock_guard guard(disk().mutex);
  File& own = file_of(file);
  own.base.pMethods = nullptr;
  own.path = nullptr;
  const bool watched = path != nullptr && (flags & kWatched) != 0;
  if (watched && power_is_off(disk())) return SQLITE_CANTOPEN;
  if (watched && disk().images.count(path) == 0) disk().images[path].synced = content_of(path);
  const int code = real_vfs()->xOpen(real_vfs(), path, own.real(), flags, out_flags);
  if (own.real()->pMethods == nullptr) return code;
  own.base.pMethods = &kMethods;
  if (watched) own.path = new std::string(path);
  return code;
}

int remove_file(sqlite3_vfs*, const char* path, int sync_folder) {
  const std::lock_guard guard(disk().mutex);
  const bool watched = disk().images.count(path) > 0;
  const DiskFault fault = watched ? next_fault(disk()) : DiskFault::none;
  if (fault == DiskFault::power_cut || fault == DiskFault::error) return SQLITE_IOERR_DELETE;
  disk().images.erase(path);
  return real_vfs()->xDelete(real_vfs(), path, sync_folder);
}

// A copy of the real one with two functions of our own; the others ask nothing of a file.
void register_once() {
  static const bool done = [] {
    static sqlite3_vfs own = *real_vfs();
    own.pNext = nullptr;
    own.zName = FailingDisk::name();
    own.szOsFile = static_cast<int>(sizeof(File)) + real_vfs()->szOsFile;
    own.xOpen = open_file;
    own.xDelete = remove_file;
    return sqlite3_vfs_register(&own, 0) == SQLITE_OK;
  }();
  CHECK(done, "SQLite does not take another file system");
}

}  // namespace

const char* FailingDisk::name() { return "brood-failing-disk"; }

void FailingDisk::arm(DiskFault fault, std::int64_t at_operation, std::int64_t times) {
  register_once();
  const std::lock_guard guard(disk().mutex);
  disk().fault = fault;
  disk().at = at_operation;
  disk().times = times;
  disk().operations = 0;
  disk().failed = false;
  disk().images.clear();
}

std::int64_t FailingDisk::operations() {
  const std::lock_guard guard(disk().mutex);
  return disk().operations;
}

bool FailingDisk::failed() {
  const std::lock_guard guard(disk().mutex);
  return disk().failed;
}

void FailingDisk::restore_power(Survivors survivors, Rng rng) {
  const std::lock_guard guard(disk().mutex);
  for (const auto& [path, image] : disk().images) {
    if (!std::filesystem::exists(path)) continue;
    const std::string now = content_of(path);
    std::string left = image.synced;
    if (survivors == Survivors::all) left = now;
    for (const auto& [offset, bytes] : image.unsynced)
      for (std::size_t at = offset; at < offset + bytes; at += kSector) {
        if (survivors != Survivors::some_sectors || rng.chance(0.5) || at >= now.size()) continue;
        const std::size_t count = std::min({kSector, offset + bytes - at, now.size() - at});
        if (left.size() < at + count) left.resize(at + count);
        left.replace(at, count, now, at, count);
      }
    std::ofstream(path, std::ios::binary | std::ios::trunc) << left;
    // Memory that processes shared is gone with them.
    std::filesystem::remove(path + "-shm");
  }
  disk().images.clear();
  disk().fault = DiskFault::none;
}

}  // namespace brood
