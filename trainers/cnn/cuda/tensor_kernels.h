// Convolutions and dense layers on tensor cores: bf16 factors, fp32 sums. Implicit GEMM for any
// kernel, stride, dilation and number of channels.
//
// The depth of a product counts (tap, lane) in chunks of 8 lanes, 16 bytes: a chunk of an image is
// copied to shared memory by cp.async, kTensorStages steps ahead, with zeros where a window leaves
// the image, and read back as fragments by ldmatrix. Chunks of a row are permuted, so that the
// eight rows of a fragment lie in different banks.
#pragma once

#include "trainers/cnn/cuda/column_sums.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

constexpr int kChunk = 8;  // lanes

// A tile of a tap of some layer, read once and written in both orders.
BROOD_KERNEL(kThreads) pack_weights(const PackArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const PackEntry& layer = entry_of_block(args);
  const int across = chunks_of(layer.column_pitch, kPackTile);
  const int tiles = across * chunks_of(layer.input_pitch, kPackTile);
  const int tile = block_x() - layer.first_block, tap = tile / tiles, in_tap = tile - tap * tiles;
  const int input0 = in_tap / across * kPackTile, column0 = in_tap % across * kPackTile;
  const int lane = thread_index() % kPackTile, first = thread_index() / kPackTile;
  const float* weight = slot.at<float>(layer.weight) + tap * layer.inputs * layer.columns;
  float* shared = shared_memory<float>();
  for (int i = first; i < kPackTile; i += kThreads / kPackTile) {
    const int input = input0 + i, column = column0 + lane;
    const bool exists = input < layer.inputs && column < layer.columns;
    const float value = exists ? weight[input * layer.columns + column] : 0.0F;
    shared[i * (kPackTile + 1) + lane] = value;
    if (layer.gradient < 0 || column >= layer.column_pitch) continue;
    if (input >= (layer.dense ? layer.input_pitch : layer.inputs)) continue;
    const int place = layer.dense ? tap * layer.input_pitch + input : input * layer.taps + tap;
    slot.at<Bf16>(layer.gradient)[place * layer.column_pitch + column] = from_float<Bf16>(value);
  }
  sync_threads();
  for (int i = first; i < kPackTile; i += kThreads / kPackTile) {
    const int input = input0 + lane, column = column0 + i;
    if (column < layer.columns && input < layer.input_pitch)
      slot.at<Bf16>(layer.forward)[(column * layer.taps + tap) * layer.input_pitch + input] =
          from_float<Bf16>(shared[lane * (kPackTile + 1) + i]);
  }
}

// Where the chunk of a row lies in a tile with kChunks chunks a row.
template <int kChunks>
BROOD_DEVICE int tile_offset(int row, int chunk) {
  static_assert(kChunks == 2 || kChunks == 4 || kChunks == 8);
  const int moved = kChunks == 8 ? row & 7 : kChunks == 4 ? (row >> 1) & 3 : (row >> 2) & 1;
  return (row * kChunks + (chunk ^ moved)) * kChunk;
}

// Rows of a product are the pixels of `to`. Those of an input gradient are ordered by the remainder
// of their place divided by the stride: pixels of one class are read through the same taps, and no
// others are looked at.
template <bool kGradient>
class PixelRows {
 public:
  struct Row {
    int sample, top, left;  // sample -1: there is none. Of the window of tap (0, 0)
  };

  BROOD_DEVICE PixelRows(const TensorArguments& args, int samples)
      : args_(args),
        across_(kGradient ? args.stride_width : 1),
        down_(kGradient ? args.stride_height : 1),
        samples_(samples) {}

  // The class and the first row of block x's tile; false: it has none.
  BROOD_DEVICE bool find(int tile) {
    for (int c = 0; c < down_ * across_; ++c) {
      row_ = c / across_;
      column_ = c - row_ * across_;
      height_ = (args_.to.height - row_ + down_ - 1) / down_;
      width_ = (args_.to.width - column_ + across_ - 1) / across_;
      const int tiles = chunks_of(samples_ * height_ * width_, kTensorRows);
      if (tile < tiles) {
        first_ = tile * kTensorRows;
        return true;
      }
      tile -= tiles;
    }
    return false;
  }

