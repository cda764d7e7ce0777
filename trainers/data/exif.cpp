#include "trainers/data/exif.h"

#include <algorithm>
#include <array>

namespace brood::data {

namespace {

constexpr std::array<std::uint8_t, 6> kExif = {'E', 'x', 'i', 'f', 0, 0};
constexpr std::uint32_t kOrientation = 0x0112;
constexpr std::size_t kEntry = 12;  // bytes of a directory's entry

// Zero beyond the end.
class Tiff {
 public:
  explicit Tiff(std::span<const std::uint8_t> bytes)
      : bytes_(bytes), big_(!bytes.empty() && bytes[0] == 'M') {}
  std::uint32_t number(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size) return 0;
    std::uint32_t out = 0;
    for (std::size_t i = 0; i < size; ++i) out = out << 8U | bytes_[at + (big_ ? i : size - 1 - i)];
    return out;
  }

 private:
  const std::span<const std::uint8_t> bytes_;
  const bool big_;
};

}  // namespace

int exif_orientation(std::span<const std::uint8_t> app1) {
  if (app1.size() < kExif.size() || !std::equal(kExif.begin(), kExif.end(), app1.begin())) return 1;
  const Tiff tiff(app1.subspan(kExif.size()));
  if (tiff.number(2, 2) != 42) return 1;
  const std::size_t directory = tiff.number(4, 4);
  const std::size_t entries = tiff.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t at = directory + 2 + i * kEntry;
    if (tiff.number(at, 2) != kOrientation) continue;
    const std::uint32_t value = tiff.number(at + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Picture upright(Picture picture, int orientation) {
  if (orientation <= 1) return picture;
  // Where row 0 and column 0 of the stored picture are on the upright one.
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  Picture out;
  out.height = picture.height;
  out.width = picture.width;
  if (swaps_sides(orientation)) std::swap(out.height, out.width);
  out.channels = picture.channels;
  out.pixels.resize(picture.pixels.size());
  std::uint8_t* to = out.pixels.data();
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      int row = from_bottom ? out.height - 1 - y : y, column = from_right ? out.width - 1 - x : x;
      if (swaps_sides(orientation)) std::swap(row, column);
      const std::int64_t from = (std::int64_t{1} * row * picture.width + column) * out.channels;
      to = std::copy_n(picture.pixels.data() + from, out.channels, to);
    }
  }
  return out;
}

}  // namespace brood::data
