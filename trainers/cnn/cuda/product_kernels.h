// Convolutions and dense layers in fp32 arithmetic, as products of matrices whose tiles are put
// together on the way (implicit GEMM; Chetlur and others, "cuDNN", 2014). Any kernel, stride,
// dilation and number of channels.
//
// Every element of a result is one sum over the depth in ascending order.
#pragma once

#include "trainers/cnn/cuda/slot_access.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

// A place of a kernel, and the channel there.
struct Tap {
  int row, column, channel;
};

BROOD_DEVICE Tap tap_of(int index, int channels, int kernel_width) {
  const int place = index / channels, row = place / kernel_width;
  return {row, place - row * kernel_width, index - place * channels};
}

// The tile from (row0, column0) on of a problem's result. A problem says what its rows, columns and
// depth are: row(r) and step(k) are looked up once, a(row, step) and b(step, column) are the
// factors, 0 outside, and store() takes each element.
template <class Problem>
BROOD_DEVICE void multiply_tile(const Problem& problem, int row0, int column0, int depth_first,
                                int depth_last) {
  constexpr int kRowLoads = kTileRows * kTileDepth / kProductThreads;
  constexpr int kRowStep = kProductThreads / kTileDepth;
  constexpr int kColumnLoads = kTileColumns * kTileDepth / kProductThreads;
  constexpr int kDepthStep = kProductThreads / kTileColumns;
  float* a = shared_memory<float>();
  float* b = a + kTileDepth * (kTileRows + 4);
  const int thread = thread_index();
  const int a_depth = thread % kTileDepth, a_row = thread / kTileDepth;
  const int b_column = thread % kTileColumns, b_depth = thread / kTileColumns;
  const int row = thread / (kTileColumns / 4) * 4, column = thread % (kTileColumns / 4) * 4;
  typename Problem::Row rows[kRowLoads];
  BROOD_UNROLL for (int i = 0; i < kRowLoads; ++i) rows[i] =
      problem.row(row0 + a_row + i * kRowStep);
  float sum[4][4] = {};
  for (int k0 = depth_first; k0 < depth_last; k0 += kTileDepth) {
    const bool a_inside = k0 + a_depth < depth_last;
    const auto step = problem.step(a_inside ? k0 + a_depth : depth_first);
    BROOD_UNROLL for (int i = 0; i < kRowLoads; ++i)
        a[a_depth * (kTileRows + 4) + a_row + i * kRowStep] =
            a_inside ? problem.a(rows[i], step) : 0.0F;
    BROOD_UNROLL for (int i = 0; i < kColumnLoads; ++i) {
      const int k = b_depth + i * kDepthStep;
      b[k * (kTileColumns + 4) + b_column] =
          k0 + k < depth_last ? problem.b(k0 + k, column0 + b_column) : 0.0F;
    }
    sync_threads();
    BROOD_UNROLL for (int k = 0; k < kTileDepth; ++k) BROOD_UNROLL for (int i = 0; i < 4; ++i)
        BROOD_UNROLL for (int j = 0; j < 4; ++j) sum[i][j] = multiply_add(
            a[k * (kTileRows + 4) + row + i], b[k * (kTileColumns + 4) + column + j], sum[i][j]);
    sync_threads();
  }
  BROOD_UNROLL for (int i = 0; i < 4; ++i) BROOD_UNROLL for (int j = 0; j < 4; ++j)
      problem.store(row0 + row + i, column0 + column + j, sum[i][j]);
}

// Block x of a launch whose tiles of columns are neighbours.
BROOD_DEVICE void tile_of_block(int columns, int& row0, int& column0) {
  const int across = chunks_of(columns, kTileColumns);
  row0 = block_x() / across * kTileRows;
  column0 = block_x() % across * kTileColumns;
}

// y[pixel][column] = sum over (tap, channel) of x * w.
template <class T>
struct ForwardProblem {
  const ProductArguments& args;
  const T* x;
  const float* weight;
  const float* bias;
  T* y;
  int rows;

