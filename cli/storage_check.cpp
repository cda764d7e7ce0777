#include "cli/storage_check.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

#include "engine/descriptor.h"

namespace brood {

namespace {

constexpr int kSyncs = 15;

struct FileSystem {
  std::uint32_t magic;  // statfs(2)
  const char* name;
  bool shared, forgets;
};
constexpr std::array kFileSystems = {
    FileSystem{0xEF53, "ext4", false, false},        FileSystem{0x58465342, "xfs", false, false},
    FileSystem{0x9123683E, "btrfs", false, false},   FileSystem{0x2FC12FC1, "zfs", false, false},
    FileSystem{0x794C7630, "overlay", false, false}, FileSystem{0x01021994, "tmpfs", false, true},
    FileSystem{0x858458F6, "ramfs", false, true},    FileSystem{0x6969, "nfs", true, false},
    FileSystem{0xFF534D42, "cifs", true, false},     FileSystem{0xFE534D42, "smb2", true, false},
    FileSystem{0x0BD00BD0, "lustre", true, false},   FileSystem{0x47504653, "gpfs", true, false},
    FileSystem{0x00C36400, "ceph", true, false},     FileSystem{0x19830326, "beegfs", true, false},
    FileSystem{0x01021997, "9p", true, false},       FileSystem{0x65735546, "fuse", true, false}};

void describe(const std::string& folder, StorageCheck& check) {
  struct statfs about {};
  if (::statfs(folder.c_str(), &about) != 0) return;
  check.free_bytes =
      static_cast<std::uint64_t>(about.f_bavail) * static_cast<std::uint64_t>(about.f_bsize);
  const auto magic = static_cast<std::uint32_t>(about.f_type);
  std::array<char, 16> number{};
  std::snprintf(number.data(), number.size(), "0x%x", magic);
  check.file_system = number.data();
  for (const FileSystem& known : kFileSystems)
    if (known.magic == magic) {
      check.file_system = known.name;
      check.shared = known.shared;
      check.forgets = known.forgets;
    }
}

class Probe {
 public:
  explicit Probe(const std::string& folder)
      : path_(folder + "/.brood-doctor-" + std::to_string(::getpid())),
        other_(path_ + ".renamed") {}
  ~Probe() {
    ::unlink(path_.c_str());
    ::unlink(other_.c_str());
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // The first thing that failed, in words; empty: nothing did.
  std::string run(double& sync_ms) {
    const Descriptor file(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) return failed("a file cannot be made");
    const std::string block(4096, 'b');
    std::vector<double> times;
    for (int i = 0; i < kSyncs; ++i) {
      const auto before = std::chrono::steady_clock::now();
      if (::pwrite(file.get(), block.data(), block.size(), i * 4096) != 4096)
        return failed("4 kB cannot be written");
      if (::fsync(file.get()) != 0) return failed("fsync does not work");
      times.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before)
              .count());
    }
    std::nth_element(times.begin(), times.begin() + kSyncs / 2, times.end());
    sync_ms = times[kSyncs / 2];
    if (const std::string why = try_locks(file.get()); !why.empty()) return why;
    const Descriptor other(::open(other_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!other || ::rename(path_.c_str(), other_.c_str()) != 0)
      return failed("a file cannot take another's name");
    if (::access(path_.c_str(), F_OK) == 0)
      return "a renamed file is still there under its old name";
    return {};
  }

 private:
  // SQLite's locks are fcntl's, of the process; brood's own is flock's, of the open file.
  std::string try_locks(int file) const {
    struct flock whole {};
    whole.l_type = F_WRLCK;
    if (::fcntl(file, F_SETLK, &whole) != 0) return failed("fcntl locks do not work");
    if (::flock(file, LOCK_EX | LOCK_NB) != 0) return failed("flock does not work");
    const Descriptor again(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    if (again && ::flock(again.get(), LOCK_EX | LOCK_NB) == 0)
      return "flock locks nobody out: two runs could write one database";
    return {};
  }

  static std::string failed(const std::string& what) {
    return what + " (" + std::strerror(errno) + ")";
  }

  std::string path_, other_;
};

}  // namespace

StorageCheck check_storage(const std::string& folder) {
  StorageCheck check;
  describe(folder, check);
  check.trouble = Probe(folder).run(check.sync_ms);
  return check;
}

}  // namespace brood
