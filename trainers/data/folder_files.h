// The pictures of a folder with their classes: class/files, or train/class/files beside
// test/class/files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainers/data/dataset_spec.h"

namespace brood::data {

struct FolderFile {
  std::string path;
  std::uint16_t label = 0;
};

struct FolderFiles {
  std::vector<std::string> class_names;  // sorted by their bytes
  std::vector<FolderFile> train, test;   // by class, then by path
};

// Without a folder of test pictures, the share `test` of each class is drawn from the seed (at
// least one picture stays to train with). Names that begin with a dot and files that are no
// pictures by their name are passed over. Throws UserError.
FolderFiles list_folder(const ImageFolderSpec& spec, const std::string& root);

}  // namespace brood::data
