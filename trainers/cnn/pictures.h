// Pictures from files, in the size that a model wants: an IDX file's many, or the one of a JPEG or
// PNG file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace brood::cnn {

struct PictureSize {
  int height = 0, width = 0, channels = 0;
};

struct Picture {
  std::string name;                  // the file's, with "#17" where it has many
  std::vector<std::uint8_t> pixels;  // (height, width, channels)
};

// Throws UserError, naming the file and the reason.
void read_pictures(const std::string& path, const PictureSize& size,
                   const std::function<void(Picture)>& take);

}  // namespace brood::cnn
