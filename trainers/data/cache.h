// Decodes a source once for all processes of a machine, however many ask at the same time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainers/data/dataset.h"
#include "trainers/data/source.h"

namespace brood::data {

// $XDG_CACHE_HOME/brood or ~/.cache/brood; empty when neither is known.
std::string default_cache_dir();

// The source's cache file below `folder`, mapped; made first where it is missing or damaged, by one
// process while the others wait. Throws UserError for what is wrong with the source's files, and
// CacheTrouble (cache_file.h) when the folder cannot be used.
Dataset cached_dataset(Source& source, const std::string& folder);

// What a data set is made of, by the content of its files and its settings: as its cache is named.
struct DatasetKey {
  std::string text;    // empty: it is made up
  std::string folder;  // that its files lie in, or below
};
DatasetKey dataset_key(const DatasetSpec& spec, const Places& places);

// What lies in a cache folder (data below it), by name.
struct CacheEntry {
  std::string name;  // of the file
  std::uint64_t bytes = 0;
  std::int64_t changed_us = 0;       // since 1970
  std::optional<Contents> contents;  // of a complete one
  bool being_made = false;           // by a process that is at it
};
std::vector<CacheEntry> cache_entries(const std::string& folder);

// Removes an entry and what belongs to it; processes that have it mapped keep it until they end.
// Throws UserError when it cannot be removed.
void remove_cache_entry(const std::string& folder, const CacheEntry& entry);

// What a complete cache file knows; nullopt when there is none.
std::optional<Contents> cached_contents(const Source& source, const std::string& folder);

}  // namespace brood::data
