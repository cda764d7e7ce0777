#include "trainers/cnn/pictures.h"

#include "engine/error.h"
#include "trainers/data/idx.h"

namespace brood::cnn {

namespace {

void read_idx_pictures(const std::string& path, const PictureSize& size,
                       const std::function<void(Picture)>& take) {
  const data::IdxArray images = data::read_idx(path, size.channels == 1 ? 3 : 4);
  const std::vector<std::int64_t> wanted = {size.height, size.width, size.channels};
  for (std::size_t i = 1; i < images.sizes.size(); ++i)
    if (images.sizes[i] != wanted[i - 1])
      throw UserError(path + ": has images of " + std::to_string(images.sizes[1]) + "x" +
                      std::to_string(images.sizes[2]) + ", the model's are " +
                      std::to_string(size.height) + "x" + std::to_string(size.width));
  const auto count = std::int64_t{size.height} * size.width * size.channels;
  for (std::int64_t n = 0; n < images.sizes[0]; ++n) {
    const auto first = images.values.begin() + n * count;
    take({path + "#" + std::to_string(n), {first, first + count}});
  }
}

}  // namespace

void read_pictures(const std::string& path, const PictureSize& size,
                   const std::function<void(Picture)>& take) {
  read_idx_pictures(path, size, take);
}

}  // namespace brood::cnn
