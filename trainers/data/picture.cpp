#include "trainers/data/picture.h"

#include <algorithm>
#include <array>

#include "engine/error.h"

namespace brood::data {

namespace {

constexpr std::array<std::uint8_t, 3> kJpeg = {0xff, 0xd8, 0xff};
constexpr std::array<std::uint8_t, 8> kPng = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

bool begins(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t> with) {
  return bytes.size() >= with.size() && std::equal(with.begin(), with.end(), bytes.begin());
}

// True for a JPEG, false for a PNG.
bool is_jpeg(std::span<const std::uint8_t> bytes, const std::string& name) {
  if (begins(bytes, kJpeg)) return true;
  if (begins(bytes, kPng)) return false;
  if (bytes.empty()) damaged_picture(name, "it is empty");
  throw UserError(name + ": is neither a JPEG nor a PNG picture; convert it, or remove it");
}

}  // namespace

void damaged_picture(const std::string& name, const std::string& why) {
  throw UserError(name + ": is damaged (" + why + "); replace it, or remove it");
}

void check_picture_size(std::int64_t height, std::int64_t width, const std::string& name) {
  if (height < 1 || width < 1) damaged_picture(name, "it has no pixels");
  if (height > kPicturePixelsMax / width)
    throw UserError(name + ": has " + std::to_string(width) + "x" + std::to_string(height) +
                    " pixels; at most " + std::to_string(kPicturePixelsMax) +
                    " are supported; scale it down, or remove it");
}

Picture decode_picture(std::span<const std::uint8_t> bytes, const std::string& name) {
  return is_jpeg(bytes, name) ? decode_jpeg(bytes, name) : decode_png(bytes, name);
}

PictureSize picture_size(std::span<const std::uint8_t> bytes, const std::string& name) {
  return is_jpeg(bytes, name) ? jpeg_size(bytes, name) : png_size(bytes, name);
}

}  // namespace brood::data
