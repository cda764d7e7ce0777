// A JPEG or PNG is decoded into the pixels that its header says, or throws UserError.
#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "tests/fuzz/targets.h"
#include "trainers/data/exif.h"
#include "trainers/data/picture.h"

namespace brood::fuzz {

namespace {

constexpr std::int64_t kPixelsMax = 1 << 20;  // larger ones take the fuzzer too long

void decode(std::span<const std::uint8_t> bytes) {
  try {
    const data::PictureSize size = data::picture_size(bytes, "input");
    CHECK(size.height > 0 && size.width > 0, "a picture without pixels");
    if (std::int64_t{size.height} * size.width > kPixelsMax) return;
    const data::Picture picture = data::decode_picture(bytes, "input");
    CHECK(picture.height == size.height && picture.width == size.width, "another size than told");
    CHECK(picture.channels == 1 || picture.channels == 3, "neither grey nor coloured");
    CHECK(static_cast<std::int64_t>(picture.pixels.size()) ==
              std::int64_t{1} * picture.height * picture.width * picture.channels,
          "other pixels than its shape says");
  } catch (const UserError& error) {
    CHECK(std::strlen(error.what()) < 1000, "an error as long as the file");
  }
}

}  // namespace

void picture(const std::uint8_t* data, std::size_t size) {
  decode({data, size});
  const int orientation = data::exif_orientation({data, size});
  CHECK(orientation >= 1 && orientation <= 8, "no orientation");
}

}  // namespace brood::fuzz
