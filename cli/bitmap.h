// A picture to draw on, and the one small font that brood draws with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace brood {

struct Colour {
  std::uint8_t red = 0, green = 0, blue = 0;
};

struct Bitmap {
  Bitmap(int width_, int height_, Colour colour);
  void set(int x, int y, Colour colour);  // outside: nothing
  Colour at(int x, int y) const;

  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  // (height, width, 3)
};

inline constexpr int kGlyphWidth = 5, kGlyphHeight = 7;  // and a column between two glyphs

// Capitals, digits and common signs; small letters are drawn as capitals, anything else as a box.
// scale: pixels a dot.
void draw_text(Bitmap& bitmap, int x, int y, int scale, Colour colour, std::string_view text);

int text_width(std::string_view text, int scale);

// As PNG, by libpng; beside and renamed. Throws UserError when it cannot be written.
void write_png(const std::string& path, const Bitmap& bitmap);

}  // namespace brood