  BROOD_DEVICE Row row(int r) const {
    const PixelPlace p = place(r);
    if (p.sample < 0) return {-1, 0, 0};
    if constexpr (kGradient) return {p.sample, p.y + args_.pad_top, p.x + args_.pad_left};
    return {p.sample, p.y * args_.stride_height - args_.pad_top,
            p.x * args_.stride_width - args_.pad_left};
  }

  // Of row r: the pixel of the batch; -1: there is none.
  BROOD_DEVICE int pixel(int r) const {
    const PixelPlace p = place(r);
    return p.sample < 0 ? -1 : pixel_index(args_.to, p.sample, p.y, p.x);
  }

  BROOD_DEVICE bool reads(int tap) const {
    if constexpr (!kGradient) return true;
    const int i = tap / args_.kernel_width, j = tap - i * args_.kernel_width;
    return (row_ + args_.pad_top - i * args_.dilation_height) % down_ == 0 &&
           (column_ + args_.pad_left - j * args_.dilation_width) % across_ == 0;
  }

  // The pixel of `from` that a row reads through a tap; -1: outside.
  BROOD_DEVICE int source(const Row& row, int tap) const {
    const int i = tap / args_.kernel_width, j = tap - i * args_.kernel_width;
    int y = row.top, x = row.left;
    if constexpr (kGradient) {
      y -= i * args_.dilation_height;
      x -= j * args_.dilation_width;
      if (y < 0 || x < 0) return -1;
      y /= down_;
      x /= across_;
    } else {
      y += i * args_.dilation_height;
      x += j * args_.dilation_width;
    }
    const bool inside =
        row.sample >= 0 && y >= 0 && y < args_.from.height && x >= 0 && x < args_.from.width;
    return inside ? pixel_index(args_.from, row.sample, y, x) : -1;
  }

 private:
  BROOD_DEVICE PixelPlace place(int r) const {
    const int index = first_ + r, pixels = height_ * width_, sample = index / pixels;
    if (sample >= samples_) return {-1, 0, 0};
    const int rest = index - sample * pixels, y = rest / width_;
    return {sample, y * down_ + row_, (rest - y * width_) * across_ + column_};
  }

  const TensorArguments& args_;
  const int across_, down_, samples_;
  int row_ = 0, column_ = 0, height_ = 0, width_ = 0, first_ = 0;
};

// Lists the taps that the rows read, in order, and returns how many there are. All threads call.
template <class Rows>
BROOD_DEVICE int list_taps(const Rows& rows, int taps, int threads, std::int32_t* list) {
  for (int tap = thread_index(); tap < taps; tap += threads) {
    int before = 0;
    for (int other = 0; other < tap; ++other) before += rows.reads(other);
    if (rows.reads(tap)) list[before] = tap;
    if (tap == taps - 1) list[taps] = before + rows.reads(tap);
  }
  sync_threads();
  return list[taps];
}

template <int kColumns>
struct TensorTile {
  static constexpr int kThreads = tensor_threads(kColumns);
  static constexpr int kChunks = kTensorDepth / kChunk;  // of a row, of one step
  static constexpr int kRowStep = kThreads / kChunks;
  static constexpr int kRowLoads = kTensorRows / kRowStep;
  static constexpr int kColumnLoads = (kColumns + kRowStep - 1) / kRowStep;
  static constexpr int kWarpsAcross = kThreads / 128;  // a warp has 32 rows
  static constexpr int kWarpColumns = kColumns / kWarpsAcross;
  static constexpr int kFragments = kWarpColumns / 8;
  static constexpr int kRowElements = kTensorRows * kTensorDepth;
  static constexpr int kColumnElements = kColumns * kTensorDepth;
};

