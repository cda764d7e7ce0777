// The loops that take the time, one set per instruction set, chosen once when a trainer is made.
//
// Each set is the same source (kernels_body.h) compiled for its instruction set in a namespace of
// its own; no set shares inline or library code with the rest of the program, which a linker could
// otherwise replace by a copy that this machine cannot run. Layouts:
//   activations  NHWC, channels padded to a multiple of 8 with lanes that stay zero, and a halo of
//                zeros around each image where a convolution reads past its edge
//   weights      panels of 16 output channels: [columns / 16][taps][depth][16], padded with zeros
// A product reads, for each output pixel, `taps` runs of `depth` adjacent floats at fixed offsets
// from the pixel's address. This covers convolutions of any kernel and stride, their gradient by
// the input, and dense layers (Georganas et al., "Anatomy of high-performance deep learning
// convolutions on SIMD architectures", SC 2018; Dukhan, "The indirect convolution algorithm",
// 2019).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace brood::cnn {

constexpr int kPanel = 16;  // output channels of a weight panel
constexpr int kLanes = 8;   // channels are padded to a multiple of this

constexpr int padded(int channels) { return (channels + kLanes - 1) / kLanes * kLanes; }
constexpr int panels(int channels) { return (channels + kPanel - 1) / kPanel; }

// y[y_offset[r] + column] = f(bias[column] + sum over taps t, depth c of
//                             x[x_offset[r] + tap[t] + c] * w[panel][(t * depth + c) * 16 + lane])
// for rows r and columns below 8 * ceil(columns / 8).
struct Product {
  const float* x;
  const std::int32_t* x_offset;
  float* y;
  const std::int32_t* y_offset;
  std::int32_t rows;
  const std::int32_t* tap;
  std::int32_t taps, depth;
  const float* w;
  std::int64_t panel_stride;  // floats from one panel of w to the next
  std::int32_t columns;
  const float* bias;  // nullptr: none
  bool accumulate;    // add to y instead of bias
  bool relu;
};

// dw[panel][(t * depth + c) * 16 + lane] += sum over pixels of x[...] * dy, where dy was packed by
// pack_panels and the pixel (i, j) of x lies at i * x_row + j * x_step.
struct WeightGradient {
  const float* x;
  std::int64_t x_row, x_step;
  std::int32_t pixel_rows, pixel_columns;
  const std::int32_t* tap;
  std::int32_t taps, depth;
  const float* dy;  // [columns / 16][pixel_rows * pixel_columns][16]
  float* dw;
  std::int64_t panel_stride;  // floats from one panel of dw to the next
  std::int32_t columns;
  bool overwrite;  // = instead of +=
};

// Tiles of 4x4 outputs of a Winograd convolution, counted over the images of a batch, row by row.
// data is what tile 0 reads or writes first; a tile lies 4 pixels from the next.
struct WinogradTiles {
  float* data;
  std::int64_t image, row, pixel;  // strides in floats
  std::int32_t across, down;       // tiles of one image
  std::int32_t first, count;       // the tiles of this call
  std::int32_t height, width;      // of the image written; tiles are clipped there
  std::int32_t channels;           // a multiple of 8
};

// One panel of 16 columns at every point p of the transform, and its gradient by u:
//   m[p * m_plane + tile * 16 + lane] = sum over c of v[p * v_plane + tile * v_stride + c] * u[...]
//   u[(p * depth + c) * 16 + lane] += sum over tiles of v[...] * m[...]
struct WinogradProduct {
  const float* v;
  std::int64_t v_plane, v_stride;
  float* u;
  float* m;
  std::int64_t m_plane;
  std::int32_t points, tiles, depth;
  std::int32_t columns;  // of the panel: lanes beyond 8 * ceil(columns / 8) are not touched
};

// The entries of a matrix that are not zero: their value, and where the other factor's row begins,
// in floats.
struct SparseEntry {
  float value;
  std::int32_t offset;
};

