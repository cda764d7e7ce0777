// The one parameter of each kernel, as plain data. Offsets are bytes from the start of a slot.
#pragma once

#include <cstdint>

#include "trainers/cnn/cuda/device_memory.h"
#include "trainers/cnn/cuda/launch.h"
#include "trainers/cnn/cuda/slot.h"

namespace brood::cnn::cuda {

// --- what kernels leave in a slot for one another ---

// What becomes of an image by one change: pixels it moves, or the corner of its hole; flip: down is
// 1 where it is flipped.
struct Move {
  std::int16_t down = 0, right = 0;
};

// Of a sample of the batch under way.
struct Draw {
  std::uint32_t sample = 0, partner = 0;
  double share = 1.0;  // of the sample's own pixels and label, a half or more
  Move own[kChangesMax], other[kChangesMax];
};

struct SampleLabel {
  std::int32_t own = 0, partner = 0;
  double share = 1.0;
};

struct SampleLoss {
  double loss = 0.0;
  std::int64_t correct = 0;
};

// --- reductions: shapes that depend on a layer alone, never on batch or trials ---

// Sums over pixels of a batch: a block's threads are kChannelLanes channels by kPixelLanes pixels,
// and it takes kChunkPixels pixels. The chunks' sums lie side by side in the slot's partials.
constexpr int kChannelLanes = 32, kPixelLanes = 8, kChunkPixels = 256;
constexpr int kThreads = kChannelLanes * kPixelLanes;  // of all kernels but the products
constexpr int kSums = 4;                               // sums over threads in one kernel
constexpr int kSumSharedBytes = 8 * kSums * kThreads;

// Sums over partials of a batch norm: a block's threads are kNormChannels channels by lanes.
constexpr int kNormChannels = 8;

constexpr int kVectorLanes = 8;  // of bf16 that a thread takes at once

// A weight gradient's chunk is a number of whole images.
constexpr int kGradientPixels = 4096;
constexpr int images_per_chunk(int pixels_of_image) {
  return pixels_of_image >= kGradientPixels ? 1 : kGradientPixels / pixels_of_image;
}

constexpr int kSquareChunk = 4096;  // parameters of a block of norm_of_gradients

// fp32 products: tiles of the result and the threads that compute one, 4x4 elements each.
constexpr int kTileRows = 64, kTileColumns = 32, kTileDepth = 16;
constexpr int kProductThreads = kTileRows / 4 * (kTileColumns / 4);
constexpr int kProductSharedBytes = 4 * kTileDepth * (kTileRows + 4 + kTileColumns + 4);

// --- parameters ---

struct StepArguments {
  Group group;
  std::int64_t draws, order, order_stride;
  const std::uint32_t* pool;
  std::int64_t pool_count;
  std::int32_t height, width;
};

struct GatherArguments {
  Group group;
  Tensor image;
  std::int64_t draws, labels;
  const std::uint8_t* pixels;
  const std::uint16_t* all_labels;
  // Of the part evaluated; part 0: validation, 1: test.
  const std::uint32_t* samples;
  std::int64_t part_samples, class_tallies;
  std::int32_t part, batch_max, classes;
};

// A convolution or a dense layer, whose kernel is as large as its image. x and y are values or
// gradients, as the kernel's name says.
struct ProductArguments {
  Group group;
  Tensor x, y;
  std::int64_t weight, bias;  // bias: -1 without one. weight: where to, of its gradient
  std::int64_t partials;
  std::int32_t kernel_height, kernel_width, stride_height, stride_width;
  std::int32_t dilation_height, dilation_width, pad_top, pad_left;
  std::int32_t relu;
  std::int32_t accumulate;  // add to x's gradient
  std::int32_t chunk;       // images of a partial weight gradient; 0: there are no partials
};

struct MaskArguments {
  Group group;
  Tensor y, dy;
  std::int64_t partials;
  std::int32_t relu;
};

struct PoolArguments {
  Group group;
  Tensor x, y;          // values, or gradients of both
  std::int64_t places;  // of the maxima: a byte for each element of y
  std::int32_t kernel_height, kernel_width, stride_height, stride_width;
  std::int32_t pad_top, pad_left;
  std::int32_t accumulate;
};

// The arrays that a batch norm keeps from forward to backward, floats, an entry per channel.
enum class NormArray : int { mean, inverse, scale, shift, constant, linear };
constexpr int kNormArraysKept = 6;
constexpr int norm_place(NormArray which, int channels) {
  return static_cast<int>(which) * channels;
}

// saved: the arrays; partials: doubles [part][kind][channel].
struct NormArguments {
  Group group;
  Tensor x, y, dx, dy;
  std::int64_t scale, shift, scale_gradient, shift_gradient;
  std::int64_t mean, variance, saved, partials;
  std::int32_t relu, train, accumulate;
  std::int32_t parts;  // partials that a product has left; 0: one for each chunk of pixels
};

// norm.y, norm.dy: the maxima behind the norm, and their gradient.
struct NormPoolArguments {
  NormArguments norm;
  std::int64_t places;    // a byte for each element of the maxima
  std::int64_t selected;  // like the maxima: where to put what the norm reads there; -1: nowhere
};

// norm.y, norm.dy: the sum of the norm's values and others, and its gradient.
struct NormAddArguments {
  NormArguments norm;
  Tensor other;
  std::int32_t relu;  // of the sum
};

struct ElementArguments {
  Group group;
  Tensor a, b, x, y;  // y is written; the others as the kernel needs them
  std::int64_t dropouts;
  std::int32_t site;        // of a dropout layer
  std::int32_t activation;  // Activation
  std::int32_t relu, accumulate, train;
  float slope;
};

struct CopyArguments {
  Group group;
  Tensor from, to;
  std::int32_t from_first, to_first, channels;
  std::int32_t zeros;  // lanes behind them that become zero
  std::int32_t accumulate;
};

struct LossArguments {
  Group group;
  Tensor logits, slopes;
  std::int64_t labels, losses, class_tallies;
  std::int64_t part_samples;  // of the part evaluated
  std::int32_t train;
  std::int32_t part;  // evaluated
};

struct UpdateArguments {
  Group group;
  std::int64_t parameters, gradients, first, second, average;  // average: -1 without one
  std::int64_t states, average_states, partials;
  std::int64_t count, state_count;
};

// Many layers in one launch: each entry has the blocks from its first_block on.
constexpr int kTableMax = 64;
template <class Entry>
struct TableArguments {
  Group group;
  std::int32_t count;
  Entry entries[kTableMax];
};

// Sums of chunks that make a gradient: of a weight in floats, of a bias in doubles.
struct SumEntry {
  std::int64_t partials, to;
  std::int32_t count;            // numbers of a chunk
  std::int32_t items_per_chunk;  // of items_per_sample
  std::int32_t items_per_sample;
  std::int32_t bias;
  std::int32_t first_block;
};
using SumArguments = TableArguments<SumEntry>;

// A layer's weights, [tap][input][column], as tensor cores read them: bf16 [row][tap][lane], padded
// with zeros. Rows are columns and lanes inputs, or the other way round for the input gradient. Of
// a dense layer's input gradient a row is a tap's input, padded like the image.
struct PackEntry {
  std::int64_t weight, forward, gradient;  // gradient: -1 where there is none
  std::int32_t taps, inputs, columns, input_pitch, column_pitch;
  std::int32_t dense;
  std::int32_t first_block;
};
using PackArguments = TableArguments<PackEntry>;
constexpr int kPackTile = 32;  // inputs and columns of a tap that a block takes
constexpr int kPackSharedBytes = 4 * kPackTile * (kPackTile + 1);

// What a product on tensor cores sums over the pixels that it writes, for a batch norm that reads
// them, or whose values' gradient they are (column_sums.h).
struct ColumnSumArguments {
  std::int64_t partials = -1;  // -1: nothing
  // Of a gradient: what the norm reads, or of that what its pool selects, like `to`; -1:
  // statistics.
  std::int64_t x = -1;
  std::int64_t saved = -1;  // of a gradient: the norm's
  std::int32_t relu = 0;    // of a gradient: the norm's
};

// A product on tensor cores. from is read, to written: x and y, or their gradients the other way
// round. A dense layer's image is one pixel with all its lanes as channels.
struct TensorArguments {
  Group group;
  Tensor from, to;
  std::int64_t packed = -1, bias = -1;  // bias: -1 without one
  std::int64_t added = -1;              // like `to`: what is added, perhaps what `to` has; -1: none
  std::int64_t mask = -1;               // like `to`: nothing goes where it is not above zero
  std::int32_t kernel_height, kernel_width, stride_height, stride_width;
  std::int32_t dilation_height, dilation_width, pad_top, pad_left;
  std::int32_t relu = 0;
  ColumnSumArguments sums;
};

// A tile of a convolution with a kernel of 3x3 that keeps the size of the image: a band of rows of
// some images, at most kTensorRows pixels.
struct HaloShape {
  std::int32_t rows = 0, images = 0;
};

// What is read of a convolution's input: as it is, or what a batch norm makes of it.
struct NormRead {
  std::int64_t saved = -1;  // the norm's; -1: as it is
  std::int32_t relu = 0;
};

// Such a convolution, or its input gradient.
struct HaloArguments {
  TensorArguments product;
  NormRead read;
  HaloShape shape;
  std::int32_t tiles_per_block;
  std::int32_t turned;  // the kernel, by half a turn: for the input gradient
};

struct HaloGradientArguments {
  ProductArguments product;
  NormRead read;  // of x
  HaloShape shape;
};

// Tiles on tensor cores: kTensorRows pixels by 16, 32 or 64 channels; of a weight gradient
// kGradientRows inputs by 32 or 64 channels. Depth goes in steps of kTensorDepth, three ahead.
constexpr int kTensorRows = 128, kTensorDepth = 32, kTensorStages = 3;
constexpr int kGradientRows = 64, kGradientThreads = 128;
constexpr int kTapsMax = 1024;

// Of halo tiles: pixels with the halo of one tile, which lies in shared memory twice, beside the
// weights of all nine taps.
constexpr int kHaloThreads = 128, kHaloTilesPerBlock = 4;
constexpr int halo_pixels(const HaloShape& tile, int width) {
  return tile.images * (tile.rows + 2) * (width + 2);
}
// Copies of 16 bytes that a thread makes of a tile; a norm's values are made where they are few.
constexpr int halo_copies(int pixels, int depth, int threads) {
  return (pixels * depth / kVectorLanes + threads - 1) / threads;
}
constexpr int kHaloCopiesMax = 32;
constexpr int halo_columns(int channels) { return channels <= 16 ? 16 : 32; }
constexpr int halo_shared_bytes(int pixels, int depth, int columns) {
  return 2 * depth * (2 * pixels + 9 * columns);
}
// Blocks of a multiprocessor that should find registers, as more than without would find shared
// memory; 0: as many as do.
constexpr int halo_blocks(int depth, int columns) { return depth + columns == 32 ? 8 : 0; }
// Of a weight gradient: a warp has 16 inputs, 16 outputs and a row of the kernel.
constexpr int halo_gradient_threads(int inputs, int outputs) {
  return 3 * 32 * (inputs / 16) * (outputs / 16);
}
constexpr int halo_gradient_blocks(int inputs, int outputs) {
  return inputs + outputs == 32 ? 9 : inputs + outputs == 48 ? 4 : 0;
}
constexpr int halo_gradient_bytes(int pixels, int inputs, int outputs) {
  return 2 * 2 * (pixels * inputs + kTensorRows * outputs);
}
// Of a block's sums over its pixels: kSumRows threads have some of each column.
constexpr int kSumRows = 32, kSumPadding = 8;
constexpr int column_sum_bytes(int columns, int threads) {
  return 8 * 3 * threads + 4 * (2 * kSumRows * (columns + kSumPadding) + kSumRows);
}
// Shared memory of a block that all devices from sm_80 on have.
constexpr int kSharedBytesMax = 99 * 1024;

constexpr int tensor_columns(int channels) {
  return channels <= 16 ? 16 : channels <= 32 ? 32 : 64;
}
constexpr int gradient_columns(int channels) { return channels <= 32 ? 32 : 64; }
constexpr int tensor_threads(int columns) { return columns <= 32 ? 128 : 256; }
constexpr int tensor_shared_bytes(int columns, int taps) {
  return 2 * kTensorStages * kTensorDepth * (kTensorRows + columns) + 4 * (taps + 1);
}
constexpr int gradient_shared_bytes(int columns) {
  return 2 * kTensorStages * kTensorDepth * (kGradientRows + columns);
}

}  // namespace brood::cnn::cuda
