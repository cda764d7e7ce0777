// The pooling part of a kernel set's source; included by kernels_body.h inside its namespace.
#pragma once

void max_pool(const float* x, const PoolWindow& g, float* __restrict y,
              std::uint8_t* __restrict place) {
  bool first = true;
  for (std::int32_t i = g.first_row; i < g.last_row; ++i) {
    for (std::int32_t j = g.first_column; j < g.last_column; ++j) {
      const float* from = x + i * g.x_row + j * g.x_step;
      const auto k = static_cast<std::uint8_t>(i * g.size + j);
      if (first) {
        for (std::int32_t c = 0; c < g.channels; ++c) {
          y[c] = from[c];
          place[c] = k;
        }
      } else {
        for (std::int32_t c = 0; c < g.channels; ++c) {
          // A NaN wins and stays: a diverged network must not look healthy.
          const bool better = !(from[c] <= y[c]) && y[c] == y[c];
          y[c] = better ? from[c] : y[c];
          place[c] = better ? k : place[c];
        }
      }
      first = false;
    }
  }
}

void max_pool_gradient(const float* __restrict dy, const float* __restrict y,
                       const std::uint8_t* __restrict place, const PoolWindow& g,
                       float* __restrict dx) {
  for (std::int32_t i = g.first_row; i < g.last_row; ++i) {
    for (std::int32_t j = g.first_column; j < g.last_column; ++j) {
      float* to = dx + i * g.x_row + j * g.x_step;
      const auto k = static_cast<std::uint8_t>(i * g.size + j);
      for (std::int32_t c = 0; c < g.channels; ++c)
        to[c] += place[c] == k && (!y || y[c] > 0.0F) ? dy[c] : 0.0F;
    }
  }
}

template <int W>
struct Bytes {
  typedef std::uint8_t type __attribute__((vector_size(W)));
  typedef std::uint8_t loose __attribute__((vector_size(W), aligned(1)));
  typedef std::int32_t wide __attribute__((vector_size(4 * W)));
};

template <int W>
inline void pool_2x2(const float* x, std::int64_t row, std::int32_t channels, float* y,
                     std::uint8_t* place) {
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  using Wide = typename Bytes<W>::wide;
  const float* places[4] = {x, x + channels, x + row, x + row + channels};
  V most = *reinterpret_cast<const Loose*>(x);
  Wide where = {};
  BROOD_UNROLL for (int k = 1; k < 4; ++k) {
    const V value = *reinterpret_cast<const Loose*>(places[k]);
    // A NaN wins and stays: a diverged network must not look healthy.
    const Wide better = ~(value <= most) & (most == most);
    most = better ? value : most;
    where = better ? Wide{} + k : where;
  }
  *reinterpret_cast<Loose*>(y) = most;
  *reinterpret_cast<typename Bytes<W>::loose*>(place) =
      __builtin_convertvector(where, typename Bytes<W>::type);
}

template <int W>
inline void pool_2x2_gradient(const float* dy, const float* y, const std::uint8_t* place,
                              std::int64_t row, std::int32_t channels, float* dx) {
  using V = typename Vector<W>::type;
  using Loose = typename Vector<W>::loose;
  using Wide = typename Bytes<W>::wide;
  V slope = *reinterpret_cast<const Loose*>(dy);
  if (y) slope = *reinterpret_cast<const Loose*>(y) > 0.0F ? slope : V{};
  const typename Bytes<W>::type bytes = *reinterpret_cast<const typename Bytes<W>::loose*>(place);
  const Wide where = __builtin_convertvector(bytes, Wide);
  float* places[4] = {dx, dx + channels, dx + row, dx + row + channels};
  BROOD_UNROLL for (int k = 0; k < 4; ++k) * reinterpret_cast<Loose*>(places[k]) =
      where == Wide{} + k ? slope : V{};
}

void max_pool_2x2(const float* x, std::int64_t x_row, std::int32_t pixels, std::int32_t channels,
                  float* y, std::uint8_t* place) {
  constexpr int W = BROOD_VECTOR;
  for (std::int32_t p = 0; p < pixels; ++p, x += 2 * channels, y += channels, place += channels) {
    std::int32_t c = 0;
    for (; c + W <= channels; c += W) pool_2x2<W>(x + c, x_row, channels, y + c, place + c);
    if constexpr (W > kLanes)
      if (c < channels) pool_2x2<kLanes>(x + c, x_row, channels, y + c, place + c);
  }
}

void max_pool_2x2_gradient(const float* dy, const float* y, const std::uint8_t* place,
                           std::int64_t dx_row, std::int32_t pixels, std::int32_t channels,
                           float* dx) {
  constexpr int W = BROOD_VECTOR;
  for (std::int32_t p = 0; p < pixels; ++p, dx += 2 * channels, dy += channels, place += channels) {
    std::int32_t c = 0;
    for (; c + W <= channels; c += W)
      pool_2x2_gradient<W>(dy + c, y ? y + c : nullptr, place + c, dx_row, channels, dx + c);
    if constexpr (W > kLanes)
      if (c < channels)
        pool_2x2_gradient<kLanes>(dy + c, y ? y + c : nullptr, place + c, dx_row, channels, dx + c);
    if (y) y += channels;
  }
}

void average_pool(const float* x, const PoolWindow& g, float* __restrict y) {
  const std::int32_t count = (g.last_row - g.first_row) * (g.last_column - g.first_column);
  const float share = 1.0F / static_cast<float>(count);
  for (std::int32_t c = 0; c < g.channels; ++c) y[c] = 0.0F;
  for (std::int32_t i = g.first_row; i < g.last_row; ++i) {
    for (std::int32_t j = g.first_column; j < g.last_column; ++j) {
      const float* from = x + i * g.x_row + j * g.x_step;
      for (std::int32_t c = 0; c < g.channels; ++c) y[c] += from[c];
    }
  }
  for (std::int32_t c = 0; c < g.channels; ++c) y[c] *= share;
}

void average_pool_gradient(const float* __restrict dy, const PoolWindow& g, float* __restrict dx) {
  const std::int32_t count = (g.last_row - g.first_row) * (g.last_column - g.first_column);
  const float share = 1.0F / static_cast<float>(count);
  for (std::int32_t i = g.first_row; i < g.last_row; ++i) {
    for (std::int32_t j = g.first_column; j < g.last_column; ++j) {
      float* to = dx + i * g.x_row + j * g.x_step;
      for (std::int32_t c = 0; c < g.channels; ++c) to[c] += dy[c] * share;
    }
  }
}
