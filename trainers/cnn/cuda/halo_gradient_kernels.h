// Weight gradients of 3x3 convolutions on tensor cores: x with its halo and dy of a band lie in
// shared memory and are read once for all nine taps.
#pragma once

#include "trainers/cnn/cuda/halo_kernels.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

// What a warp of a weight gradient sums: a row of the kernel for 16 outputs and 16 inputs.
struct HaloWarp {
  int kernel_row, output, input;  // output, input: the first of a chunk of 16, in the tile
};

template <int kInputs, int kOutputs>
BROOD_DEVICE HaloWarp halo_warp() {
  constexpr int kAcross = kInputs / 16, kDown = kOutputs / 16;
  const int warp = thread_index() / 32, rest = warp / kAcross;
  return {rest / kDown, rest % kDown * 16, warp % kAcross * 16};
}

using HaloSums = float[3][2][4];  // [tap of the row][8 inputs]

// The pixels of a tile.
template <int kInputs, int kOutputs>
BROOD_DEVICE void sum_halo(const Bf16* halo, const Bf16* dy, const HaloTiles& tiles, int pixels,
                           int across, HaloSums& sums) {
  constexpr int kInputChunks = kInputs / kChunk, kOutputChunks = kOutputs / kChunk;
  const HaloWarp warp = halo_warp<kInputs, kOutputs>();
  const int lane = thread_index() % 32;
  for (int first = 0; first < pixels; first += 16) {
    std::uint32_t a[4];
    load_matrices<true>(a, dy + tile_offset<kOutputChunks>(first + lane % 8 + lane / 16 * 8,
                                                           warp.output / kChunk + lane / 8 % 2));
    const int window = tiles.window(first + lane % 16) + warp.kernel_row * across;
    BROOD_UNROLL for (int tap = 0; tap < 3; ++tap) {
      std::uint32_t b[4];
      load_matrices<true>(
          b, halo + tile_offset<kInputChunks>(window + tap, warp.input / kChunk + lane / 16));
      multiply_matrices(sums[tap][0], a, b[0], b[1]);
      multiply_matrices(sums[tap][1], a, b[2], b[3]);
    }
  }
}

template <int kInputs, int kOutputs>
BROOD_DEVICE void store_halo_gradient(const ProductArguments& args, float* to, int input0,
                                      int output0, const HaloSums& sums) {
  const HaloWarp warp = halo_warp<kInputs, kOutputs>();
  const int lane = thread_index() % 32;
  BROOD_UNROLL for (int tap = 0; tap < 3; ++tap) BROOD_UNROLL for (int j = 0; j < 2; ++j)
      BROOD_UNROLL for (int n = 0; n < 4; ++n) {
    const int output = output0 + warp.output + n / 2 * 8 + lane / 4;
    const int input = input0 + warp.input + j * 8 + lane % 4 * 2 + n % 2;
    if (output < args.y.channels && input < args.x.channels)
      to[((warp.kernel_row * 3 + tap) * args.x.channels + input) * args.y.channels + output] =
          sums[tap][j][n];
  }
}

// dw[(tap, input)][output] = sum over pixels of a chunk of images of x * dy. Block x: the tile of
// inputs and outputs, block y: the chunk.
template <int kInputs, int kOutputs>
BROOD_KERNEL(halo_gradient_threads(kInputs, kOutputs), halo_gradient_blocks(kInputs, kOutputs))
halo_gradient(const HaloGradientArguments args) {
  constexpr int kBlockThreads = halo_gradient_threads(kInputs, kOutputs);
  constexpr int kInputChunks = kInputs / kChunk, kOutputChunks = kOutputs / kChunk;
  const ProductArguments& p = args.product;
  const SlotAccess slot(p.group);
  if (slot.idle()) return;
  const int first = block_y() * p.chunk;
  const int last = p.chunk > 0 ? smaller(slot.samples(), first + p.chunk) : slot.samples();
  if (first >= last) return;
  const HaloTiles tiles(args.shape, p.x, first, last);
  const int across = chunks_of(p.y.pitch, kOutputs), thread = thread_index();
  const int input0 = block_x() / across * kInputs, output0 = block_x() % across * kOutputs;
  const int pixels = tiles.pixels(), rows = args.shape.images * args.shape.rows * p.x.width;
  Bf16* halos = shared_memory<Bf16>();
  Bf16* slopes = halos + 2 * pixels * kInputs;
  const Bf16* x = slot.at<Bf16>(p.x);
  const Bf16* dy = slot.at<Bf16>(p.y);
  const auto load = [&](int tile, int buffer) {
    const std::uint32_t inside = copy_halo<kInputChunks, kBlockThreads>(
        x, p.x.pitch, input0, tiles, tile, halos + buffer * pixels * kInputs);
    for (int i = thread; i < kTensorRows * kOutputChunks; i += kBlockThreads) {
      const int row = i / kOutputChunks, chunk = i - row * kOutputChunks;
      const int pixel = row < rows ? tiles.target(tile, row) : -1;
      const int lane = output0 + chunk * kChunk;
      const bool wanted = pixel >= 0 && lane < p.y.pitch;
      copy_async(slopes + buffer * kTensorRows * kOutputs + tile_offset<kOutputChunks>(row, chunk),
                 wanted ? dy + pixel * p.y.pitch + lane : dy, wanted);
    }
    return inside;
  };
  HaloSums sums = {};
  std::uint32_t ahead = load(0, 0);
  commit_copies();
  for (int tile = 0; tile < tiles.count(); ++tile) {
    const int buffer = tile & 1;
    const std::uint32_t inside = ahead;
    if (tile + 1 < tiles.count()) ahead = load(tile + 1, buffer ^ 1);
    commit_copies();
    wait_copies<1>();
    if (args.read.saved >= 0)
      normalise_halo<kInputChunks, kBlockThreads>(slot, args.read, p.x, input0, pixels, inside,
                                                  halos + buffer * pixels * kInputs);
    sync_threads();
    sum_halo<kInputs, kOutputs>(halos + buffer * pixels * kInputs,
                                slopes + buffer * kTensorRows * kOutputs, tiles, rows,
                                p.x.width + 2, sums);
    sync_threads();  // the next copies go where these sums were read
  }
  float* to = slot.at<float>(p.weight);
  if (p.chunk > 0)
    to = slot.at<float>(p.partials) + std::int64_t{block_y()} * 9 * p.x.channels * p.y.channels;
  store_halo_gradient<kInputs, kOutputs>(p, to, input0, output0, sums);
}

template <class Visit>
void visit_halo_gradient_kernels(Visit& visit) {
  const auto gradient = [&visit](KernelId id, void (*kernel)(HaloGradientArguments)) {
    visit(id, kernel, kernel, true);
  };
  gradient(KernelId::halo_gradient_16_16, &halo_gradient<16, 16>);
  gradient(KernelId::halo_gradient_16_32, &halo_gradient<16, 32>);
  gradient(KernelId::halo_gradient_32_16, &halo_gradient<32, 16>);
  gradient(KernelId::halo_gradient_32_32, &halo_gradient<32, 32>);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
