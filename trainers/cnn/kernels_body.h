// The source of every kernel set. Included once by each kernels_<set>.cpp, which defines
//   BROOD_SET     the namespace and name of the set
//   BROOD_VECTOR  floats of a native vector: 4, 8 or 16
// GCC vector extensions only; everything here is local to the including file, and nothing of the
// standard library is used (see kernels.h for the reason and the layouts).
#include "trainers/cnn/kernels.h"

#define BROOD_UNROLL _Pragma("GCC unroll 16")

namespace brood::cnn::BROOD_SET {
namespace {

template <int W>
struct Vector;
template <>
struct Vector<4> {
  typedef float type __attribute__((vector_size(16)));
  typedef float loose __attribute__((vector_size(16), aligned(4)));
};
template <>
struct Vector<8> {
  typedef float type __attribute__((vector_size(32)));
  typedef float loose __attribute__((vector_size(32), aligned(4)));
};
template <>
struct Vector<16> {
  typedef float type __attribute__((vector_size(64)));
  typedef float loose __attribute__((vector_size(64), aligned(4)));
};

// Register tiles: rows of the largest tile for 16 and for 8 columns, so that accumulators, one row
// of weights and a broadcast value fit the registers and enough sums are under way to hide the
// latency of an addition.
#if BROOD_VECTOR == 4 && defined(__aarch64__)  // 32 registers, not 16
constexpr int kRows16 = 4, kRows8 = 8;
#elif BROOD_VECTOR == 4
constexpr int kRows16 = 2, kRows8 = 4;
#elif BROOD_VECTOR == 8
constexpr int kRows16 = 6, kRows8 = 8;
#else
constexpr int kRows16 = 12, kRows8 = 12;
#endif
template <int C>
constexpr int kWidth = BROOD_VECTOR < C ? BROOD_VECTOR : C;

struct TileArguments {
  const float* const* x;
  float* const* y;
  const float* w;
  const float* bias;
  const std::int32_t* tap;
  std::int32_t taps, depth;
  bool accumulate, relu;
};

// R rows by C columns, accumulated in registers. D: the depth where it is short, else 0.
template <int C, int R, int D>
__attribute__((noinline)) void product_tile(const TileArguments& g) {
  constexpr int W = kWidth<C>, N = C / W;
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  V sum[R][N];
  BROOD_UNROLL for (int r = 0; r < R; ++r) BROOD_UNROLL for (int n = 0; n < N; ++n) {
    sum[r][n] = V{};
    if (g.accumulate)
      sum[r][n] = *reinterpret_cast<const Loose*>(g.y[r] + n * W);
    else if (g.bias)
      sum[r][n] = *reinterpret_cast<const Loose*>(g.bias + n * W);
  }
  const float* w = g.w;
  const std::int32_t depth = g.depth;
  for (std::int32_t t = 0; t < g.taps; ++t) {
    const float* x[R];
    BROOD_UNROLL for (int r = 0; r < R; ++r) x[r] = g.x[r] + g.tap[t];
    const auto add = [&](std::int32_t c) __attribute__((always_inline)) {
      V row[N];
      BROOD_UNROLL for (int n = 0; n < N; ++n) row[n] = *reinterpret_cast<const Loose*>(w + n * W);
      w += kPanel;
      BROOD_UNROLL for (int r = 0; r < R; ++r) {
        const float value = x[r][c];
        BROOD_UNROLL for (int n = 0; n < N; ++n) sum[r][n] += value * row[n];
      }
    };
    if constexpr (D > 0) {
      BROOD_UNROLL for (std::int32_t c = 0; c < D; ++c) add(c);
    } else {
#pragma GCC unroll 2
      for (std::int32_t c = 0; c < depth; ++c) add(c);
    }
  }
  BROOD_UNROLL for (int r = 0; r < R; ++r) BROOD_UNROLL for (int n = 0; n < N; ++n) {
    V value = sum[r][n];
    if (g.relu) value = value > 0.0F ? value : V{};
    *reinterpret_cast<Loose*>(g.y[r] + n * W) = value;
  }
}

template <int C, int R>
void product_rows(int rows, const TileArguments& g) {
  if constexpr (R > 1)
    if (rows < R) return product_rows<C, R - 1>(rows, g);
  if (g.depth == 3) return product_tile<C, R, 3>(g);
  product_tile<C, R, 0>(g);
}

// Splits `total` into the fewest parts of at most `most`, as equal as possible.
struct Parts {
  std::int32_t count, size, larger;  // the first `larger` parts have size + 1
  Parts(std::int32_t total, std::int32_t most)
      : count((total + most - 1) / most),
        size(total / (count ? count : 1)),
        larger(total - size * count) {}
  std::int32_t of(std::int32_t part) const { return size + (part < larger ? 1 : 0); }
};

template <int C, int R>
void product_panel(const Product& g, std::int32_t panel, bool accumulate) {
  const float* x[R];
  float* y[R];
  TileArguments tile{x,
                     y,
                     g.w + panel * g.panel_stride,
                     g.bias ? g.bias + panel * kPanel : nullptr,
                     g.tap,
                     g.taps,
                     g.depth,
                     accumulate,
                     g.relu};
  const Parts parts(g.rows, R);
  std::int32_t row = 0;
  for (std::int32_t part = 0; part < parts.count; ++part) {
    const std::int32_t rows = parts.of(part);
    for (std::int32_t r = 0; r < rows; ++r) {
      x[r] = g.x + g.x_offset[row + r];
      y[r] = g.y + g.y_offset[row + r] + panel * kPanel;
    }
    product_rows<C, R>(rows, tile);
    row += rows;
  }
}

void multiply(const Product& g) {
  const std::int32_t count = panels(g.columns);
  for (std::int32_t panel = 0; panel < count; ++panel) {
    if (g.columns - panel * kPanel > 8)
      product_panel<16, kRows16>(g, panel, g.accumulate);
    else
      product_panel<8, kRows8>(g, panel, g.accumulate);
  }
}

// R adjacent inputs by C columns, summed over all pixels.
template <int C, int R>
__attribute__((noinline)) void weight_tile(const WeightGradient& g, const float* x_first,
                                           const float* dy, float* dw) {
  constexpr int W = kWidth<C>, N = C / W;
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  V sum[R][N] = {};
  if (!g.overwrite)
    BROOD_UNROLL for (int r = 0; r < R; ++r) BROOD_UNROLL for (int n = 0; n < N; ++n) sum[r][n] =
        *reinterpret_cast<const Loose*>(dw + r * kPanel + n * W);
  const std::int64_t step = g.x_step;
  for (std::int32_t i = 0; i < g.pixel_rows; ++i) {
    const float* x = x_first + i * g.x_row;
#pragma GCC unroll 2
    for (std::int32_t j = 0; j < g.pixel_columns; ++j) {
      V row[N];
      BROOD_UNROLL for (int n = 0; n < N; ++n) row[n] = *reinterpret_cast<const Loose*>(dy + n * W);
      dy += kPanel;
      BROOD_UNROLL for (int r = 0; r < R; ++r) {
        const float value = x[r];
        BROOD_UNROLL for (int n = 0; n < N; ++n) sum[r][n] += value * row[n];
      }
      x += step;
    }
  }
  BROOD_UNROLL for (int r = 0; r < R; ++r) BROOD_UNROLL for (int n = 0; n < N; ++n) *
      reinterpret_cast<Loose*>(dw + r * kPanel + n * W) = sum[r][n];
}

template <int C, int R>
void weight_rows(int rows, const WeightGradient& g, const float* x, const float* dy, float* dw) {
  if constexpr (R > 1)
    if (rows < R) return weight_rows<C, R - 1>(rows, g, x, dy, dw);
  weight_tile<C, R>(g, x, dy, dw);
}

// The same for R inputs anywhere: rows of a kernel that are too short to fill a tile.
template <int C, int R>
__attribute__((noinline)) void scattered_tile(const WeightGradient& g, const float* const* x_first,
                                              const float* dy, float* dw) {
  constexpr int W = kWidth<C>, N = C / W;
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  V sum[R][N] = {};
  if (!g.overwrite)
    BROOD_UNROLL for (int r = 0; r < R; ++r) BROOD_UNROLL for (int n = 0; n < N; ++n) sum[r][n] =
        *reinterpret_cast<const Loose*>(dw + r * kPanel + n * W);
  const float* x[R];
  BROOD_UNROLL for (int r = 0; r < R; ++r) x[r] = x_first[r];
  for (std::int32_t i = 0; i < g.pixel_rows; ++i) {
    std::int64_t at = i * g.x_row;
    for (std::int32_t j = 0; j < g.pixel_columns; ++j, at += g.x_step) {
      V row[N];
      BROOD_UNROLL for (int n = 0; n < N; ++n) row[n] = *reinterpret_cast<const Loose*>(dy + n * W);
      dy += kPanel;
      BROOD_UNROLL for (int r = 0; r < R; ++r) {
        const float value = x[r][at];
        BROOD_UNROLL for (int n = 0; n < N; ++n) sum[r][n] += value * row[n];
      }
    }
  }
  BROOD_UNROLL for (int r = 0; r < R; ++r) BROOD_UNROLL for (int n = 0; n < N; ++n) *
      reinterpret_cast<Loose*>(dw + r * kPanel + n * W) = sum[r][n];
}

template <int C, int R>
void scattered_rows(int rows, const WeightGradient& g, const float* const* x, const float* dy,
                    float* dw) {
  if constexpr (R > 1)
    if (rows < R) return scattered_rows<C, R - 1>(rows, g, x, dy, dw);
  scattered_tile<C, R>(g, x, dy, dw);
}

void scattered_weight_gradient(const WeightGradient& g) {
  const std::int32_t count = panels(g.columns);
  const std::int64_t pixels = static_cast<std::int64_t>(g.pixel_rows) * g.pixel_columns;
  const Parts parts(g.taps * g.depth, kRows16);
  std::int32_t first = 0;
  for (std::int32_t part = 0; part < parts.count; ++part) {
    const std::int32_t rows = parts.of(part);
    const float* x[kRows16];
    for (std::int32_t r = 0; r < rows; ++r)
      x[r] = g.x + g.tap[(first + r) / g.depth] + (first + r) % g.depth;
    for (std::int32_t panel = 0; panel < count; ++panel) {
      const float* dy = g.dy + panel * pixels * kPanel;
      float* dw = g.dw + panel * g.panel_stride + std::int64_t{first} * kPanel;
      if (g.columns - panel * kPanel > 8)
        scattered_rows<16, kRows16>(rows, g, x, dy, dw);
      else
        scattered_rows<8, kRows16>(rows, g, x, dy, dw);
    }
    first += rows;
  }
}

void weight_gradient(const WeightGradient& g) {
  if (g.depth <= kRows16 / 2 && g.taps > 1) return scattered_weight_gradient(g);
  const std::int32_t count = panels(g.columns);
  const std::int64_t pixels = static_cast<std::int64_t>(g.pixel_rows) * g.pixel_columns;
  const Parts parts(g.depth, kRows16);
  for (std::int32_t t = 0; t < g.taps; ++t) {
    std::int32_t first = 0;
    for (std::int32_t part = 0; part < parts.count; ++part) {
      const std::int32_t rows = parts.of(part);
      const float* x = g.x + g.tap[t] + first;
      for (std::int32_t panel = 0; panel < count; ++panel) {
        const float* dy = g.dy + panel * pixels * kPanel;
        float* dw = g.dw + panel * g.panel_stride +
                    (static_cast<std::int64_t>(t) * g.depth + first) * kPanel;
        if (g.columns - panel * kPanel > 8)
          weight_rows<16, kRows16>(rows, g, x, dy, dw);
        else
          weight_rows<8, kRows16>(rows, g, x, dy, dw);
      }
      first += rows;
    }
  }
}

template <int C>
void pack_panel(const float* dy, const std::int32_t* offset, std::int32_t rows, float* out,
                float* sum) {
  constexpr int W = kWidth<C>, N = C / W;
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  V total[N] = {};
  for (std::int32_t r = 0; r < rows; ++r, out += kPanel) {
    BROOD_UNROLL for (int n = 0; n < N; ++n) {
      const V value = *reinterpret_cast<const Loose*>(dy + offset[r] + n * W);
      total[n] += value;
      *reinterpret_cast<Loose*>(out + n * W) = value;
    }
    if constexpr (C < kPanel)
      for (int lane = C; lane < kPanel; ++lane) out[lane] = 0.0F;
  }
  if (sum)
    BROOD_UNROLL for (int n = 0; n < N; ++n) * reinterpret_cast<Loose*>(sum + n * W) += total[n];
}

void pack_panels(const float* dy, const std::int32_t* offset, std::int32_t rows,
                 std::int32_t channels, float* out, float* sum) {
  const std::int32_t stored = padded(channels);
  for (std::int32_t first = 0; first < stored; first += kPanel, out += rows * kPanel) {
    float* panel_sum = sum ? sum + first : nullptr;
    if (stored - first >= kPanel)
      pack_panel<kPanel>(dy + first, offset, rows, out, panel_sum);
    else
      pack_panel<kLanes>(dy + first, offset, rows, out, panel_sum);
  }
}

// Four by four numbers; strides from row to row.
inline void transpose_block(const float* w, std::int64_t w_stride, float* out,
                            std::int64_t out_stride) {
  using V = Vector<4>::type;
  using Loose = Vector<4>::loose;
  V row[4];
  BROOD_UNROLL for (int i = 0; i < 4; ++i) row[i] =
      *reinterpret_cast<const Loose*>(w + i * w_stride);
  const V a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const V b = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const V c = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const V d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  const V column[4] = {
      __builtin_shufflevector(a, c, 0, 1, 4, 5), __builtin_shufflevector(a, c, 2, 3, 6, 7),
      __builtin_shufflevector(b, d, 0, 1, 4, 5), __builtin_shufflevector(b, d, 2, 3, 6, 7)};
  BROOD_UNROLL for (int i = 0; i < 4; ++i) * reinterpret_cast<Loose*>(out + i * out_stride) =
      column[i];
}

void transpose_panel(const float* w, std::int64_t panel_stride, std::int32_t columns,
                     std::int32_t depth, std::int32_t first, const std::int32_t* tap_order,
                     std::int32_t taps, float* out) {
  const std::int32_t lanes = depth - first < kPanel ? depth - first : kPanel;
  const std::int32_t blocks = lanes == kPanel ? columns / 4 * 4 : 0;
  for (std::int32_t t = 0; t < taps; ++t) {
    const float* from = w + (static_cast<std::int64_t>(tap_order[t]) * depth + first) * kPanel;
    for (std::int32_t o = 0; o < blocks; o += 4, out += 4 * kPanel) {
      const float* block = from + (o / kPanel) * panel_stride + o % kPanel;
      for (std::int32_t lane = 0; lane < kPanel; lane += 4)
        transpose_block(block + lane * kPanel, kPanel, out + lane, kPanel);
    }
    for (std::int32_t o = blocks; o < columns; ++o, out += kPanel) {
      const float* column = from + (o / kPanel) * panel_stride + o % kPanel;
      for (std::int32_t lane = 0; lane < lanes; ++lane) out[lane] = column[lane * kPanel];
      for (std::int32_t lane = lanes; lane < kPanel; ++lane) out[lane] = 0.0F;
    }
  }
}

#include "trainers/cnn/kernels_sparse.h"
#include "trainers/cnn/kernels_winograd.h"

void bias_gradient(const float* y, float* __restrict dy, std::int32_t pixels, std::int32_t channels,
                   float* __restrict sum) {
  constexpr int W = kWidth<kLanes>;
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  for (std::int32_t c = 0; c < channels; c += W) {
    V total = *reinterpret_cast<const Loose*>(sum + c);
    for (std::int64_t at = c; at < std::int64_t{pixels} * channels; at += channels) {
      V value = *reinterpret_cast<const Loose*>(dy + at);
      if (y) {
        const V output = *reinterpret_cast<const Loose*>(y + at);
        value = output > 0.0F ? value : V{};
        *reinterpret_cast<Loose*>(dy + at) = value;
      }
      total += value;
    }
    *reinterpret_cast<Loose*>(sum + c) = total;
  }
}

#include "trainers/cnn/kernels_pool.h"
// It uses what kernels_pool.h has.
#include "trainers/cnn/kernels_norm.h"

void relu(const float* __restrict x, std::int64_t count, float* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] <= 0.0F ? 0.0F : x[i];
}

void relu_gradient(const float* __restrict y, const float* __restrict dy, std::int64_t count,
                   float* __restrict dx) {
  for (std::int64_t i = 0; i < count; ++i) dx[i] = y[i] > 0.0F ? dy[i] : 0.0F;
}

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011), several blocks side by side. The same
// words as the streams of engine/rng.h for this key, with trial = step and split(part - 1).
void dropout_mask(std::uint64_t key, std::uint32_t part, std::uint64_t step, std::uint64_t first,
                  std::int64_t count, std::uint32_t threshold, std::uint8_t* __restrict keep) {
  constexpr int kSide = 16;
  std::uint64_t block = first / 4;
  for (std::int64_t done = 0; done < count; done += 4 * kSide) {
    std::uint32_t a[kSide], b[kSide], c[kSide], d[kSide];
    for (int i = 0; i < kSide; ++i) {
      a[i] = static_cast<std::uint32_t>(block + static_cast<std::uint64_t>(i));
      b[i] = part;
      c[i] = static_cast<std::uint32_t>(step);
      d[i] = static_cast<std::uint32_t>(step >> 32);
    }
    auto key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < kSide; ++i) {
        const std::uint64_t p = std::uint64_t{0xD2511F53U} * a[i];
        const std::uint64_t q = std::uint64_t{0xCD9E8D57U} * c[i];
        a[i] = static_cast<std::uint32_t>(q >> 32) ^ b[i] ^ key0;
        b[i] = static_cast<std::uint32_t>(q);
        c[i] = static_cast<std::uint32_t>(p >> 32) ^ d[i] ^ key1;
        d[i] = static_cast<std::uint32_t>(p);
      }
      key0 += 0x9E3779B9U;
      key1 += 0xBB67AE85U;
    }
    std::uint8_t kept[4 * kSide];
    for (int i = 0; i < kSide; ++i) {
      kept[4 * i] = a[i] >= threshold;
      kept[4 * i + 1] = b[i] >= threshold;
      kept[4 * i + 2] = c[i] >= threshold;
      kept[4 * i + 3] = d[i] >= threshold;
    }
    const std::int64_t left = count - done < 4 * kSide ? count - done : 4 * kSide;
    for (std::int64_t i = 0; i < left; ++i) keep[done + i] = kept[i];
    block += kSide;
  }
}

