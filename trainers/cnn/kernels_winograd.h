// The Winograd part of a kernel set's source; included by kernels_body.h inside its namespace.
//
// A tile of 4x4 outputs of a KxK convolution is a sum over channels of products of 6x6 (K = 3) or
// 8x8 (K = 5) transformed values (Lavin, Gray, "Fast algorithms for convolutional neural networks",
// CVPR 2016). Points of the transforms: 0, 1, -1, 2, -2, infinity for K = 3, and 1/2, -1/2 as well
// for K = 5. Rows of B^T, A^T and G follow from the points (Cook, Toom); G carries the scales, so
// that B and A hold small numbers.
#pragma once

template <int K>
constexpr int kSide = K + 3;  // points of a side

// B^T d in parts that share no terms; a part of one side and all of the other fit the registers.
template <int K>
constexpr int kParts = K == 3 ? 2 : 3;
template <int K>
constexpr int part_begin(int part) {
  return K == 3 || part < 2 ? 3 * part : part == 2 ? 5 : 8;
}

// Rows part_begin(P) to part_begin(P + 1) of B^T d.
template <int K, int P, class V>
inline void to_points(const V* d, V* out) {
  if constexpr (K == 3 && P == 0) {
    const V a = d[4] - 4.0F * d[2], b = d[3] - 4.0F * d[1];
    out[0] = 4.0F * d[0] - 5.0F * d[2] + d[4], out[1] = a + b, out[2] = a - b;
  } else if constexpr (K == 3) {
    const V a = d[4] - d[2], b = 2.0F * (d[3] - d[1]);
    out[0] = a + b, out[1] = a - b, out[2] = 4.0F * d[1] - 5.0F * d[3] + d[5];
  } else if constexpr (P == 0) {
    const V a = d[6] + d[2] - 4.25F * d[4], b = d[5] + d[1] - 4.25F * d[3];
    out[0] = d[6] - d[0] + 5.25F * (d[2] - d[4]), out[1] = a + b, out[2] = a - b;
  } else if constexpr (P == 1) {
    const V a = d[6] - 1.25F * d[4] + 0.25F * d[2];
    const V b = 2.0F * d[5] - 2.5F * d[3] + 0.5F * d[1];
    out[0] = a + b, out[1] = a - b;
  } else {
    const V a = d[6] - 5.0F * d[4] + 4.0F * d[2];
    const V b = 0.5F * d[5] - 2.5F * d[3] + 2.0F * d[1];
    out[0] = a + b, out[1] = a - b, out[2] = d[7] - d[1] + 5.25F * (d[3] - d[5]);
  }
}

// y = A^T z: from the points to 4 outputs.
template <int K, class V>
inline void from_points(const V* z, V* y) {
  const V sum1 = z[1] + z[2], difference1 = z[1] - z[2];
  const V sum2 = z[3] + z[4], difference2 = z[3] - z[4];
  y[0] = z[0] + sum1 + sum2;
  y[1] = difference1 + 2.0F * difference2;
  y[2] = sum1 + 4.0F * sum2;
  y[3] = difference1 + 8.0F * difference2 + z[kSide<K> - 1];
  if constexpr (K == 5) {
    const V sum3 = z[5] + z[6], difference3 = z[5] - z[6];
    y[0] += sum3;
    y[1] += 0.5F * difference3;
    y[2] += 0.25F * sum3;
    y[3] += 0.125F * difference3;
  }
}

// z = A y: from the gradients of 4 outputs to the points.
template <int K, class V>
inline void outputs_to_points(const V* y, V* z) {
  const V even1 = y[0] + y[2], odd1 = y[1] + y[3];
  const V even2 = y[0] + 4.0F * y[2], odd2 = 2.0F * y[1] + 8.0F * y[3];
  z[0] = y[0], z[1] = even1 + odd1, z[2] = even1 - odd1, z[3] = even2 + odd2;
  z[4] = even2 - odd2, z[kSide<K> - 1] = y[3];
  if constexpr (K == 5) {
    const V even3 = y[0] + 0.25F * y[2], odd3 = 0.5F * y[1] + 0.125F * y[3];
    z[5] = even3 + odd3, z[6] = even3 - odd3;
  }
}

