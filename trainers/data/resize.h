// Pictures to the size and the channels that a network takes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainers/data/dataset_spec.h"
#include "trainers/data/picture.h"

namespace brood::data {

// Part of a picture, in pixels.
struct Box {
  int top = 0, left = 0, height = 0, width = 0;
};

// The part that fits the shape height x width: all of it for `squash`, the largest one in the
// middle for `crop`.
Box box_of(const Picture& picture, int height, int width, Fit fit);

// With a triangle filter, as wide as the reduction is, so that nothing aliases: bit for bit what
// Pillow's resize(size, BILINEAR, box) gives up to version 11 (Resample.c; Pillow 13 resizes the
// columns first where that is less work, and rounds some values to the neighbour; the idea is in
// Heckbert, "Fundamentals of texture mapping and image warping", 1989).
Picture resized(const Picture& picture, const Box& box, int height, int width);

// Grey to RGB by repetition; RGB to grey by ITU-R 601-2 luma, rounded as in Pillow.
Picture with_channels(Picture picture, int channels);

// What a network takes: (height, width, channels). height 0: as it is.
Picture fitted(Picture picture, int height, int width, int channels, Fit fit);

// Reads a file and makes of it what a network takes: (height, width, channels). height 0: as it is.
// Throws UserError naming the path and the reason.
Picture read_picture(const std::string& path, int height, int width, int channels, Fit fit);

// All bytes of a picture file.
std::vector<std::uint8_t> picture_bytes(const std::string& path);

}  // namespace brood::data
