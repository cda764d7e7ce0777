// Sums over the pixels that a product on tensor cores writes, a column each, so that no pass of its
// own reads them again: a batch norm's statistics where the product is its input, and the sums of
// its gradient where the product is the gradient of its values. They are of what is stored, rounded
// to bf16, and a block's partials lie in the slot as norm_kernels.h has them.
#pragma once

#include "trainers/cnn/cuda/slot_access.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

// The sums of a warp: 2 x kFragments fragments of 16x8. A thread has four rows, [i][.][2 half ...],
// and two columns of each fragment.
template <int kFragments>
using WarpSums = float[2][kFragments][4];

// Of a thread's columns over its pixels: the mean and the squares around it, or the sums of slopes
// and of slopes times the distance from the mean.
template <int kFragments>
struct ColumnSums {
  float count = 0.0F;  // pixels
  float first[kFragments][2] = {}, second[kFragments][2] = {};
};

// A thread's four pixels of a tile, of the batch; -1: there is none.
using TilePixels = int[4];

// By the formulas of Chan, Golub and LeVeque (Updating Formulae and a Pairwise Algorithm for
// Computing Sample Variances, 1979).
template <int kFragments>
BROOD_DEVICE void add_statistics(const WarpSums<kFragments>& values, const TilePixels& pixels,
                                 ColumnSums<kFragments>& sums) {
  float count = 0.0F;
  BROOD_UNROLL for (int row = 0; row < 4; ++row) count += pixels[row] >= 0 ? 1.0F : 0.0F;
  if (count == 0.0F) return;
  const float one = 1.0F / count, total = sums.count + count, share = count / total;
  const float weight = sums.count * share;
  sums.count = total;
  BROOD_UNROLL for (int j = 0; j < kFragments; ++j) BROOD_UNROLL for (int n = 0; n < 2; ++n) {
    float mean = 0.0F, squares = 0.0F;
    BROOD_UNROLL for (int row = 0; row < 4; ++row) if (pixels[row] >= 0) mean +=
        values[row / 2][j][row % 2 * 2 + n];
    mean *= one;
    BROOD_UNROLL for (int row = 0; row < 4; ++row) {
      const float distance = values[row / 2][j][row % 2 * 2 + n] - mean;
      if (pixels[row] >= 0) squares = multiply_add(distance, distance, squares);
    }
    const float moved = mean - sums.first[j][n];
    sums.first[j][n] += moved * share;
    sums.second[j][n] += squares + moved * moved * weight;
  }
}

// column0: the thread's first column.
template <int kFragments>
BROOD_DEVICE void add_slopes(const TensorArguments& args, const SlotAccess& slot, int column0,
                             const WarpSums<kFragments>& values, const TilePixels& pixels,
                             ColumnSums<kFragments>& sums) {
  const ColumnSumArguments& norm = args.sums;
  const int channels = args.to.channels;
  const float* means = slot.at<float>(norm.saved) + norm_place(NormArray::mean, channels);
  const float* scales = slot.at<float>(norm.saved) + norm_place(NormArray::scale, channels);
  const float* shifts = slot.at<float>(norm.saved) + norm_place(NormArray::shift, channels);
  BROOD_UNROLL for (int j = 0; j < kFragments; ++j) {
    const int column = column0 + j * 8;
    if (column >= channels) continue;
    // The second column may be padding: what becomes of it is not read.
    const int second = column + 1 < channels ? column + 1 : column;
    const float mean[2] = {means[column], means[second]};
    const float scale[2] = {scales[column], scales[second]};
    const float shift[2] = {shifts[column], shifts[second]};
    BROOD_UNROLL for (int row = 0; row < 4; ++row) {
      if (pixels[row] < 0) continue;
      const int place = pixels[row] * args.to.pitch + column;
      const Bf16x2 x = *reinterpret_cast<const Bf16x2*>(slot.at<Bf16>(norm.x) + place);
      BROOD_UNROLL for (int n = 0; n < 2; ++n) {
        const float value = to_float(x.value[n]);
        float slope = values[row / 2][j][row % 2 * 2 + n];
        if (norm.relu && !(value * scale[n] + shift[n] > 0.0F)) slope = 0.0F;
        sums.first[j][n] += slope;
        sums.second[j][n] = multiply_add(slope, value - mean[n], sums.second[j][n]);
      }
    }
  }
}

