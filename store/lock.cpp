#include "store/lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "engine/error.h"

namespace brood {

namespace {

// A lock of the open file, not of the process: two stores in one process exclude each other, and
// asking (F_OFD_GETLK) does not disturb a writer that is about to start.
struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

std::string holder(int descriptor) {
  std::array<char, 300> bytes{};
  const ssize_t got = pread(descriptor, bytes.data(), bytes.size(), 0);
  std::string_view text(bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  text = text.substr(0, text.find('\n'));
  return text.empty() ? "another process" : std::string(text);
}

std::string own_name() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return "process " + std::to_string(getpid()) + " on " + host.data();
}

}  // namespace

WriterLock::WriterLock(const std::string& database) {
  const std::string path = database + ".lock";
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0)
    throw UserError(path + ": cannot be made (" + std::strerror(errno) +
                    "): make the folder writable, or name another place for the database");
  struct flock lock = whole_file(F_WRLCK);
  if (fcntl(descriptor_, F_OFD_SETLK, &lock) != 0) {
    const int why = errno;
    const std::string who = holder(descriptor_);
    close(descriptor_);
    if (why != EAGAIN && why != EACCES)
      throw UserError(path + ": cannot be locked (" + std::strerror(why) +
                      "): put the database on a file system with locks");
    throw UserError(database + ": " + who +
                    " is writing it: wait for that run, stop it (Ctrl-C there), or give this one " +
                    "another output.database");
  }
  const std::string name = own_name() + "\n";
  // Only for people: a full disk must not keep a run from starting.
  if (ftruncate(descriptor_, 0) == 0) (void)!pwrite(descriptor_, name.data(), name.size(), 0);
}

WriterLock::~WriterLock() {
  (void)!ftruncate(descriptor_, 0);
  close(descriptor_);
}

std::optional<std::string> writer_of(const std::string& database) {
  const int descriptor = open((database + ".lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  struct flock lock = whole_file(F_WRLCK);
  const bool held = fcntl(descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  std::optional<std::string> who;
  if (held) who = holder(descriptor);
  close(descriptor);
  return who;
}

}  // namespace brood