  struct Row {
    int sample, top, left;
  };
  BROOD_DEVICE Row row(int r) const {
    if (r >= rows) return {-1, 0, 0};
    const PixelPlace p = pixel_of(r, args.y);
    return {p.sample, p.y * args.stride_height - args.pad_top,
            p.x * args.stride_width - args.pad_left};
  }
  BROOD_DEVICE Tap step(int k) const {
    const Tap tap = tap_of(k, args.x.channels, args.kernel_width);
    return {tap.row * args.dilation_height, tap.column * args.dilation_width, tap.channel};
  }
  BROOD_DEVICE float a(const Row& r, const Tap& tap) const {
    const int i = r.top + tap.row, j = r.left + tap.column;
    if (r.sample < 0 || i < 0 || i >= args.x.height || j < 0 || j >= args.x.width) return 0.0F;
    return to_float(x[pixel_index(args.x, r.sample, i, j) * args.x.pitch + tap.channel]);
  }
  BROOD_DEVICE float b(int k, int column) const {
    return column < args.y.channels ? weight[k * args.y.channels + column] : 0.0F;
  }
  BROOD_DEVICE void store(int r, int column, float value) const {
    if (r >= rows || column >= args.y.pitch) return;
    if (column >= args.y.channels)
      value = 0.0F;
    else if (bias)
      value += bias[column];
    if (args.relu && value <= 0.0F) value = 0.0F;
    y[r * args.y.pitch + column] = from_float<T>(value);
  }
};

template <class T>
BROOD_KERNEL(kProductThreads)
product_forward(const ProductArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const ForwardProblem<T> problem{args,
                                  slot.at<T>(args.x),
                                  slot.at<float>(args.weight),
                                  args.bias < 0 ? nullptr : slot.at<float>(args.bias),
                                  slot.at<T>(args.y),
                                  slot.samples() * image_pixels(args.y)};
  int row0 = 0, column0 = 0;
  tile_of_block(args.y.pitch, row0, column0);
  if (row0 >= problem.rows) return;
  multiply_tile(problem, row0, column0, 0,
                args.kernel_height * args.kernel_width * args.x.channels);
}

// dx[pixel][channel] = sum over (tap, column) of dy * w, over the places from which y reads x.
template <class T>
struct InputGradientProblem {
  const ProductArguments& args;
  const T* dy;
  const float* weight;
  T* dx;
  int rows;

  struct Row {
    int sample, y, x;
  };
  BROOD_DEVICE Row row(int r) const {
    if (r >= rows) return {-1, 0, 0};
    const PixelPlace p = pixel_of(r, args.x);
    return {p.sample, p.y + args.pad_top, p.x + args.pad_left};
  }
  BROOD_DEVICE Tap step(int k) const {
    const Tap tap = tap_of(k, args.y.channels, args.kernel_width);
    return {tap.row * args.dilation_height, tap.column * args.dilation_width, tap.channel};
  }
  BROOD_DEVICE float a(const Row& r, const Tap& tap) const {
    const int down = r.y - tap.row, right = r.x - tap.column;
    if (r.sample < 0 || down < 0 || right < 0) return 0.0F;
    const int i = down / args.stride_height, j = right / args.stride_width;
    if (i * args.stride_height != down || j * args.stride_width != right || i >= args.y.height ||
        j >= args.y.width)
      return 0.0F;
    return to_float(dy[pixel_index(args.y, r.sample, i, j) * args.y.pitch + tap.channel]);
  }
  BROOD_DEVICE float b(int k, int column) const {
    if (column >= args.x.channels) return 0.0F;
    const int tap = k / args.y.channels, channel = k - tap * args.y.channels;
    return weight[(tap * args.x.channels + column) * args.y.channels + channel];
  }
  BROOD_DEVICE void store(int r, int column, float value) const {
    if (r < rows && column < args.x.pitch)
      put(dx, r * args.x.pitch + column, column < args.x.channels ? value : 0.0F, args.accumulate);
  }
};

