// The format of pages is that of "Database File Format", sqlite.org/fileformat2.html, section 1.6.
#include "store/prefetch.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

namespace brood {

namespace {

constexpr std::int64_t kBytesMax = std::int64_t{128} << 20;  // of one table
constexpr std::int64_t kFileBytesMin = std::int64_t{32}
                                       << 20;              // below, the system reads ahead enough
constexpr unsigned char kInnerIndex = 2, kInnerTable = 5;  // the kinds of inner pages
constexpr std::size_t kHead = 12;                          // bytes before their list of cells

std::uint32_t big_endian(const unsigned char* at, int bytes) {
  std::uint32_t out = 0;
  for (int i = 0; i < bytes; ++i) out = out << 8 | at[i];
  return out;
}

// The pages below an inner page; empty for any other.
std::vector<std::int64_t> children(const std::vector<unsigned char>& page) {
  if (page[0] != kInnerIndex && page[0] != kInnerTable) return {};
  std::vector<std::int64_t> out;
  const std::size_t cells = big_endian(&page[3], 2);
  for (std::size_t cell = 0; cell < cells && kHead + 2 * cell + 2 <= page.size(); ++cell) {
    const std::size_t at = big_endian(&page[kHead + 2 * cell], 2);
    if (at + 4 <= page.size()) out.push_back(big_endian(&page[at], 4));
  }
  out.push_back(big_endian(&page[8], 4));
  return out;
}

// Asks for a few of them what is there without waiting: most questions come right after another,
// and asking for pages that are there takes longer than everything else here.
bool seem_cached(int file, const std::vector<std::int64_t>& pages, std::int64_t bytes) {
  constexpr std::size_t kAsked = 16;
  for (std::size_t i = 0; i < kAsked && !pages.empty(); ++i) {
    char byte = 0;
    const iovec place{&byte, 1};
    const std::int64_t page = pages[i * pages.size() / kAsked];
    if (preadv2(file, &place, 1, (page - 1) * bytes, RWF_NOWAIT) != 1) return false;
  }
  return true;
}

}  // namespace

constexpr int kDepthMax = 20;  // SQLite's own; a damaged page may be its own child

std::vector<std::int64_t> Prefetch::leaves(sqlite::Connection& db, const std::string& name) {
  const std::int64_t bytes = db.whole("PRAGMA page_size");
  const std::int64_t root =
      db.whole("SELECT rootpage FROM sqlite_schema WHERE name = " + sqlite::quote_text(name));
  if (file_ < 0) file_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (root < 2 || bytes < 512 || file_ < 0) return {};
  const auto most = static_cast<std::size_t>(kBytesMax / bytes);
  std::vector<unsigned char> page(static_cast<std::size_t>(bytes));
  const auto below = [&](std::int64_t number) {
    if (pread(file_, page.data(), page.size(), (number - 1) * bytes) != bytes)
      return std::vector<std::int64_t>();
    return children(page);
  };
  std::vector<std::int64_t> level = below(root);
  // All leaves are at one depth: the first page tells for its level. The file may change meanwhile,
  // and its newest pages are in the log: then the hint is a little wrong.
  for (int depth = 0; depth < kDepthMax && !level.empty() && level.size() <= most; ++depth) {
    std::vector<std::int64_t> next = below(level.front());
    if (next.empty()) {
      std::sort(level.begin(), level.end());
      return level;
    }
    for (std::size_t i = 1; i < level.size() && next.size() <= most; ++i) {
      const std::vector<std::int64_t> more = below(level[i]);
      next.insert(next.end(), more.begin(), more.end());
    }
    level = std::move(next);
  }
  return {};
}

void Prefetch::tables(sqlite::Connection& db, const std::vector<std::string>& names) {
  const std::int64_t bytes = db.whole("PRAGMA page_size");
  if (bytes * db.whole("PRAGMA page_count") < kFileBytesMin) return;
  std::vector<std::int64_t> pages;
  for (const std::string& name : names) {
    const std::vector<std::int64_t> more = leaves(db, name);
    pages.insert(pages.end(), more.begin(), more.end());
  }
  std::sort(pages.begin(), pages.end());
  if (seem_cached(file_, pages, bytes)) return;
  for (std::size_t first = 0, end = 0; first < pages.size(); first = end) {
    end = first + 1;
    while (end < pages.size() && pages[end] == pages[end - 1] + 1) ++end;
    posix_fadvise(file_, (pages[first] - 1) * bytes, static_cast<std::int64_t>(end - first) * bytes,
                  POSIX_FADV_WILLNEED);
  }
}

}  // namespace brood
