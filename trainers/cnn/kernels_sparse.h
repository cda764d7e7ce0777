// Products with a matrix of few entries; included by kernels_body.h inside its namespace.
#pragma once

// Groups of 16 columns whose sums are under way at a time: enough to hide the latency of an
// addition, few enough for the registers.
constexpr int kSparseGroups = BROOD_VECTOR == 16 ? 8 : BROOD_VECTOR == 8 ? 4 : 2;

// N groups of C columns of one row.
template <int C, int N>
inline void sparse_row(const SparseEntry* e, const SparseEntry* end, const float* b,
                       std::int64_t group, float* y, bool accumulate) {
  constexpr int W = kWidth<C>, M = C / W;
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  V sum[N][M] = {};
  if (accumulate)
    BROOD_UNROLL for (int n = 0; n < N; ++n) BROOD_UNROLL for (int m = 0; m < M; ++m) sum[n][m] =
        *reinterpret_cast<const Loose*>(y + n * kPanel + m * W);
  for (; e != end; ++e) {
    const float* row = b + e->offset;
    const float value = e->value;
    BROOD_UNROLL for (int n = 0; n < N; ++n) BROOD_UNROLL for (int m = 0; m < M; ++m) sum[n][m] +=
        value * *reinterpret_cast<const Loose*>(row + n * group + m * W);
  }
  BROOD_UNROLL for (int n = 0; n < N; ++n) BROOD_UNROLL for (int m = 0; m < M; ++m) *
      reinterpret_cast<Loose*>(y + n * kPanel + m * W) = sum[n][m];
}

// All rows for N groups of C columns from `first` on.
template <int C, int N>
__attribute__((noinline)) void sparse_columns(const SparseProduct& g, std::int32_t first) {
  const float* b = g.b + first / kPanel * g.group;
  for (std::int32_t r = 0; r < g.rows; ++r) {
    const std::int32_t* begin = g.begin + r * g.step;
    sparse_row<C, N>(g.entries + begin[0], g.entries + begin[1], b, g.group,
                     g.y + r * g.y_stride + first, g.accumulate);
  }
}

// Columns from `first` on, as many at a time as fit.
template <int N>
void sparse_from(const SparseProduct& g, std::int32_t first) {
  for (; first + N * kPanel <= g.columns; first += N * kPanel) sparse_columns<kPanel, N>(g, first);
  if (first == g.columns) return;
  if constexpr (N > 1)
    sparse_from<N / 2>(g, first);
  else
    sparse_columns<kLanes, 1>(g, first);
}

void sparse_multiply(const SparseProduct& g) { sparse_from<kSparseGroups>(g, 0); }

void sparse_multiply_panel(const SparseProduct& g) {
  constexpr std::int32_t kStrip = kSparseGroups * kPanel;
  alignas(64) float tile[kPanel * kStrip] = {};
  for (std::int32_t first = 0; first < g.columns; first += kStrip) {
    SparseProduct strip = g;
    strip.b += first / kPanel * g.group;
    strip.y = tile;
    strip.y_stride = kStrip;
    strip.columns = g.columns - first < kStrip ? g.columns - first : kStrip;
    strip.accumulate = false;
    sparse_multiply(strip);
    for (std::int32_t c = 0; c < strip.columns; c += 4)
      for (std::int32_t r = 0; r < kPanel; r += 4)
        transpose_block(tile + r * kStrip + c, kStrip, g.y + (first + c) * kPanel + r, kPanel);
  }
}