template <class T>
BROOD_KERNEL(kProductThreads)
product_input_gradient(const ProductArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const InputGradientProblem<T> problem{args, slot.at<T>(args.y), slot.at<float>(args.weight),
                                        slot.at<T>(args.x), slot.samples() * image_pixels(args.x)};
  int row0 = 0, column0 = 0;
  tile_of_block(args.x.pitch, row0, column0);
  if (row0 >= problem.rows) return;
  multiply_tile(problem, row0, column0, 0,
                args.kernel_height * args.kernel_width * args.y.channels);
}

// dx[sample][(pixel, lane)] = sum over columns of dy * w: of a dense layer, whose windows are the
// whole image.
template <class T>
struct DenseGradientProblem {
  const ProductArguments& args;
  const T* dy;
  const float* weight;
  T* dx;
  int rows;

  using Row = int;
  BROOD_DEVICE Row row(int r) const { return r; }
  BROOD_DEVICE int step(int k) const { return k; }
  BROOD_DEVICE float a(int r, int k) const {
    return r < rows ? to_float(dy[r * args.y.pitch + k]) : 0.0F;
  }
  BROOD_DEVICE float b(int k, int column) const {
    const int pixel = column / args.x.pitch, channel = column - pixel * args.x.pitch;
    if (channel >= args.x.channels || pixel >= image_pixels(args.x)) return 0.0F;
    return weight[(pixel * args.x.channels + channel) * args.y.channels + k];
  }
  BROOD_DEVICE void store(int r, int column, float value) const {
    const int columns = image_pixels(args.x) * args.x.pitch;
    if (r < rows && column < columns) put(dx, r * columns + column, value, args.accumulate);
  }
};

template <class T>
BROOD_KERNEL(kProductThreads)
dense_input_gradient(const ProductArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const DenseGradientProblem<T> problem{args, slot.at<T>(args.y), slot.at<float>(args.weight),
                                        slot.at<T>(args.x), slot.samples()};
  int row0 = 0, column0 = 0;
  tile_of_block(image_pixels(args.x) * args.x.pitch, row0, column0);
  if (row0 >= problem.rows) return;
  multiply_tile(problem, row0, column0, 0, args.y.channels);
}

// dw[(tap, channel)][column] = sum over pixels of a chunk of images of x * dy.
template <class T>
struct WeightGradientProblem {
  const ProductArguments& args;
  const T* x;
  const T* dy;
  float* dw;
  int rows;

  struct Row {
    int top, left, channel;  // channel -1: there is no such row
  };
  struct Pixel {
    int sample, y, x;
  };
  BROOD_DEVICE Row row(int r) const {
    if (r >= rows) return {0, 0, -1};
    const Tap tap = tap_of(r, args.x.channels, args.kernel_width);
    return {tap.row * args.dilation_height - args.pad_top,
            tap.column * args.dilation_width - args.pad_left, tap.channel};
  }
  BROOD_DEVICE Pixel step(int k) const {
    const PixelPlace p = pixel_of(k, args.y);
    return {p.sample, p.y * args.stride_height, p.x * args.stride_width};
  }
  BROOD_DEVICE float a(const Row& r, const Pixel& p) const {
    const int i = p.y + r.top, j = p.x + r.left;
    if (r.channel < 0 || i < 0 || i >= args.x.height || j < 0 || j >= args.x.width) return 0.0F;
    return to_float(x[pixel_index(args.x, p.sample, i, j) * args.x.pitch + r.channel]);
  }
  BROOD_DEVICE float b(int k, int column) const {
    return column < args.y.channels ? to_float(dy[k * args.y.pitch + column]) : 0.0F;
  }
  BROOD_DEVICE void store(int r, int column, float value) const {
    if (r < rows && column < args.y.channels) dw[r * args.y.channels + column] = value;
  }
};

