// Asking the system for the pages of a table before they are read. The rows of small tables lie
// spread between millions of reports; to wait for each page in turn is most of what a question
// costs whose file has not been read lately.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/sqlite.h"

namespace brood {

// Only hints: whatever goes wrong here changes no answer.
class Prefetch {
 public:
  // The connection must be open while this reads; it may move.
  explicit Prefetch(const std::string& path) : path_(path) {}

  // The pages that hold the rows of a table, or the entries of an index, in the order of the file.
  // Empty: there is no such thing, it lies on one page, or it is larger than 128 MiB.
  std::vector<std::int64_t> leaves(sqlite::Connection& db, const std::string& name);

  // Asks for them all, in files that are large enough for it to matter.
  void tables(sqlite::Connection& db, const std::vector<std::string>& names);

 private:
  std::string path_;
  int file_ = -1;  // never closed: that would drop the locks that SQLite has on the file
};

}  // namespace brood
