// Where the known data sets usually lie.
#pragma once

#include <string>
#include <vector>

#include "trainers/data/dataset.h"

namespace brood::data {

// What a known data set is called on disk and where one gets it.
struct Known {
  std::string title;                 // Fashion-MNIST
  std::vector<std::string> folders;  // names of its folder, below data_dir and the usual places
  std::vector<std::string> system;   // absolute folders, without data_dir only
  std::string how_to_get;            // a clause: install ..., or get ...
};

// In the order of looking: data_dir and the folders below it; without a data_dir `data/` beside the
// config, the system's folders and ~/.keras/datasets.
std::vector<std::string> folders_of(const Known& known, const Places& places);

// Throws the UserError for a data set that is in none of the folders. partial: what was found
// instead, a clause; empty: nothing.
[[noreturn]] void not_found(const Known& known, const std::vector<std::string>& looked,
                            const std::string& partial);

}  // namespace brood::data