// Block y: the chunk.
template <class T>
BROOD_KERNEL(kProductThreads)
product_weight_gradient(const ProductArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const int rows = args.kernel_height * args.kernel_width * args.x.channels;
  const int pixels = image_pixels(args.y);
  int first = 0, last = slot.samples() * pixels;
  float* to = slot.at<float>(args.weight);
  if (args.chunk > 0) {
    first = block_y() * args.chunk * pixels;
    last = smaller(last, first + args.chunk * pixels);
    to = slot.at<float>(args.partials) + std::int64_t{block_y()} * rows * args.y.channels;
    if (first >= last) return;
  }
  const WeightGradientProblem<T> problem{args, slot.at<T>(args.x), slot.at<T>(args.y), to, rows};
  int row0 = 0, column0 = 0;
  tile_of_block(args.y.channels, row0, column0);
  multiply_tile(problem, row0, column0, first, last);
}

// The part of a gradient that a ReLU lets through, and the sums of a chunk of it over pixels.
template <class T>
BROOD_KERNEL(kThreads)
mask_gradient(const MaskArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const ChunkLane lane = chunk_lane(slot, args.dy);
  const T* y = slot.at<T>(args.y);
  T* dy = slot.at<T>(args.dy);
  float sum = 0.0F;
  for (int p = lane.first + lane.lane; lane.has_channel && p < lane.last; p += kPixelLanes) {
    const int index = p * args.dy.pitch + lane.channel;
    float value = to_float(dy[index]);
    if (args.relu && !(to_float(y[index]) > 0.0F)) {
      value = 0.0F;
      dy[index] = from_float<T>(value);
    }
    sum += value;
  }
  const double total = sum_of_lanes(static_cast<double>(sum), 0);
  if (lane.lane == 0 && lane.has_channel && lane.first < lane.last)
    slot.at<double>(args.partials)[block_y() * args.dy.channels + lane.channel] = total;
}

// All weight gradients that lie in chunks, a thread for each float; and those of biases, a block
// for kChannelLanes columns. The sum of all chunks that the batch has, in order.
BROOD_KERNEL(kThreads) sum_partials(const SumArguments args) {
  const SlotAccess slot(args.group);
  if (slot.idle()) return;
  const SumEntry& entry = entry_of_block(args);
  const int block = block_x() - entry.first_block;
  const int chunks = chunks_of(slot.samples() * entry.items_per_sample, entry.items_per_chunk);
  float* to = slot.at<float>(entry.to);
  if (!entry.bias) {
    const int index = block * kThreads + thread_index();
    if (index >= entry.count) return;
    const float* partial = slot.at<float>(entry.partials) + index;
    float sum = 0.0F;
    BROOD_UNROLL_8 for (int i = 0; i < chunks; ++i) sum += partial[std::int64_t{i} * entry.count];
    to[index] = sum;
    return;
  }
  const int column = block * kChannelLanes + thread_index() % kChannelLanes;
  const double* partials = slot.at<double>(entry.partials);
  double sum = 0.0;
  for (int i = thread_index() / kChannelLanes; column < entry.count && i < chunks; i += kPixelLanes)
    sum += partials[i * entry.count + column];
  sum = sum_of_lanes(sum, 0);
  if (thread_index() < kChannelLanes && column < entry.count) to[column] = static_cast<float>(sum);
}

template <class Visit>
void visit_product_kernels(Visit& visit) {
  visit(KernelId::product_forward, &product_forward<float>, &product_forward<Bf16>, true);
  visit(KernelId::product_input_gradient, &product_input_gradient<float>,
        &product_input_gradient<Bf16>, true);
  visit(KernelId::dense_input_gradient, &dense_input_gradient<float>, &dense_input_gradient<Bf16>,
        true);
  visit(KernelId::product_weight_gradient, &product_weight_gradient<float>,
        &product_weight_gradient<Bf16>, true);
  visit(KernelId::sum_partials, &sum_partials, &sum_partials, true);
  visit(KernelId::mask_gradient, &mask_gradient<float>, &mask_gradient<Bf16>, true);
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
