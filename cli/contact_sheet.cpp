#include "cli/contact_sheet.h"

#include <algorithm>

namespace brood {

namespace {

constexpr Colour kPaper = {255, 255, 255}, kInk = {20, 20, 20}, kPale = {120, 120, 120};
constexpr int kGap = 4, kMargin = 8;
constexpr int kSideMin = 48, kSideMax = 128;  // of a picture on the sheet
constexpr int kNameMax = 24;                  // signs
constexpr int kTextScale = 2, kNoteScale = 1;

// Pixels of the sheet a pixel of the picture, or the other way round; one of the two is 1.
struct Scale {
  int up = 1, down = 1;
};

Scale scale_of(const data::ImageShape& size) {
  const int side = std::max(size.height, size.width);
  Scale scale;
  if (side < kSideMin) scale.up = (kSideMin + side - 1) / side;
  if (side > kSideMax) scale.down = (side + kSideMax - 1) / kSideMax;
  return scale;
}

int shown(int side, const Scale& scale) { return std::max(1, side * scale.up / scale.down); }

// The mean over the pixels that fall on this place of the sheet.
std::uint8_t value_at(const std::uint8_t* picture, const data::ImageShape& size, int top, int left,
                      int down, int channel) {
  int sum = 0, count = 0;
  for (int y = top; y < std::min(top + down, size.height); ++y)
    for (int x = left; x < std::min(left + down, size.width); ++x, ++count)
      sum += picture[(static_cast<std::size_t>(y) * static_cast<std::size_t>(size.width) +
                      static_cast<std::size_t>(x)) *
                         static_cast<std::size_t>(size.channels) +
                     static_cast<std::size_t>(channel)];
  return static_cast<std::uint8_t>(sum / std::max(1, count));
}

void draw_picture(Bitmap& sheet, int left, int top, const data::ImageShape& size,
                  const std::uint8_t* picture, const Scale& scale) {
  const bool coloured = size.channels == 3 || size.channels == 4;
  for (int y = 0; y < shown(size.height, scale); ++y)
    for (int x = 0; x < shown(size.width, scale); ++x) {
      const auto value = [&](int channel) {
        return value_at(picture, size, y / scale.up * scale.down, x / scale.up * scale.down,
                        scale.down, channel);
      };
      const std::uint8_t red = value(0);
      sheet.set(left + x, top + y,
                coloured ? Colour{red, value(1), value(2)} : Colour{red, red, red});
    }
}

std::string fitted(const std::string& name) {
  if (name.size() <= kNameMax) return name;
  return name.substr(0, kNameMax - 2) + "..";
}

}  // namespace

Bitmap contact_sheet(const data::ImageShape& size, const std::vector<SheetRow>& rows) {
  const Scale scale = scale_of(size);
  const int width = shown(size.width, scale), height = shown(size.height, scale);
  const int text_height = kGlyphHeight * (kTextScale + kNoteScale) + kGap;
  const int row_height = std::max(height, text_height) + kGap;
  int text = 0, columns = 1;
  for (const SheetRow& row : rows) {
    text = std::max(
        {text, text_width(fitted(row.name), kTextScale), text_width(row.note, kNoteScale)});
    columns = std::max(columns, static_cast<int>(row.pictures.size()));
  }
  const int first = kMargin + text + 2 * kGap;
  Bitmap sheet(
      first + columns * (width + kGap) - kGap + kMargin,
      static_cast<int>(std::max<std::size_t>(rows.size(), 1)) * row_height - kGap + 2 * kMargin,
      kPaper);
  int top = kMargin;
  for (const SheetRow& row : rows) {
    const int text_top = top + std::max(0, (row_height - kGap - text_height) / 2);
    draw_text(sheet, kMargin, text_top, kTextScale, kInk, fitted(row.name));
    draw_text(sheet, kMargin, text_top + kGlyphHeight * kTextScale + kGap, kNoteScale, kPale,
              row.note);
    int left = first;
    for (const std::uint8_t* const picture : row.pictures) {
      draw_picture(sheet, left, top, size, picture, scale);
      left += width + kGap;
    }
    top += row_height;
  }
  return sheet;
}

}  // namespace brood
