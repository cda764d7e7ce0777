// When a convolution takes the Winograd path, and the memory that this needs.
#pragma once

#include <cstdint>

#include "trainers/cnn/plan.h"

namespace brood::cnn {

// A convolution in tiles of 4x4 outputs (see kernels_winograd.h).
struct Winograd {
  int kernel = 3;             // of a side: 3 or 5
  int points = 36;            // of the transform: (kernel + 3)^2
  int across = 0, down = 0;   // tiles of one image
  std::int32_t group = 0;     // tiles transformed at a time
  std::int64_t v_plane = 0;   // floats from one point to the next in the transformed inputs
  std::int64_t m_plane = 0;   // and in the products of one panel
  std::int64_t u_floats = 0;  // transformed weights of all panels
  std::int64_t work = 0;      // floats: inputs of a group and products of a panel

  std::int64_t tiles(int batch) const { return std::int64_t{batch} * across * down; }
};

// Whether forward, gradient by input and gradient by weights use Winograd. The same for every
// kernel set, as the memory of a trial must not depend on the machine.
bool uses_winograd(const Step& step, const Shape& in, const Shape& out);

// For outputs of `height` by `width` from `depth` to `columns` channels.
Winograd make_winograd(int kernel, int height, int width, int depth, int columns);

// Floats of scratch: weights forward and back, and the work of the larger pass.
std::int64_t winograd_scratch(const Step& step, const Shape& in, const Shape& out);

// What is read past the last row or column of an image of `size` that begins `before` tiles' reads
// before its first: tiles may reach beyond the outputs.
int winograd_after(int kernel, int outputs, int before, int size);

}  // namespace brood::cnn
