#include "trainers/cnn/pictures.h"

#include <array>
#include <fstream>

#include "engine/error.h"
#include "trainers/data/idx.h"
#include "trainers/data/resize.h"

namespace brood::cnn {

namespace {

using Take = std::function<void(NamedPicture)>;

// Two zero bytes begin an IDX file, and no picture; gzip's number a compressed one.
bool is_idx(const std::string& path) {
  std::array<unsigned char, 2> first{1, 1};
  std::ifstream file(path, std::ios::binary);
  for (unsigned char& byte : first) byte = static_cast<unsigned char>(file.get());
  return file && (first == std::array<unsigned char, 2>{0, 0} ||
                  first == std::array<unsigned char, 2>{0x1f, 0x8b});
}

std::string text_of(const std::vector<std::int64_t>& sides) {
  std::string out;
  for (std::size_t i = 1; i < sides.size(); ++i)
    out += (out.empty() ? "" : "x") + std::to_string(sides[i]);
  return out;
}

// Grey images have three dimensions, (n, height, width); others a fourth, their channels.
void read_idx_pictures(const std::string& path, const DataShape& shape, const Take& take) {
  std::vector<std::int64_t> wanted = {0, shape.height, shape.width};
  if (shape.channels > 1) wanted.push_back(shape.channels);
  const data::IdxArray images = data::read_idx(path, static_cast<int>(wanted.size()));
  wanted[0] = images.sizes[0];
  if (images.sizes != wanted)
    throw UserError(path + ": has images of " + text_of(images.sizes) + ", the model's are " +
                    text_of(wanted));
  const auto bytes = std::int64_t{shape.height} * shape.width * shape.channels;
  for (std::int64_t n = 0; n < images.sizes[0]; ++n) {
    const auto first = images.values.begin() + n * bytes;
    take({path + "#" + std::to_string(n), {first, first + bytes}});
  }
}

}  // namespace

void read_pictures(const std::string& path, const Model& model, const Take& take) {
  const DataShape& shape = model.description.data;
  if (is_idx(path)) return read_idx_pictures(path, shape, take);
  if (shape.channels != 1 && shape.channels != 3)
    throw UserError(path + ": a picture has 1 or 3 channels, the model's images have " +
                    std::to_string(shape.channels) + "; give it IDX files");
  take({path, data::read_picture(path, shape.height, shape.width, shape.channels,
                                 model.spec.dataset.image_folder.fit)
                  .pixels});
}

}  // namespace brood::cnn