// One step of the depth from shared memory.
template <int kColumns>
BROOD_DEVICE void multiply_step(const Bf16* rows, const Bf16* columns,
                                WarpSums<TensorTile<kColumns>::kFragments>& sums) {
  using Tile = TensorTile<kColumns>;
  const int lane = thread_index() % 32, warp = thread_index() / 32;
  const int row0 = warp / Tile::kWarpsAcross * 32;
  const int column0 = warp % Tile::kWarpsAcross * Tile::kWarpColumns;
  BROOD_UNROLL for (int k = 0; k < kTensorDepth / 16; ++k) {
    std::uint32_t a[2][4], b[Tile::kFragments / 2][4];
    BROOD_UNROLL for (int i = 0; i < 2; ++i) load_matrices<false>(
        a[i], rows + tile_offset<Tile::kChunks>(row0 + i * 16 + lane % 16, 2 * k + lane / 16));
    BROOD_UNROLL for (int j = 0; j < Tile::kFragments / 2; ++j) load_matrices<false>(
        b[j], columns + tile_offset<Tile::kChunks>(column0 + j * 16 + lane % 8 + lane / 16 * 8,
                                                   2 * k + lane / 8 % 2));
    BROOD_UNROLL for (int i = 0; i < 2; ++i) BROOD_UNROLL for (int j = 0; j < Tile::kFragments; ++j)
        multiply_matrices(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
  }
}

BROOD_DEVICE Bf16x2* pair_at(const SlotAccess& slot, std::int64_t tensor, int place) {
  return reinterpret_cast<Bf16x2*>(slot.at<Bf16>(tensor) + place);
}

// Bias, ReLU, and the two neighbours of a row as one word, which is left in place of the sums.
// place: of the first in `to`.
BROOD_DEVICE void store_pair(const TensorArguments& args, const SlotAccess& slot, const float* bias,
                             int place, int column, float& first, float& second) {
  if (bias) {
    if (column < args.to.channels) first += bias[column];
    if (column + 1 < args.to.channels) second += bias[column + 1];
  }
  if (args.added >= 0) {
    const Bf16x2 added = *pair_at(slot, args.added, place);
    first += to_float(added.value[0]);
    second += to_float(added.value[1]);
  }
  if (args.mask >= 0) {
    const Bf16x2 mask = *pair_at(slot, args.mask, place);
    if (!(to_float(mask.value[0]) > 0.0F)) first = 0.0F;
    if (!(to_float(mask.value[1]) > 0.0F)) second = 0.0F;
  }
  if (args.relu) {
    if (first <= 0.0F) first = 0.0F;
    if (second <= 0.0F) second = 0.0F;
  }
  const Bf16x2 stored = {{from_float<Bf16>(first), from_float<Bf16>(second)}};
  *pair_at(slot, args.to.offset, place) = stored;
  first = to_float(stored.value[0]);
  second = to_float(stored.value[1]);
}

// A thread's part of a tile, and what is to be summed of it. column0: of the warp.
template <int kFragments>
BROOD_DEVICE void store_warp(const TensorArguments& args, const SlotAccess& slot,
                             const TilePixels& pixels, int column0, WarpSums<kFragments>& sums,
                             ColumnSums<kFragments>& column_sums) {
  const float* bias = args.bias < 0 ? nullptr : slot.at<float>(args.bias);
  const int first = column0 + thread_index() % 4 * 2;
  BROOD_UNROLL for (int row = 0; row < 4; ++row) BROOD_UNROLL for (int j = 0; j < kFragments; ++j) {
    const int column = first + j * 8;
    if (pixels[row] >= 0 && column < args.to.pitch)
      store_pair(args, slot, bias, pixels[row] * args.to.pitch + column, column,
                 sums[row / 2][j][row % 2 * 2], sums[row / 2][j][row % 2 * 2 + 1]);
  }
  if (args.sums.partials < 0) return;
  if (args.sums.x < 0)
    add_statistics<kFragments>(sums, pixels, column_sums);
  else
    add_slopes<kFragments>(args, slot, first, sums, pixels, column_sums);
}

// The row of a tile that is the thread's in a warp's fragments: row 0 to 3.
BROOD_DEVICE int tile_row(int warp_row, int row) {
  return warp_row * 32 + row * 8 + thread_index() % 32 / 4;
}

template <int kColumns, class Rows>
BROOD_DEVICE void store_tile(const TensorArguments& args, const SlotAccess& slot, const Rows& rows,
                             int column0, WarpSums<TensorTile<kColumns>::kFragments>& sums) {
  using Tile = TensorTile<kColumns>;
  const int warp = thread_index() / 32;
  TilePixels pixels;
  BROOD_UNROLL for (int row = 0; row < 4; ++row) pixels[row] =
      rows.pixel(tile_row(warp / Tile::kWarpsAcross, row));
  ColumnSums<Tile::kFragments> column_sums;
  store_warp<Tile::kFragments>(args, slot, pixels,
                               column0 + warp % Tile::kWarpsAcross * Tile::kWarpColumns, sums,
                               column_sums);
  if (args.sums.partials < 0) return;
  sync_threads();  // others may still read the last step
  leave_sums<kColumns, Tile::kThreads>(args, slot, column0, column_sums);
}

// to[pixel][column] = sum over (tap, lane) of from * packed. Block x: the tile of pixels, block y:
// that of columns.
template <int kColumns, bool kGradient>
BROOD_KERNEL(TensorTile<kColumns>::kThreads)
tensor_product(const TensorArguments args) {
  using Tile = TensorTile<kColumns>;
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const int column0 = block_y() * kColumns, chunks_of_tap = args.from.pitch / kChunk;
  PixelRows<kGradient> rows(args, slot.samples());
  if (!rows.find(block_x())) return leave_no_sums(args, slot, column0, kColumns);
  Bf16* a = shared_memory<Bf16>();
  Bf16* b = a + kTensorStages * Tile::kRowElements;
  auto* list = reinterpret_cast<std::int32_t*>(b + kTensorStages * Tile::kColumnElements);
  const int all_taps = args.kernel_height * args.kernel_width;
  const int taps = list_taps(rows, all_taps, Tile::kThreads, list);
  const int steps = chunks_of(taps * chunks_of_tap, Tile::kChunks);
  const int chunk = thread_index() % Tile::kChunks, first_row = thread_index() / Tile::kChunks;
  typename PixelRows<kGradient>::Row own[Tile::kRowLoads];
  BROOD_UNROLL for (int i = 0; i < Tile::kRowLoads; ++i) own[i] =
      rows.row(first_row + i * Tile::kRowStep);
  const Bf16* from = slot.at<Bf16>(args.from);
  const Bf16* packed = slot.at<Bf16>(args.packed);
  const auto load = [&](int step, int stage) {
    const int at = step * Tile::kChunks + chunk, listed = at / chunks_of_tap;
    const int lane = (at - listed * chunks_of_tap) * kChunk;
    const int tap = listed < taps ? list[listed] : -1;
    BROOD_UNROLL for (int i = 0; i < Tile::kRowLoads; ++i) {
      const int row = first_row + i * Tile::kRowStep;
      const int pixel = tap < 0 ? -1 : rows.source(own[i], tap);
      copy_async(a + stage * Tile::kRowElements + tile_offset<Tile::kChunks>(row, chunk),
                 pixel < 0 ? from : from + pixel * args.from.pitch + lane, pixel >= 0);
    }
    BROOD_UNROLL for (int i = 0; i < Tile::kColumnLoads; ++i) {
      const int column = first_row + i * Tile::kRowStep;
      if (column >= kColumns) continue;
      const bool wanted = tap >= 0 && column0 + column < args.to.channels;
      const int place = ((column0 + column) * all_taps + tap) * args.from.pitch + lane;
      copy_async(b + stage * Tile::kColumnElements + tile_offset<Tile::kChunks>(column, chunk),
                 wanted ? packed + place : packed, wanted);
    }
  };
  WarpSums<Tile::kFragments> sums = {};
  BROOD_UNROLL for (int i = 0; i < kTensorStages - 1; ++i) {
    if (i < steps) load(i, i);
    commit_copies();
  }
  for (int step = 0; step < steps; ++step) {
    wait_copies<kTensorStages - 2>();
    sync_threads();
    const int ahead = step + kTensorStages - 1;
    if (ahead < steps) load(ahead, ahead % kTensorStages);
    commit_copies();
    const int stage = step % kTensorStages;
    multiply_step<kColumns>(a + stage * Tile::kRowElements, b + stage * Tile::kColumnElements,
                            sums);
  }
  store_tile<kColumns>(args, slot, rows, column0, sums);
}

// A step of a weight gradient: x and dy of kTensorDepth pixels, from shared memory, transposed.
template <int kColumns>
BROOD_DEVICE void multiply_pixels(const Bf16* x, const Bf16* dy, WarpSums<kColumns / 16>& sums) {
  constexpr int kRowChunks = kGradientRows / kChunk, kColumnChunks = kColumns / kChunk;
  const int lane = thread_index() % 32, warp = thread_index() / 32;
  const int row_chunk = warp / 2 * 4, column_chunk = warp % 2 * (kColumnChunks / 2);
  BROOD_UNROLL for (int k = 0; k < kTensorDepth / 16; ++k) {
    std::uint32_t a[2][4], b[kColumns / 32][4];
    BROOD_UNROLL for (int i = 0; i < 2; ++i)
        load_matrices<true>(a[i], x + tile_offset<kRowChunks>(k * 16 + lane % 8 + lane / 16 * 8,
                                                              row_chunk + i * 2 + lane / 8 % 2));
    BROOD_UNROLL for (int j = 0; j < kColumns / 32; ++j) load_matrices<true>(
        b[j],
        dy + tile_offset<kColumnChunks>(k * 16 + lane % 16, column_chunk + j * 2 + lane / 16));
    BROOD_UNROLL for (int i = 0; i < 2; ++i) BROOD_UNROLL for (int j = 0; j < kColumns / 16; ++j)
        multiply_matrices(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
  }
}

template <int kColumns>
BROOD_DEVICE void store_gradient(const ProductArguments& args, const SlotAccess& slot, int row0,
                                 int column0, const WarpSums<kColumns / 16>& sums) {
  const int lane = thread_index() % 32, warp = thread_index() / 32;
  const int taps = args.kernel_height * args.kernel_width;
  float* to = slot.at<float>(args.weight);
  if (args.chunk > 0)
    to = slot.at<float>(args.partials) +
         std::int64_t{block_y()} * taps * args.x.channels * args.y.channels;
  BROOD_UNROLL for (int i = 0; i < 2; ++i) BROOD_UNROLL for (int half = 0; half < 2; ++half) {
    const int row = row0 + warp / 2 * 32 + i * 16 + half * 8 + lane / 4;
    const int tap = row / args.x.pitch, channel = row - tap * args.x.pitch;
    if (tap >= taps || channel >= args.x.channels) continue;
    BROOD_UNROLL for (int j = 0; j < kColumns / 16; ++j) BROOD_UNROLL for (int n = 0; n < 2; ++n) {
      const int column = column0 + warp % 2 * (kColumns / 2) + j * 8 + lane % 4 * 2 + n;
      if (column < args.y.channels)
        to[(tap * args.x.channels + channel) * args.y.channels + column] = sums[i][j][2 * half + n];
    }
  }
}

// dw[(tap, channel)][column] = sum over pixels of a chunk of images of x * dy. Block x: the tile,
// block y: the chunk.
template <int kColumns>
BROOD_KERNEL(kGradientThreads)
tensor_weight_gradient(const ProductArguments args) {
  constexpr int kRowChunks = kGradientRows / kChunk, kColumnChunks = kColumns / kChunk;
  constexpr int kRowElements = kGradientRows * kTensorDepth;
  constexpr int kColumnElements = kColumns * kTensorDepth;
  constexpr int kRowStep = kGradientThreads / kRowChunks;        // pixels
  constexpr int kColumnStep = kGradientThreads / kColumnChunks;  // pixels
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const int pixels = image_pixels(args.y), first = block_y() * args.chunk * pixels;
  const int last = args.chunk > 0 ? smaller(slot.samples() * pixels, first + args.chunk * pixels)
                                  : slot.samples() * pixels;
  if (first >= last) return;
  const int across = chunks_of(args.y.channels, kColumns);
  const int row0 = block_x() / across * kGradientRows, column0 = block_x() % across * kColumns;
  const int chunks_of_tap = args.x.pitch / kChunk, taps = args.kernel_height * args.kernel_width;
  Bf16* a = shared_memory<Bf16>();
  Bf16* b = a + kTensorStages * kRowElements;
  const Bf16* x = slot.at<Bf16>(args.x);
  const Bf16* dy = slot.at<Bf16>(args.y);
  // A thread copies the same chunk of each pixel.
  const int chunk = thread_index() % kRowChunks, at = row0 / kChunk + chunk;
  const int tap = at / chunks_of_tap, lane = (at - tap * chunks_of_tap) * kChunk;
  const int top = tap / args.kernel_width * args.dilation_height - args.pad_top;
  const int left = tap % args.kernel_width * args.dilation_width - args.pad_left;
  const int column_chunk = thread_index() % kColumnChunks, column = column0 + column_chunk * kChunk;
  const auto load = [&](int step, int stage) {
    const int pixel0 = first + step * kTensorDepth;
    BROOD_UNROLL for (int i = 0; i < kTensorDepth / kRowStep; ++i) {
      const int row = thread_index() / kRowChunks + i * kRowStep;
      bool wanted = pixel0 + row < last && tap < taps;
      const PixelPlace p = pixel_of(wanted ? pixel0 + row : 0, args.y);
      const int py = p.y * args.stride_height + top, px = p.x * args.stride_width + left;
      wanted = wanted && py >= 0 && py < args.x.height && px >= 0 && px < args.x.width;
      const int place = pixel_index(args.x, p.sample, py, px) * args.x.pitch + lane;
      copy_async(a + stage * kRowElements + tile_offset<kRowChunks>(row, chunk),
                 wanted ? x + place : x, wanted);
    }
    BROOD_UNROLL for (int i = 0; i < kTensorDepth / kColumnStep; ++i) {
      const int row = thread_index() / kColumnChunks + i * kColumnStep;
      const bool wanted = pixel0 + row < last && column < args.y.pitch;
      copy_async(b + stage * kColumnElements + tile_offset<kColumnChunks>(row, column_chunk),
                 wanted ? dy + (pixel0 + row) * args.y.pitch + column : dy, wanted);
    }
  };
  WarpSums<kColumns / 16> sums = {};
  const int steps = chunks_of(last - first, kTensorDepth);
  BROOD_UNROLL for (int i = 0; i < kTensorStages - 1; ++i) {
    if (i < steps) load(i, i);
    commit_copies();
  }
  for (int step = 0; step < steps; ++step) {
    wait_copies<kTensorStages - 2>();
    sync_threads();
    const int ahead = step + kTensorStages - 1;
    if (ahead < steps) load(ahead, ahead % kTensorStages);
    commit_copies();
    const int stage = step % kTensorStages;
    multiply_pixels<kColumns>(a + stage * kRowElements, b + stage * kColumnElements, sums);
  }
  store_gradient<kColumns>(args, slot, row0, column0, sums);
}

template <class Visit>
void visit_tensor_kernels(Visit& visit) {
  // All of them work on bf16.
  visit(KernelId::pack_weights, &pack_weights, &pack_weights, true);
  const auto product = [&visit](KernelId id, void (*kernel)(TensorArguments)) {
    visit(id, kernel, kernel, true);
  };
  product(KernelId::tensor_forward_16, &tensor_product<16, false>);
  product(KernelId::tensor_forward_32, &tensor_product<32, false>);
  product(KernelId::tensor_forward_64, &tensor_product<64, false>);
  product(KernelId::tensor_input_gradient_16, &tensor_product<16, true>);
  product(KernelId::tensor_input_gradient_32, &tensor_product<32, true>);
  product(KernelId::tensor_input_gradient_64, &tensor_product<64, true>);
  visit(KernelId::tensor_weight_gradient_32, &tensor_weight_gradient<32>,
        &tensor_weight_gradient<32>, true);
  visit(KernelId::tensor_weight_gradient_64, &tensor_weight_gradient<64>,
        &tensor_weight_gradient<64>, true);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