template <int K>
struct WeightTransform;
template <>
struct WeightTransform<3> {
  static constexpr float kG[6][3] = {{1 / 4.F, 0, 0},
                                     {-1 / 6.F, -1 / 6.F, -1 / 6.F},
                                     {-1 / 6.F, 1 / 6.F, -1 / 6.F},
                                     {1 / 24.F, 1 / 12.F, 1 / 6.F},
                                     {1 / 24.F, -1 / 12.F, 1 / 6.F},
                                     {0, 0, 1}};
};
template <>
struct WeightTransform<5> {
  static constexpr float kG[8][5] = {{-1, 0, 0, 0, 0},
                                     {-2 / 9.F, -2 / 9.F, -2 / 9.F, -2 / 9.F, -2 / 9.F},
                                     {-2 / 9.F, 2 / 9.F, -2 / 9.F, 2 / 9.F, -2 / 9.F},
                                     {1 / 90.F, 1 / 45.F, 2 / 45.F, 4 / 45.F, 8 / 45.F},
                                     {1 / 90.F, -1 / 45.F, 2 / 45.F, -4 / 45.F, 8 / 45.F},
                                     {32 / 45.F, 16 / 45.F, 8 / 45.F, 4 / 45.F, 2 / 45.F},
                                     {32 / 45.F, -16 / 45.F, 8 / 45.F, -4 / 45.F, 2 / 45.F},
                                     {0, 0, 0, 0, 1}};
};

// Walks the tiles of a group in order.
struct TileCursor {
  const WinogradTiles& g;
  std::int32_t column, row;
  float* image;
  explicit TileCursor(const WinogradTiles& tiles) : g(tiles) {
    const std::int32_t each = g.across * g.down, inside = g.first % each;
    column = inside % g.across;
    row = inside / g.across;
    image = g.data + g.first / each * g.image;
  }
  float* at() const { return image + 4 * (row * g.row + column * g.pixel); }
  void advance() {
    if (++column < g.across) return;
    column = 0;
    if (++row < g.down) return;
    row = 0;
    image += g.image;
  }
};

template <int K, int W, int P>
inline void input_part(const float* x, std::int64_t row, std::int64_t pixel, float* v,
                       std::int64_t plane) {
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  constexpr int S = kSide<K>, first = part_begin<K>(P), rows = part_begin<K>(P + 1) - first;
  V half[rows][S];
  BROOD_UNROLL for (int j = 0; j < S; ++j) {
    V d[S], out[rows];
    BROOD_UNROLL for (int i = 0; i < S; ++i) d[i] =
        *reinterpret_cast<const Loose*>(x + i * row + j * pixel);
    to_points<K, P>(d, out);
    BROOD_UNROLL for (int i = 0; i < rows; ++i) half[i][j] = out[i];
  }
  v += first * S * plane;
  BROOD_UNROLL for (int i = 0; i < rows; ++i) {
    V out[S];
    to_points<K, 0>(half[i], out);
    to_points<K, 1>(half[i], out + part_begin<K>(1));
    if constexpr (kParts < K >> 2) to_points<K, 2>(half[i], out + part_begin<K>(2));
    BROOD_UNROLL for (int j = 0; j < S; ++j) {
      *reinterpret_cast<Loose*>(v) = out[j];
      v += plane;
    }
  }
}

template <int K, int W>
__attribute__((noinline)) void input_tile(const float* x, std::int64_t row, std::int64_t pixel,
                                          float* v, std::int64_t plane) {
  input_part<K, W, 0>(x, row, pixel, v, plane);
  input_part<K, W, 1>(x, row, pixel, v, plane);
  if constexpr (kParts < K >> 2) input_part<K, W, 2>(x, row, pixel, v, plane);
}

