// The database of experiments as the controller sees it: one SQLite file, one writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/store.h"

namespace brood {

struct SqliteStoreOptions {
  enum class Durability : std::uint8_t {
    group_commit,  // a thread of the store's own commits what is queued, at least every 50 ms
    manual,        // no thread: put() commits every `commit_every` changes, flush() the rest; what
                   // was not committed is lost with the object, as in a power cut
  };
  Durability durability = Durability::group_commit;
  std::function<void()> wake;        // group_commit: called after each commit, on that thread
  std::size_t queue_max = 100'000;   // group_commit: put() waits while so many changes are queued
  std::size_t commit_every = 1'000;  // manual
  bool power_safe = true;            // false: commits survive the program's end, not a power cut
  std::int64_t pages_max = 0;        // a small disk, for tests: pages of 16 KiB; 0: no limit
  std::string vfs;  // the file system of SQLite's, by name, for tests; empty: the usual one
};

// Touches nothing before open(). The destructor of a group_commit store commits what is queued, but
// waits for no disk.
std::unique_ptr<Store> open_sqlite_store(const std::string& path, SqliteStoreOptions options = {});

}  // namespace brood
