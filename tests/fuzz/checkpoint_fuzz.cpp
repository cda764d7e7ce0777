// A checkpoint file is read into arrays of the shapes that it says, or throws UserError in few
// words.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "engine/error.h"
#include "tests/fuzz/targets.h"
#include "trainers/cnn/checkpoint.h"

namespace brood::fuzz {

void checkpoint(const std::uint8_t* data, std::size_t size) {
  // A file without a disk.
  const int descriptor = ::memfd_create("checkpoint_fuzz", MFD_CLOEXEC);
  CHECK(descriptor >= 0, std::strerror(errno));
  CHECK(::write(descriptor, data, size) == static_cast<ssize_t>(size), std::strerror(errno));
  try {
    const cnn::Checkpoint read =
        cnn::read_checkpoint("/proc/self/fd/" + std::to_string(descriptor));
    std::size_t bytes = 0;
    for (const cnn::NamedArray& array : read.arrays) {
      std::size_t count = 1;
      for (const std::int64_t side : array.shape) count *= static_cast<std::size_t>(side);
      CHECK(count == array.values.size(), "an array of another size than its shape");
      bytes += count * sizeof(float);
    }
    CHECK(bytes <= size, "more values than bytes");
  } catch (const UserError& error) {
    CHECK(std::strlen(error.what()) < 2000, "an error as long as the file");
  }
  ::close(descriptor);
}

}  // namespace brood::fuzz
