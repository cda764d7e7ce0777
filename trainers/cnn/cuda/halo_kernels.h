// Convolutions of 3x3 between few channels on tensor cores, where reading is the limit: a band of
// an image with the pixels around it lies in shared memory, with the weights of all nine taps, so
// that an element is read once and not nine times. The next band is copied meanwhile.
#pragma once

#include "trainers/cnn/cuda/tensor_kernels.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

// The pixels of tiles. Tiles count bands of rows first, then groups of images.
class HaloTiles {
 public:
  // Of the samples [first, last) of images like this one.
  BROOD_DEVICE HaloTiles(const HaloShape& shape, const Tensor& image, int first, int last)
      : shape_(shape),
        first_(first),
        last_(last),
        height_(image.height),
        width_(image.width),
        bands_(chunks_of(height_, shape.rows)) {}

  BROOD_DEVICE int count() const { return chunks_of(last_ - first_, shape_.images) * bands_; }
  // Of a tile, halo included.
  BROOD_DEVICE int pixels() const { return halo_pixels(shape_, width_); }

  // The pixel of the batch at a place of the halo; -1: outside.
  BROOD_DEVICE int source(int tile, int place) const {
    const int across = width_ + 2, of_image = (shape_.rows + 2) * across;
    const int image = place / of_image, rest = place - image * of_image, row = rest / across;
    return pixel(tile, image, row - 1, rest - row * across - 1);
  }

  // Where the window of row r of the product begins in the halo; rows beyond the tile read the
  // first one's.
  BROOD_DEVICE int window(int r) const {
    const int of_image = shape_.rows * width_, image = r / of_image;
    if (image >= shape_.images) return 0;
    const int rest = r - image * of_image, row = rest / width_;
    return (image * (shape_.rows + 2) + row) * (width_ + 2) + rest - row * width_;
  }

  // The pixel of the batch that row r of the product is; -1: there is none.
  BROOD_DEVICE int target(int tile, int r) const {
    const int of_image = shape_.rows * width_, image = r / of_image;
    if (image >= shape_.images) return -1;
    const int rest = r - image * of_image, row = rest / width_;
    return pixel(tile, image, row, rest - row * width_);
  }

 private:
  BROOD_DEVICE int pixel(int tile, int image, int row, int column) const {
    const int group = tile / bands_, band = tile - group * bands_;
    const int sample = first_ + group * shape_.images + image, y = band * shape_.rows + row;
    const bool inside = sample < last_ && y >= 0 && y < height_ && column >= 0 && column < width_;
    return inside ? (sample * height_ + y) * width_ + column : -1;
  }

  const HaloShape shape_;
  const int first_, last_, height_, width_, bands_;
};

// Copies a tile with its halo, the chunks of inputs from lane0 on; a bit for each of the thread's
// copies that is no padding.
template <int kChunks, int kBlockThreads>
BROOD_DEVICE std::uint32_t copy_halo(const Bf16* from, int pitch, int lane0, const HaloTiles& tiles,
                                     int tile, Bf16* halo) {
  std::uint32_t inside = 0, bit = 1;
  for (int i = thread_index(); i < tiles.pixels() * kChunks; i += kBlockThreads, bit <<= 1U) {
    const int place = i / kChunks, chunk = i - place * kChunks, lane = lane0 + chunk * kChunk;
    const int pixel = tiles.source(tile, place);
    const bool wanted = pixel >= 0 && lane < pitch;
    copy_async(halo + tile_offset<kChunks>(place, chunk),
               wanted ? from + pixel * pitch + lane : from, wanted);
    if (wanted) inside |= bit;
  }
  return inside;
}

// What a batch norm makes of the thread's own copies, rounded as norm_forward() rounds; padding
// stays zero.
template <int kChunks, int kBlockThreads>
BROOD_DEVICE void normalise_halo(const SlotAccess& slot, const NormRead& read, const Tensor& x,
                                 int lane0, int pixels, std::uint32_t inside, Bf16* halo) {
  static_assert(kBlockThreads % kChunks == 0);
  const int chunk = thread_index() % kChunks, channel = lane0 + chunk * kChunk;
  const float* scales = slot.at<float>(read.saved) + norm_place(NormArray::scale, x.channels);
  const float* shifts = slot.at<float>(read.saved) + norm_place(NormArray::shift, x.channels);
  float scale[kChunk], shift[kChunk];
  BROOD_UNROLL for (int i = 0; i < kChunk; ++i) {
    const bool exists = channel + i < x.channels;
    scale[i] = exists ? scales[channel + i] : 0.0F;
    shift[i] = exists ? shifts[channel + i] : 0.0F;
  }
  for (int i = thread_index(); i < pixels * kChunks; i += kBlockThreads, inside >>= 1U) {
    if (!(inside & 1U)) continue;
    auto* place = reinterpret_cast<Bf16x8*>(halo + tile_offset<kChunks>(i / kChunks, chunk));
    Bf16x8 values = *place;
    BROOD_UNROLL for (int n = 0; n < kChunk; ++n) {
      float value = to_float(values.value[n]) * scale[n] + shift[n];
      if (read.relu && value <= 0.0F) value = 0.0F;
      values.value[n] = from_float<Bf16>(value);
    }
    *place = values;
  }
}