// y[r * y_stride + c] = sum over the entries e of row r of e.value * b[e.offset + place(c)] for
// columns c, where 16 columns lie side by side, `group` floats from the next 16.
struct SparseProduct {
  const SparseEntry* entries;
  const std::int32_t* begin;  // row r has the entries begin[r * step] to begin[r * step + 1]
  std::int32_t step;
  std::int32_t rows;
  const float* b;
  std::int64_t group;
  float* y;
  std::int64_t y_stride;
  std::int32_t columns;  // a multiple of 8
  bool accumulate;       // add to y
};

// A window of pooling at one output pixel; k counts the window's places row by row.
struct PoolWindow {
  std::int64_t x_row, x_step;  // floats from one pixel of the window to the next
  std::int32_t first_row, last_row, first_column, last_column;  // the part inside the image
  std::int32_t size;                                            // columns of the whole window
  std::int32_t channels;
};

struct Adam {
  float beta1, beta2, epsilon;
  float rate;        // learning rate over (1 - beta1^t)
  float correction;  // 1 / sqrt(1 - beta2^t)
  float decay;       // added to the gradient: weight_decay * w
  float shrink;      // multiplies w first: 1, or 1 - learning_rate * weight_decay (AdamW)
};

struct Kernels {
  const char* name;
  void (*multiply)(const Product&);
  void (*weight_gradient)(const WeightGradient&);

  void (*sparse_multiply)(const SparseProduct&);
  // Of 16 rows, or fewer with the rest as zeros: y[c * 16 + r], a panel of weights. y_stride and
  // accumulate are not looked at.
  void (*sparse_multiply_panel)(const SparseProduct&);

  // Rows of dy (at offset[r]) into [columns / 16][rows][16], zeros beyond the channels. Adds them
  // up in sum, where that is given.
  void (*pack_panels)(const float* dy, const std::int32_t* offset, std::int32_t rows,
                      std::int32_t channels, float* out, float* sum);
  // One panel of the transposed weights: out[(t * columns + o) * 16 + lane] =
  // w[o / 16][(tap_order[t] * depth + first + lane) * 16 + o % 16], zero where first + lane is
  // depth or more.
  void (*transpose_panel)(const float* w, std::int64_t panel_stride, std::int32_t columns,
                          std::int32_t depth, std::int32_t first, const std::int32_t* tap_order,
                          std::int32_t taps, float* out);
  // Of a run of pixels: dy = y > 0 ? dy : 0 (when y is given), then sum[c] += dy.
  void (*bias_gradient)(const float* y, float* dy, std::int32_t pixels, std::int32_t channels,
                        float* sum);

  // Winograd convolution with a kernel of 3x3 (36 points) or 5x5 (64 points); see
  // kernels_winograd.h. Inputs of tiles to v[p * plane + tile * channels + c]; products of a panel,
  // m[p * plane + tile * 16 + lane], to outputs; gradients of outputs to such an m, added up in sum
  // where that is given; a panel of
  // weights [taps][depth][16] to u[p][depth][16], and the gradient by u added to that by weights.
  void (*winograd_input)(int kernel, const WinogradTiles&, float* v, std::int64_t plane);
  void (*winograd_output)(int kernel, const float* m, std::int64_t plane, const WinogradTiles&,
                          const float* bias, bool relu);
  void (*winograd_output_gradient)(int kernel, const WinogradTiles&, float* m, std::int64_t plane,
                                   float* sum);
  void (*winograd_weights)(int kernel, const float* w, std::int32_t depth, float* u);
  void (*winograd_weights_gradient)(int kernel, const float* du, std::int32_t depth, float* dw);
  void (*winograd_multiply)(const WinogradProduct&);
  void (*winograd_multiply_gradient)(const WinogradProduct&);

