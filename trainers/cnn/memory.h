// Where everything of a trial lies on the CPU: one block, sized and divided before training.
//
// Activations are NHWC: channels padded to a multiple of 8 with lanes that stay zero, and a halo of
// zeros where a convolution reads past the edge of the image, or past the edge of a gradient.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainers/cnn/plan.h"

namespace brood::cnn {

// Strides and offsets in floats. offset is that of the first pixel of the first image.
struct Layout {
  Shape shape;
  int pixel = 0;
  std::int64_t row = 0, image = 0, offset = 0;
  std::int64_t before = 0;  // from the start of an image, its halo included, to its first pixel
};

struct TensorMemory {
  // A value that no backward pass reads shares its memory with gradients, which come later.
  // All zero: it is never in memory (fusion.h).
  Layout value;
  int value_images = 0;         // of the batch that are there at a time
  Layout gradient;              // only where needs_gradient
  bool needs_gradient = false;  // some parameter lies before it
  // The step whose backward pass writes the gradient first. Gradients that are never needed at the
  // same time share memory: a halo must be cleared then.
  int gradient_birth = -1;
  int gradient_images = 0;  // of the batch that are there at a time
};

// A parameter inside the block of all parameters. A weight is stored in panels of 16 columns,
// [columns / 16][inputs][16], a vector as it is; both padded with zeros.
struct ParameterMemory {
  std::int64_t offset = 0, size = 0;
};

struct StepMemory {
  std::int64_t saved = 0;    // floats kept from forward to backward: of a batch norm's channels
  std::int64_t largest = 0;  // of a batch norm that takes a pool (layers.h)
  std::int64_t bytes = 0;    // in the byte part: dropout masks, places of pooled maxima
  bool mask_input = false, dy_masked = false;  // as a Binding has them (layers.h)
  // Where all readers of a tensor but the last leave their gradient, to be added to the tensor's.
  // Laid out as the tensor's gradient.
  std::int64_t spare = 0;
};

struct Memory {
  std::vector<TensorMemory> tensors;
  std::vector<ParameterMemory> parameters, states;
  std::vector<StepMemory> steps;
  std::int64_t parameter_floats = 0;  // of one copy of all parameters
  std::int64_t parameter_offset = 0, gradient_offset = 0, moment_offset = 0, state_offset = 0;
  std::int64_t state_floats = 0;
  // Averaged parameters and states; only when asked for.
  std::int64_t average_offset = 0, state_average_offset = 0;
  std::int64_t scratch_offset = 0;
  std::int64_t floats = 0;       // of the block
  std::int64_t byte_count = 0;   // of the byte part
  std::int64_t table_bytes = 0;  // address tables and lists of the layers
  std::string too_large;         // why no memory can hold it; empty otherwise

  std::uint64_t total_bytes() const;
};

// moments: copies of the parameters that the optimizer keeps (0, 1 or 2).
Memory make_memory(const Plan& plan, int moments, bool averages = false);

int moment_count(const OptimizerSpec& optimizer);

}  // namespace brood::cnn
