// Finds the shards of a data set in TFRecord files, and opens one.
#pragma once

#include <string>
#include <vector>

#include "trainers/data/tfrecord.h"

namespace brood::data {

// Paths and patterns (* ? [...]), in their order; what a pattern matches, sorted by its bytes.
// Relative ones start at `base`. Throws UserError for one that matches nothing, or a file twice.
std::vector<std::string> find_shards(const std::vector<std::string>& patterns,
                                     const std::string& base);

// Plain or compressed by gzip, which TFRecord files do not show by their names.
RecordReader open_records(const std::string& path);

}  // namespace brood::data