  void (*max_pool)(const float* x, const PoolWindow&, float* y, std::uint8_t* place);
  // Where y is given, only what came from places with y > 0: the gradient through a ReLU before.
  void (*max_pool_gradient)(const float* dy, const float* y, const std::uint8_t* place,
                            const PoolWindow&, float* dx);
  // Windows of 2x2 side by side, inside the image: `pixels` of an output row. x_row: floats from a
  // row of the input to the next. The gradient overwrites dx.
  void (*max_pool_2x2)(const float* x, std::int64_t x_row, std::int32_t pixels,
                       std::int32_t channels, float* y, std::uint8_t* place);
  void (*max_pool_2x2_gradient)(const float* dy, const float* y, const std::uint8_t* place,
                                std::int64_t dx_row, std::int32_t pixels, std::int32_t channels,
                                float* dx);
  void (*average_pool)(const float* x, const PoolWindow&, float* y);
  void (*average_pool_gradient)(const float* dy, const PoolWindow&, float* dx);

  // Batch norm over runs of pixels; all arrays have `channels` entries.
  // sum = sum of x - x0, square = sum of (x - x0)^2 around the run's first pixel x0.
  void (*norm_statistics)(const float* x, std::int32_t pixels, std::int32_t channels, float* sum,
                          float* square);
  void (*scale_shift)(const float* x, std::int32_t pixels, std::int32_t channels,
                      const float* scale, const float* shift, bool relu, float* y);
  // sum = sum of dy, product = sum of dy * (x - mean). In both, dy is zero where a ReLU's input
  // x * scale + shift is not positive, if shift is given.
  void (*norm_sums)(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
                    const float* mean, const float* scale, const float* shift, float* sum,
                    float* product);
  // dx = scale * dy - a - (x - mean) * b
  void (*norm_gradient)(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
                        const float* mean, const float* scale, const float* shift, const float* a,
                        const float* b, float* dx);
  // The same with a max_pool_2x2 behind, which makes `pixels` of y: what lies between is never
  // written. largest: the x of each window that came through.
  void (*norm_max_pool)(const float* x, std::int64_t x_row, std::int32_t pixels,
                        std::int32_t channels, const float* scale, const float* shift, bool relu,
                        float* y, float* largest, std::uint8_t* place);
  void (*norm_pool_gradient)(const float* x, std::int64_t x_row, const float* dy,
                             const std::uint8_t* place, std::int32_t pixels, std::int32_t channels,
                             const float* mean, const float* scale, const float* shift,
                             const float* a, const float* b, float* dx, std::int64_t dx_row);

  void (*relu)(const float* x, std::int64_t count, float* y);
  void (*relu_gradient)(const float* y, const float* dy, std::int64_t count, float* dx);

  // keep[i] = 1 where word i of the Philox stream (key, {block, part, step}) is `threshold` or
  // more, else 0. first is a multiple of 4; count too.
  void (*dropout_mask)(std::uint64_t key, std::uint32_t part, std::uint64_t step,
                       std::uint64_t first, std::int64_t count, std::uint32_t threshold,
                       std::uint8_t* keep);
  void (*mask)(const float* x, const std::uint8_t* keep, std::int64_t count, float scale, float* y);

  void (*sgd)(float* w, const float* gradient, float* velocity, std::int64_t count, float rate,
              float momentum, float decay, bool nesterov);  // velocity: nullptr without momentum
  void (*adam)(float* w, const float* gradient, float* first, float* second, std::int64_t count,
               const Adam&);
};

// The sets that this machine can run, best first; never empty.
const std::vector<const Kernels*>& available_kernels();

// "cpu/avx2/fp32/3": device, kernel set, precision, numerics version. The version changes whenever
// a change of ours changes bits.
std::string numeric_class(const Kernels& kernels);

// Empty: the best. Throws UserError for a class that this machine lacks.
const Kernels& kernels_of(std::string_view numeric_class);

// Makes denormal numbers count as zero on this thread while it lives: some processors take a
// hundred times longer for them. Part of the numeric class.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_ = 0;
};

}  // namespace brood::cnn
