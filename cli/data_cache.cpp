// brood data cache: decoded data sets that are kept, and how they go.
#include <algorithm>
#include <filesystem>

#include "cli/asked.h"
#include "cli/config.h"
#include "cli/data.h"
#include "cli/table.h"
#include "engine/units.h"
#include "trainers/data/cache.h"

namespace brood {

namespace {

using Entries = std::vector<data::CacheEntry>;

std::string folder_of(const std::string& config) {
  const std::string own = config.empty() ? "" : read_config(config, {}).cache_dir;
  const std::string folder = own.empty() ? data::default_cache_dir() : own;
  if (folder.empty())
    throw UserError("there is no cache folder: HOME is not set, and no \"cache_dir\" is given");
  return folder;
}

// The entry with this name, or the only one whose name begins so.
Entries chosen(const Entries& entries, const std::string& word, const std::string& folder) {
  if (word == "all") return entries;
  Entries out;
  for (const data::CacheEntry& entry : entries)
    if (entry.name.starts_with(word)) out.push_back(entry);
  if (out.empty())
    throw UserError(folder + ": has no cache whose name begins with \"" + word +
                    "\"; `brood data cache` lists them");
  if (out.size() > 1)
    throw UserError("\"" + word + "\" could be " + out[0].name + " or " + out[1].name +
                    ": name one, or \"all\"");
  return out;
}

Table table_of(const Entries& entries, bool people) {
  Table table;
  table.columns = {"name", "size", "images", "pixels", "made"};
  for (const data::CacheEntry& entry : entries) {
    auto& row = table.rows.emplace_back();
    row.emplace_back(entry.name);
    if (people)
      row.emplace_back(size_text(entry.bytes));
    else
      row.emplace_back(static_cast<std::int64_t>(entry.bytes));
    const auto& set = entry.contents;
    if (set) {
      row.emplace_back(set->train + set->test);
      row.emplace_back(std::to_string(set->height) + "x" + std::to_string(set->width) + "x" +
                       std::to_string(set->channels));
    } else {
      row.emplace_back();
      row.emplace_back(std::string(entry.being_made ? "is being made" : "not complete"));
    }
    row.emplace_back(time_text(entry.changed_us));
  }
  return table;
}

}  // namespace

int data_cache_command(const DataCacheOptions& options, std::ostream& out) {
  const std::string folder = folder_of(options.config);
  const Entries entries = data::cache_entries(folder);
  if (options.remove.empty()) {
    if (options.json) {
      print(table_of(entries, false), Format::json, 0, out);
      return 0;
    }
    out << folder << "/data\n\n";
    print(table_of(entries, true), Format::people, terminal_width(), out);
    if (!entries.empty())
      out << "\nEach is made again when it is missed: brood data cache --remove NAME, or all\n";
    return 0;
  }
  std::uint64_t bytes = 0;
  std::int64_t count = 0;
  for (const data::CacheEntry& entry : chosen(entries, options.remove, folder)) {
    if (entry.being_made) {
      out << entry.name << ": stays, as a process is making it\n";
      continue;
    }
    data::remove_cache_entry(folder, entry);
    bytes += entry.bytes;
    ++count;
  }
  out << "removed " << count_text(count, "file") << ", " << size_text(bytes) << "\n";
  return 0;
}

}  // namespace brood