template <int K>
void input_tiles(const WinogradTiles& g, float* v, std::int64_t plane) {
  constexpr int W = BROOD_VECTOR;
  TileCursor at(g);
  for (std::int32_t t = 0; t < g.count; ++t, at.advance(), v += g.channels) {
    const float* x = at.at();
    std::int32_t c = 0;
    for (; c + W <= g.channels; c += W) input_tile<K, W>(x + c, g.row, g.pixel, v + c, plane);
    if constexpr (W > 8)
      if (c < g.channels) input_tile<K, 8>(x + c, g.row, g.pixel, v + c, plane);
  }
}

template <int K, int W>
__attribute__((noinline)) void output_tile(const float* m, std::int64_t plane, float* y,
                                           std::int64_t row, std::int64_t pixel, std::int32_t rows,
                                           std::int32_t columns, const float* bias, bool relu) {
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  constexpr int S = kSide<K>;
  V half[4][S];
  BROOD_UNROLL for (int j = 0; j < S; ++j) {
    V z[S], out[4];
    BROOD_UNROLL for (int i = 0; i < S; ++i) z[i] =
        *reinterpret_cast<const Loose*>(m + (i * S + j) * plane);
    from_points<K>(z, out);
    BROOD_UNROLL for (int i = 0; i < 4; ++i) half[i][j] = out[i];
  }
  const V added = bias ? *reinterpret_cast<const Loose*>(bias) : V{};
  const auto finish = [&](int i, V* out) __attribute__((always_inline)) {
    from_points<K>(half[i], out);
    BROOD_UNROLL for (int j = 0; j < 4; ++j) {
      out[j] += added;
      if (relu) out[j] = out[j] <= 0.0F ? V{} : out[j];
    }
  };
  if (rows == 4 && columns == 4) {  // everything stays in registers
    BROOD_UNROLL for (int i = 0; i < 4; ++i) {
      V out[4];
      finish(i, out);
      BROOD_UNROLL for (int j = 0; j < 4; ++j) *
          reinterpret_cast<Loose*>(y + i * row + j * pixel) = out[j];
    }
    return;
  }
  for (std::int32_t i = 0; i < rows; ++i) {
    V out[4];
    finish(i, out);
    for (std::int32_t j = 0; j < columns; ++j)
      *reinterpret_cast<Loose*>(y + i * row + j * pixel) = out[j];
  }
}

template <int K>
void output_tiles(const float* m, std::int64_t plane, const WinogradTiles& g, const float* bias,
                  bool relu) {
  constexpr int W = BROOD_VECTOR;
  TileCursor at(g);
  for (std::int32_t t = 0; t < g.count; ++t, at.advance(), m += kPanel) {
    const std::int32_t below = g.height - 4 * at.row, right = g.width - 4 * at.column;
    const std::int32_t rows = below < 4 ? below : 4, columns = right < 4 ? right : 4;
    float* y = at.at();
    std::int32_t c = 0;
    for (; c + W <= g.channels; c += W)
      output_tile<K, W>(m + c, plane, y + c, g.row, g.pixel, rows, columns,
                        bias ? bias + c : nullptr, relu);
    if constexpr (W > 8)
      if (c < g.channels)
        output_tile<K, 8>(m + c, plane, y + c, g.row, g.pixel, rows, columns,
                          bias ? bias + c : nullptr, relu);
  }
}

