// Whether a folder's file system keeps what a database needs: durable writes, atomic renames,
// locks.
#pragma once

#include <cstdint>
#include <string>

namespace brood {

struct StorageCheck {
  std::string file_system;  // ext4, nfs, ...; a number where it has no known name
  bool shared = false;      // seen by several hosts
  bool forgets = false;     // lost when the machine restarts
  std::uint64_t free_bytes = 0;
  double sync_ms = 0;   // median of 4 kB written and synced
  std::string trouble;  // what does not work, in words; empty: all does
};

// Writes a few small files there and removes them. Never throws: trouble says what went wrong.
StorageCheck check_storage(const std::string& folder);

}  // namespace brood
