// The batch norm part of a kernel set's source; included by kernels_body.h inside its namespace.
//
// Memory is the limit: each of these is one pass over it. A run of pixels, a row of an image, is
// walked once for every vector of channels, whose parameters stay in registers; the row stays in
// the first-level cache meanwhile.
#pragma once

// Calls visit(first channel, kind of vector) for runs of channels as wide as vectors go.
template <class Visit>
inline void each_vector(std::int32_t channels, Visit visit) {
  constexpr int W = BROOD_VECTOR;
  std::int32_t c = 0;
  for (; c + W <= channels; c += W) visit(c, Vector<W>{});
  if constexpr (W > kLanes)
    if (c < channels) visit(c, Vector<kLanes>{});
}

template <class T>
inline typename T::type load(T, const float* from) {
  return *reinterpret_cast<const typename T::loose*>(from);
}
template <class T>
inline void store(T, float* to, typename T::type value) {
  *reinterpret_cast<typename T::loose*>(to) = value;
}

void norm_statistics(const float* x, std::int32_t pixels, std::int32_t channels, float* sum,
                     float* square) {
  // Four sums side by side hide the latency of an addition.
  const std::int64_t end = std::int64_t{pixels} * channels;
  const std::int64_t fours = std::int64_t{pixels / 4} * 4 * channels;
  each_vector(channels, [=](std::int32_t c, auto kind) {
    using V = typename decltype(kind)::type;
    const V origin = load(kind, x + c);
    V sums[4] = {}, squares[4] = {};
    std::int64_t at = c;
    const auto add = [&](int i) __attribute__((always_inline)) {
      const V distance = load(kind, x + at) - origin;
      sums[i] += distance;
      squares[i] += distance * distance;
      at += channels;
    };
    while (at < fours) {
      add(0);
      add(1);
      add(2);
      add(3);
    }
    while (at < end) add(0);
    store(kind, sum + c, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    store(kind, square + c, (squares[0] + squares[1]) + (squares[2] + squares[3]));
  });
}

void scale_shift(const float* x, std::int32_t pixels, std::int32_t channels, const float* scale,
                 const float* shift, bool relu, float* y) {
  const std::int64_t end = std::int64_t{pixels} * channels;
  each_vector(channels, [=](std::int32_t c, auto kind) {
    using V = typename decltype(kind)::type;
    const V factor = load(kind, scale + c), added = load(kind, shift + c);
    for (std::int64_t at = c; at < end; at += channels) {
      V value = load(kind, x + at) * factor + added;
      if (relu) value = value <= 0.0F ? V{} : value;
      store(kind, y + at, value);
    }
  });
}

void norm_sums(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
               const float* mean, const float* scale, const float* shift, float* sum,
               float* product) {
  const std::int64_t end = std::int64_t{pixels} * channels;
  each_vector(channels, [=](std::int32_t c, auto kind) {
    using V = typename decltype(kind)::type;
    const V middle = load(kind, mean + c), factor = load(kind, scale + c);
    const V added = shift ? load(kind, shift + c) : V{};
    V total = {}, correlated = {};
    for (std::int64_t at = c; at < end; at += channels) {
      const V value = load(kind, x + at);
      V slope = load(kind, dy + at);
      if (shift) slope = value * factor + added > 0.0F ? slope : V{};
      total += slope;
      correlated += slope * (value - middle);
    }
    store(kind, sum + c, total);
    store(kind, product + c, correlated);
  });
}

void norm_gradient(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
                   const float* mean, const float* scale, const float* shift, const float* a,
                   const float* b, float* dx) {
  const std::int64_t end = std::int64_t{pixels} * channels;
  each_vector(channels, [=](std::int32_t c, auto kind) {
    using V = typename decltype(kind)::type;
    const V middle = load(kind, mean + c), factor = load(kind, scale + c);
    const V added = shift ? load(kind, shift + c) : V{};
    const V constant = load(kind, a + c), linear = load(kind, b + c);
    for (std::int64_t at = c; at < end; at += channels) {
      const V value = load(kind, x + at);
      V slope = load(kind, dy + at);
      if (shift) slope = value * factor + added > 0.0F ? slope : V{};
      store(kind, dx + at, factor * slope - constant - (value - middle) * linear);
    }
  });
}

// The four places of a window of 2x2, from its first pixel on.
struct Window2x2 {
  std::int64_t at[4];
  Window2x2(std::int32_t channels, std::int64_t row) : at{0, channels, row, row + channels} {}
};

void norm_max_pool(const float* x, std::int64_t x_row, std::int32_t pixels, std::int32_t channels,
                   const float* scale, const float* shift, bool relu, float* y, float* largest,
                   std::uint8_t* place) {
  const Window2x2 window(channels, x_row);
  each_vector(channels, [=](std::int32_t c, auto kind) {
    using V = typename decltype(kind)::type;
    using B = Bytes<sizeof(V) / sizeof(float)>;
    const V factor = load(kind, scale + c), added = load(kind, shift + c);
    for (std::int32_t p = 0; p < pixels; ++p) {
      const float* from = x + std::int64_t{2 * p} * channels + c;
      V chosen = load(kind, from);
      V most = chosen * factor + added;
      typename B::wide where = {};
      BROOD_UNROLL for (int k = 1; k < 4; ++k) {
        const V candidate = load(kind, from + window.at[k]), value = candidate * factor + added;
        // A NaN wins and stays: a diverged network must not look healthy.
        const typename B::wide better = ~(value <= most) & (most == most);
        most = better ? value : most;
        chosen = better ? candidate : chosen;
        where = better ? typename B::wide{} + k : where;
      }
      if (relu) most = most <= 0.0F ? V{} : most;
      const std::int64_t to = std::int64_t{p} * channels + c;
      store(kind, y + to, most);
      store(kind, largest + to, chosen);
      *reinterpret_cast<typename B::loose*>(place + to) =
          __builtin_convertvector(where, typename B::type);
    }
  });
}

void norm_pool_gradient(const float* x, std::int64_t x_row, const float* dy,
                        const std::uint8_t* place, std::int32_t pixels, std::int32_t channels,
                        const float* mean, const float* scale, const float* shift, const float* a,
                        const float* b, float* dx, std::int64_t dx_row) {
  const Window2x2 window(channels, x_row), written(channels, dx_row);
  each_vector(channels, [=](std::int32_t c, auto kind) {
    using V = typename decltype(kind)::type;
    using B = Bytes<sizeof(V) / sizeof(float)>;
    using Wide = typename B::wide;
    const V middle = load(kind, mean + c), factor = load(kind, scale + c);
    const V added = shift ? load(kind, shift + c) : V{};
    const V constant = load(kind, a + c), linear = load(kind, b + c);
    for (std::int32_t p = 0; p < pixels; ++p) {
      const std::int64_t from = std::int64_t{p} * channels + c,
                         at = from + std::int64_t{p} * channels;
      const typename B::type bytes = *reinterpret_cast<const typename B::loose*>(place + from);
      const Wide where = __builtin_convertvector(bytes, Wide);
      V value[4], slope = load(kind, dy + from);
      BROOD_UNROLL for (int k = 0; k < 4; ++k) value[k] = load(kind, x + at + window.at[k]);
      if (shift) {
        V largest = value[0];
        BROOD_UNROLL for (int k = 1; k < 4; ++k) largest = where == Wide{} + k ? value[k] : largest;
        slope = largest * factor + added > 0.0F ? slope : V{};
      }
      slope = factor * slope - constant;
      BROOD_UNROLL for (int k = 0; k < 4; ++k) {
        const V rest = (value[k] - middle) * linear;
        store(kind, dx + at + written.at[k], (where == Wide{} + k ? slope : V{} - constant) - rest);
      }
    }
  });
}