BROOD_DEVICE int column_kinds(const TensorArguments& args) { return args.sums.x < 0 ? 3 : 2; }

BROOD_DEVICE double* column_partial(const TensorArguments& args, const SlotAccess& slot,
                                    int column) {
  return slot.at<double>(args.sums.partials) +
         std::int64_t{block_x()} * column_kinds(args) * args.to.channels + column;
}

// Of a block without a pixel.
BROOD_DEVICE void leave_no_sums(const TensorArguments& args, const SlotAccess& slot, int column0,
                                int columns) {
  const int column = column0 + thread_index();
  if (args.sums.partials < 0 || thread_index() >= columns || column >= args.to.channels) return;
  double* partial = column_partial(args, slot, column);
  for (int kind = 0; kind < column_kinds(args); ++kind) partial[kind * args.to.channels] = 0.0;
}

// The block's sums over all its threads. Shared memory is free by then; all threads call.
template <int kColumns, int kBlockThreads, int kFragments>
BROOD_DEVICE void leave_sums(const TensorArguments& args, const SlotAccess& slot, int column0,
                             const ColumnSums<kFragments>& sums) {
  // kSumRows threads have sums of a column; then kParts threads each add up some of those.
  constexpr int kAcross = kColumns / (8 * kFragments), kParts = kBlockThreads / kColumns;
  constexpr int kPitch = kColumns + kSumPadding;
  static_assert(kBlockThreads / 32 / kAcross * 8 == kSumRows && kSumRows % kParts == 0);
  double* totals = shared_memory<double>();  // [kind][part][column]
  auto* firsts = reinterpret_cast<float*>(totals + 3 * kBlockThreads);
  float *seconds = firsts + kSumRows * kPitch, *counts = seconds + kSumRows * kPitch;
  const int thread = thread_index(), lane = thread % 32, warp = thread / 32;
  const int row = warp / kAcross * 8 + lane / 4;
  const int place = row * kPitch + warp % kAcross * (8 * kFragments) + lane % 4 * 2;
  BROOD_UNROLL for (int j = 0; j < kFragments; ++j) BROOD_UNROLL for (int n = 0; n < 2; ++n) {
    firsts[place + j * 8 + n] = sums.first[j][n];
    seconds[place + j * 8 + n] = sums.second[j][n];
  }
  if (lane % 4 == 0 && warp % kAcross == 0) counts[row] = sums.count;
  sync_threads();
  const bool statistics = args.sums.x < 0;
  const int column = thread % kColumns, part = thread / kColumns;
  double total[3] = {};
  BROOD_UNROLL for (int i = 0; i < kSumRows / kParts; ++i) {
    const int from = part * (kSumRows / kParts) + i;
    const auto first = static_cast<double>(firsts[from * kPitch + column]);
    const auto second = static_cast<double>(seconds[from * kPitch + column]);
    const double sum = statistics ? first * static_cast<double>(counts[from]) : first;
    total[0] += sum;
    total[1] += statistics ? first * sum : second;
    total[2] += second;
  }
  BROOD_UNROLL for (int kind = 0; kind < 3; ++kind) totals[kind * kBlockThreads + thread] =
      total[kind];
  sync_threads();
  if (thread >= kColumns || column0 + column >= args.to.channels) return;
  double* partial = column_partial(args, slot, column0 + column);
  for (int kind = 0; kind < column_kinds(args); ++kind) {
    double sum = 0.0;
    BROOD_UNROLL for (int i = 0; i < kParts; ++i) sum +=
        totals[kind * kBlockThreads + i * kColumns + column];
    partial[kind * args.to.channels] = sum;
  }
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
