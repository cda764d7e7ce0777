// Pictures from files, in the size that a model wants: the one of a JPEG or PNG file, or an IDX
// file's many.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "trainers/cnn/model.h"

namespace brood::cnn {

struct NamedPicture {
  std::string name;                  // the file's, with "#17" where it has many
  std::vector<std::uint8_t> pixels;  // (height, width, channels)
};

// A picture of another shape is made to fit as those of the model's data set were; an IDX file must
// have the model's. Throws UserError, naming the file and the reason.
void read_pictures(const std::string& path, const Model& model,
                   const std::function<void(NamedPicture)>& take);

}  // namespace brood::cnn
