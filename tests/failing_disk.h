// A disk under SQLite that fails as told: a virtual file system of SQLite's, registered by name,
// between the library and the real files. It knows what was synced, so that a power cut can leave
// exactly that, and any part of the rest.
#pragma once

#include <cstdint>
#include <string>

#include "engine/rng.h"

namespace brood {

enum class DiskFault : std::uint8_t {
  none,
  error,        // the write fails with an I/O error
  short_write,  // half of it is written, then an I/O error
  full,         // no space, for this write and the following ones up to `times`
  sync_error,   // the sync fails; what it was to sync will never reach the disk by itself
  power_cut,    // from here on every operation fails, until restore_power()
};

// What of the bytes that were not synced a power cut leaves.
enum class Survivors : std::uint8_t { none, all, some_sectors };

// One for the process. Any thread.
class FailingDisk {
 public:
  // For SqliteStoreOptions::vfs.
  static const char* name();

  // Operations count from 1: writes, truncations, syncs and removals of a database, its log or its
  // journal. Forgets all that was known of files.
  static void arm(DiskFault fault, std::int64_t at_operation, std::int64_t times = 1);
  static std::int64_t operations();
  static bool failed();  // the fault has happened

  // Makes the real files what the disk would hold. Nobody has them open.
  static void restore_power(Survivors survivors, Rng rng);
};

}  // namespace brood