void mask(const float* __restrict x, const std::uint8_t* __restrict keep, std::int64_t count,
          float scale, float* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = keep[i] ? x[i] * scale : 0.0F;
}

void sgd(float* __restrict w, const float* __restrict gradient, float* __restrict velocity,
         std::int64_t count, float rate, float momentum, float decay, bool nesterov) {
  if (!velocity) {
    for (std::int64_t i = 0; i < count; ++i) w[i] -= rate * (gradient[i] + decay * w[i]);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const float slope = gradient[i] + decay * w[i];
    const float speed = momentum * velocity[i] + slope;
    velocity[i] = speed;
    w[i] -= rate * (nesterov ? slope + momentum * speed : speed);
  }
}

void adam(float* __restrict w, const float* __restrict gradient, float* __restrict first,
          float* __restrict second, std::int64_t count, const Adam& g) {
  const float beta1 = g.beta1, beta2 = g.beta2, epsilon = g.epsilon, rate = g.rate;
  const float correction = g.correction, decay = g.decay, shrink = g.shrink;
  for (std::int64_t i = 0; i < count; ++i) {
    const float slope = gradient[i] + decay * w[i];
    const float m = beta1 * first[i] + (1.0F - beta1) * slope;
    const float v = beta2 * second[i] + (1.0F - beta2) * slope * slope;
    first[i] = m;
    second[i] = v;
    w[i] = shrink * w[i] - rate * m / (__builtin_sqrtf(v) * correction + epsilon);
  }
}

}  // namespace

#define BROOD_TEXT_OF(name) #name
#define BROOD_TEXT(name) BROOD_TEXT_OF(name)
extern const Kernels kKernels;
const Kernels kKernels = {BROOD_TEXT(BROOD_SET),
                          multiply,
                          weight_gradient,
                          sparse_multiply,
                          sparse_multiply_panel,
                          pack_panels,
                          transpose_panel,
                          bias_gradient,
                          winograd_input,
                          winograd_output,
                          winograd_output_gradient,
                          winograd_weights,
                          winograd_weights_gradient,
                          winograd_multiply,
                          winograd_multiply_gradient,
                          max_pool,
                          max_pool_gradient,
                          max_pool_2x2,
                          max_pool_2x2_gradient,
                          average_pool,
                          average_pool_gradient,
                          norm_statistics,
                          scale_shift,
                          norm_sums,
                          norm_gradient,
                          norm_max_pool,
                          norm_pool_gradient,
                          relu,
                          relu_gradient,
                          dropout_mask,
                          mask,
                          sgd,
                          adam};

}  // namespace brood::cnn::BROOD_SET
