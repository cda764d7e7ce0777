// How a camera was held, from the EXIF block of a JPEG.
#pragma once

#include <cstdint>
#include <span>

#include "trainers/data/picture.h"

namespace brood::data {

// The content of an APP1 marker. 1 (upright) to 8; 1 also when it says nothing or is damaged.
// Source: JEITA CP-3451, "Exchangeable image file format (Exif) 2.2", 2002, sections 4.5 and 4.6.
int exif_orientation(std::span<const std::uint8_t> app1);

constexpr bool swaps_sides(int orientation) { return orientation >= 5; }

Picture upright(Picture picture, int orientation);

}  // namespace brood::data
