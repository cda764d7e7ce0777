// One picture file, decoded: grey or RGB, eight bits, upright.
//
// What becomes of what:
//   palette, 1, 2, 4 bits  eight bits; grey stays grey
//   16 bits                eight, rounded (libpng's png_set_scale_16)
//   transparency           laid on white
//   CMYK, YCCK             RGB as Pillow does it: inverted values, as Adobe writes them, no profile
//   EXIF orientation       of a JPEG is applied
//   gamma, colour profiles are not looked at, as in Pillow, torchvision and tf.io
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace brood::data {

struct Picture {
  int height = 0, width = 0, channels = 0;  // 1 or 3
  std::vector<std::uint8_t> pixels;         // (height, width, channels)
};

struct PictureSize {
  int height = 0, width = 0;
  friend bool operator==(const PictureSize&, const PictureSize&) = default;
};

// A file may be small and its picture huge: what is above is refused before memory is taken.
inline constexpr std::int64_t kPicturePixelsMax = std::int64_t{1} << 26;
inline constexpr std::uint64_t kPictureBytesMax = std::uint64_t{1} << 28;  // of a file

// Told by their first bytes, whatever the file is called. Throw UserError, naming `name` and the
// reason, for anything but a complete JPEG or PNG.
Picture decode_picture(std::span<const std::uint8_t> bytes, const std::string& name);
PictureSize picture_size(std::span<const std::uint8_t> bytes, const std::string& name);

// The formats behind both. The bytes begin as the format does.
Picture decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name);
PictureSize jpeg_size(std::span<const std::uint8_t> bytes, const std::string& name);
Picture decode_png(std::span<const std::uint8_t> bytes, const std::string& name);
PictureSize png_size(std::span<const std::uint8_t> bytes, const std::string& name);

// For the decoders.
[[noreturn]] void damaged_picture(const std::string& name, const std::string& why);
void check_picture_size(std::int64_t height, std::int64_t width, const std::string& name);

}  // namespace brood::data