// The nine taps of a tile. windows: of the thread's two rows of fragments.
template <int kDepth, int kColumns>
BROOD_DEVICE void multiply_halo(const Bf16* halo, const Bf16* weights, const int (&windows)[2],
                                int across, WarpSums<kColumns / 8>& sums) {
  constexpr int kChunks = kDepth / kChunk;
  const int lane = thread_index() % 32;
  for (int tap = 0; tap < 9; ++tap) {
    const int moved = tap / 3 * across + tap % 3;
    BROOD_UNROLL for (int k = 0; k < kDepth / 16; ++k) {
      std::uint32_t a[2][4], b[kColumns / 16][4];
      BROOD_UNROLL for (int i = 0; i < 2; ++i) load_matrices<false>(
          a[i], halo + tile_offset<kChunks>(windows[i] + moved, 2 * k + lane / 16));
      BROOD_UNROLL for (int j = 0; j < kColumns / 16; ++j) load_matrices<false>(
          b[j], weights + tile_offset<kChunks>(tap * kColumns + j * 16 + lane % 8 + lane / 16 * 8,
                                               2 * k + lane / 8 % 2));
      BROOD_UNROLL for (int i = 0; i < 2; ++i) BROOD_UNROLL for (int j = 0; j < kColumns / 8; ++j)
          multiply_matrices(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }
}

// Block x: kHaloTilesPerBlock tiles one after another; block y: the tile of columns.
template <int kDepth, int kColumns>
BROOD_KERNEL(kHaloThreads, halo_blocks(kDepth, kColumns))
halo_product(const HaloArguments args) {
  constexpr int kChunks = kDepth / kChunk;
  const SlotAccess slot(args.product.group);
  if (slot.idle()) return;
  const HaloTiles tiles(args.shape, args.product.from, 0, slot.samples());
  const int first = block_x() * args.tiles_per_block;
  const int last = smaller(first + args.tiles_per_block, tiles.count());
  const int column0 = block_y() * kColumns, thread = thread_index(), pixels = tiles.pixels();
  if (first >= last) return leave_no_sums(args.product, slot, column0, kColumns);
  const Tensor& read = args.product.from;
  Bf16* weights = shared_memory<Bf16>();
  Bf16* halos = weights + 9 * kColumns * kDepth;
  const Bf16* packed = slot.at<Bf16>(args.product.packed);
  const Bf16* from = slot.at<Bf16>(read);
  for (int i = thread; i < 9 * kColumns * kChunks; i += kHaloThreads) {
    const int row = i / kChunks, chunk = i - row * kChunks, place = row / kColumns;
    const int column = column0 + row - place * kColumns, tap = args.turned ? 8 - place : place;
    const bool wanted = column < args.product.to.channels;
    copy_async(weights + tile_offset<kChunks>(row, chunk),
               wanted ? packed + (column * 9 + tap) * kDepth + chunk * kChunk : packed, wanted);
  }
  const auto load = [&](int tile, int buffer) {
    return copy_halo<kChunks, kHaloThreads>(from, kDepth, 0, tiles, tile,
                                            halos + buffer * pixels * kDepth);
  };
  const int row = thread / 32 * 32 + thread % 16;
  const int windows[2] = {tiles.window(row), tiles.window(row + 16)};
  ColumnSums<kColumns / 8> column_sums;
  std::uint32_t ahead = load(first, 0);
  commit_copies();
  for (int tile = first; tile < last; ++tile) {
    const int buffer = (tile - first) & 1;
    const std::uint32_t inside = ahead;
    if (tile + 1 < last) ahead = load(tile + 1, buffer ^ 1);
    commit_copies();
    wait_copies<1>();
    if (args.read.saved >= 0)
      normalise_halo<kChunks, kHaloThreads>(slot, args.read, read, 0, pixels, inside,
                                            halos + buffer * pixels * kDepth);
    sync_threads();
    WarpSums<kColumns / 8> sums = {};
    multiply_halo<kDepth, kColumns>(halos + buffer * pixels * kDepth, weights, windows,
                                    read.width + 2, sums);
    sync_threads();  // the next copies go where these sums were read
    TilePixels places;
    BROOD_UNROLL for (int i = 0; i < 4; ++i) places[i] =
        tiles.target(tile, tile_row(thread / 32, i));
    store_warp<kColumns / 8>(args.product, slot, places, column0, sums, column_sums);
  }
  if (args.product.sums.partials >= 0)
    leave_sums<kColumns, kHaloThreads>(args.product, slot, column0, column_sums);
}

template <class Visit>
void visit_halo_kernels(Visit& visit) {
  const auto product = [&visit](KernelId id, void (*kernel)(HaloArguments)) {
    visit(id, kernel, kernel, true);
  };
  product(KernelId::halo_16_16, &halo_product<16, 16>);
  product(KernelId::halo_16_32, &halo_product<16, 32>);
  product(KernelId::halo_32_16, &halo_product<32, 16>);
  product(KernelId::halo_32_32, &halo_product<32, 32>);
  product(KernelId::halo_64_16, &halo_product<64, 16>);
  product(KernelId::halo_64_32, &halo_product<64, 32>);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
