// Decodes a source once for all processes of a machine, however many ask at the same time.
#pragma once

#include <optional>
#include <string>

#include "trainers/data/dataset.h"
#include "trainers/data/source.h"

namespace brood::data {

// $XDG_CACHE_HOME/brood or ~/.cache/brood; empty when neither is known.
std::string default_cache_dir();

// The source's cache file below `folder`, mapped; made first where it is missing or damaged, by one
// process while the others wait. Throws UserError for what is wrong with the source's files, and
// CacheTrouble (cache_file.h) when the folder cannot be used.
Dataset cached_dataset(Source& source, const std::string& folder);

// What a complete cache file knows; nullopt when there is none.
std::optional<Contents> cached_contents(const Source& source, const std::string& folder);

}  // namespace brood::data
