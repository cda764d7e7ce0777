// Files of named arrays and text: the safetensors layout, so that other tools can open them.
//
// Eight bytes of header length (little-endian), a JSON header with type, shape and place of each
// array and a "__metadata__" object of strings, then the arrays, little-endian single precision,
// one after another without gaps. Source: Hugging Face, "safetensors", format section of the
// README.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainers/cnn/network.h"

namespace brood::cnn {

struct Checkpoint {
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<NamedArray> arrays;

  // Throws UserError when there is no such entry.
  const std::string& text(const std::string& key) const;
};

// Written beside, flushed to the disk and renamed: a reader finds the old file or the whole new
// one. Throws UserError when the disk does not take it.
void write_checkpoint(const std::string& path, const Checkpoint& checkpoint);

// The same for any file.
void write_file(const std::string& path, std::string_view bytes);

// Throws UserError, naming the file and the reason, for anything that write_checkpoint cannot have
// made.
Checkpoint read_checkpoint(const std::string& path);

}  // namespace brood::cnn