template <int K, int W>
__attribute__((noinline)) void gradient_tile(const float* dy, std::int64_t row, std::int64_t pixel,
                                             float* m, std::int64_t plane) {
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  constexpr int S = kSide<K>;
  V half[S][4];
  BROOD_UNROLL for (int j = 0; j < 4; ++j) {
    V y[4], z[S];
    BROOD_UNROLL for (int i = 0; i < 4; ++i) y[i] =
        *reinterpret_cast<const Loose*>(dy + i * row + j * pixel);
    outputs_to_points<K>(y, z);
    BROOD_UNROLL for (int i = 0; i < S; ++i) half[i][j] = z[i];
  }
  BROOD_UNROLL for (int i = 0; i < S; ++i) {
    V z[S];
    outputs_to_points<K>(half[i], z);
    BROOD_UNROLL for (int j = 0; j < S; ++j) {
      *reinterpret_cast<Loose*>(m) = z[j];
      m += plane;
    }
  }
}

template <int K>
void gradient_tiles(const WinogradTiles& g, float* m, std::int64_t plane, float* sum) {
  constexpr int W = BROOD_VECTOR;
  const float* ones = m + (kSide<K> + 1) * plane;  // at the points (1, 1): sums of whole tiles
  TileCursor at(g);
  for (std::int32_t t = 0; t < g.count; ++t, at.advance(), m += kPanel) {
    const float* dy = at.at();
    std::int32_t c = 0;
    for (; c + W <= g.channels; c += W) gradient_tile<K, W>(dy + c, g.row, g.pixel, m + c, plane);
    if constexpr (W > 8)
      if (c < g.channels) gradient_tile<K, 8>(dy + c, g.row, g.pixel, m + c, plane);
  }
  if (!sum) return;
  for (std::int32_t t = 0; t < g.count; ++t, ones += kPanel)
    for (std::int32_t lane = 0; lane < g.channels; ++lane) sum[lane] += ones[lane];
}

// Weights to points, U = G w G^T, or, with Back, gradients of points to those of weights,
// dw += G^T dU G: one input channel and W outputs at a time. Both begin with the index that lies
// apart in G's rows: rows of the kernel, and columns of the points.
template <int K, bool Back>
void transform_weights(const float* from, std::int32_t depth, float* to) {
  constexpr int F = Back ? kSide<K> : K, T = Back ? K : kSide<K>, W = kWidth<kPanel>;
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  const auto g = [](int target, int source) __attribute__((always_inline)) {
    return Back ? WeightTransform<K>::kG[source][target] : WeightTransform<K>::kG[target][source];
  };
  const std::int64_t step = std::int64_t{depth} * kPanel;  // from one tap or point to the next
  for (std::int64_t at = 0; at < step; at += W) {
    V half[T][F];
    BROOD_UNROLL for (int j = 0; j < F; ++j) {
      V in[F];
      BROOD_UNROLL for (int i = 0; i < F; ++i) in[i] =
          *reinterpret_cast<const Loose*>(from + (Back ? j * F + i : i * F + j) * step + at);
      BROOD_UNROLL for (int t = 0; t < T; ++t) {
        V sum = g(t, 0) * in[0];
        BROOD_UNROLL for (int i = 1; i < F; ++i) sum += g(t, i) * in[i];
        half[t][j] = sum;
      }
    }
    BROOD_UNROLL for (int t = 0; t < T; ++t) BROOD_UNROLL for (int u = 0; u < T; ++u) {
      auto* out = reinterpret_cast<Loose*>(to + (Back ? u * T + t : t * T + u) * step + at);
      V sum = g(u, 0) * half[t][0];
      if constexpr (Back) sum = *out + g(u, 0) * half[t][0];
      BROOD_UNROLL for (int j = 1; j < F; ++j) sum += g(u, j) * half[t][j];
      *out = sum;
    }
  }
}

// R tiles by C columns at one point.
template <int C, int R>
__attribute__((noinline)) void point_tile(const float* v, std::int64_t stride, const float* u,
                                          std::int32_t depth, float* m) {
  constexpr int W = kWidth<C>, N = C / W;
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  V sum[R][N] = {};
  const float* x[R];
  BROOD_UNROLL for (int r = 0; r < R; ++r) x[r] = v + r * stride;
#pragma GCC unroll 2
  for (std::int32_t c = 0; c < depth; ++c) {
    V row[N];
    BROOD_UNROLL for (int n = 0; n < N; ++n) row[n] = *reinterpret_cast<const Loose*>(u + n * W);
    u += kPanel;
    BROOD_UNROLL for (int r = 0; r < R; ++r) {
      const float value = x[r][c];
      BROOD_UNROLL for (int n = 0; n < N; ++n) sum[r][n] += value * row[n];
    }
  }
  BROOD_UNROLL for (int r = 0; r < R; ++r) BROOD_UNROLL for (int n = 0; n < N; ++n) *
      reinterpret_cast<Loose*>(m + r * kPanel + n * W) = sum[r][n];
}

template <int C, int R>
void point_rows(int rows, const float* v, std::int64_t stride, const float* u, std::int32_t depth,
                float* m) {
  if constexpr (R > 1)
    if (rows < R) return point_rows<C, R - 1>(rows, v, stride, u, depth, m);
  point_tile<C, R>(v, stride, u, depth, m);
}

template <int C, int R>
void point_products(const WinogradProduct& g) {
  const float* u = g.u;
  const Parts parts(g.tiles, R);
  for (std::int32_t p = 0; p < g.points; ++p, u += std::int64_t{g.depth} * kPanel) {
    const float* v = g.v + p * g.v_plane;
    float* m = g.m + p * g.m_plane;
    for (std::int32_t part = 0; part < parts.count; ++part) {
      const std::int32_t rows = parts.of(part);
      point_rows<C, R>(rows, v, g.v_stride, u, g.depth, m);
      v += rows * g.v_stride;
      m += rows * kPanel;
    }
  }
}

void winograd_multiply(const WinogradProduct& g) {
  if (g.columns > 8)
    point_products<16, kRows16>(g);
  else
    point_products<8, kRows8>(g);
}

void winograd_multiply_gradient(const WinogradProduct& g) {
  WeightGradient all{};
  all.x_step = g.v_stride;
  all.pixel_rows = 1;
  all.pixel_columns = g.tiles;
  const Parts parts(g.depth, kRows16);
  float* du = g.u;
  for (std::int32_t p = 0; p < g.points; ++p) {
    const float* v = g.v + p * g.v_plane;
    const float* m = g.m + p * g.m_plane;
    for (std::int32_t part = 0; part < parts.count; ++part) {
      const std::int32_t rows = parts.of(part);
      if (g.columns > 8)
        weight_rows<16, kRows16>(rows, all, v, m, du);
      else
        weight_rows<8, kRows16>(rows, all, v, m, du);
      v += rows;
      du += rows * kPanel;
    }
  }
}

void winograd_input(int kernel, const WinogradTiles& g, float* v, std::int64_t plane) {
  kernel == 3 ? input_tiles<3>(g, v, plane) : input_tiles<5>(g, v, plane);
}
void winograd_output(int kernel, const float* m, std::int64_t plane, const WinogradTiles& g,
                     const float* bias, bool relu) {
  kernel == 3 ? output_tiles<3>(m, plane, g, bias, relu) : output_tiles<5>(m, plane, g, bias, relu);
}
void winograd_output_gradient(int kernel, const WinogradTiles& g, float* m, std::int64_t plane,
                              float* sum) {
  kernel == 3 ? gradient_tiles<3>(g, m, plane, sum) : gradient_tiles<5>(g, m, plane, sum);
}
void winograd_weights(int kernel, const float* w, std::int32_t depth, float* u) {
  kernel == 3 ? transform_weights<3, false>(w, depth, u) : transform_weights<5, false>(w, depth, u);
}
void winograd_weights_gradient(int kernel, const float* du, std::int32_t depth, float* dw) {
  kernel == 3 ? transform_weights<3, true>(du, depth, dw)
              : transform_weights<5, true>(du, depth, dw);
}
