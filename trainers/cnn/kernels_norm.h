// The batch norm part of a kernel set's source; included by kernels_body.h inside its namespace.
//
// Memory is the limit: each of these is one pass over it. A run of pixels, a row of an image, is
// walked once for every group of channels, whose parameters stay in registers; the wider the group,
// the longer the pieces of memory that are read in order.
#pragma once

// N vectors of W channels each, side by side, with a ReLU or without: no branch in a loop could
// come between a product and a sum that are fused.
template <int W, int N, bool Relu>
struct Group : Vector<W> {
  static constexpr int width = W, count = N;
  static constexpr bool relu = Relu;
};

// Calls visit(first channel, kind of group) for groups as wide as they go.
template <bool Relu, class Visit>
inline void groups_with(std::int32_t channels, Visit visit) {
  constexpr int W = BROOD_VECTOR;
  std::int32_t c = 0;
  for (; c + 4 * W <= channels; c += 4 * W) visit(c, Group<W, 4, Relu>{});
  for (; c + 2 * W <= channels; c += 2 * W) visit(c, Group<W, 2, Relu>{});
  for (; c + W <= channels; c += W) visit(c, Group<W, 1, Relu>{});
  if constexpr (W > kLanes)
    if (c < channels) visit(c, Group<kLanes, 1, Relu>{});
}
template <class Visit>
inline void each_group(std::int32_t channels, bool relu, Visit visit) {
  relu ? groups_with<true>(channels, visit) : groups_with<false>(channels, visit);
}

// Calls visit(first channel, kind of vector) for single vectors.
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

// A parameter of every channel of a group.
template <class T>
struct Values {
  typename T::type of[T::count];
  explicit Values(const float* from) {
    BROOD_UNROLL for (int n = 0; n < T::count; ++n) of[n] = load(T{}, from + n * T::width);
  }
};

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
  each_group(channels, relu, [=](std::int32_t c, auto kind) {
    using Kind = decltype(kind);
    using V = typename Kind::type;
    const Values<Kind> factor(scale + c), added(shift + c);
    for (std::int64_t at = c; at < end; at += channels)
      BROOD_UNROLL for (int n = 0; n < Kind::count; ++n) {
        V value = load(kind, x + at + n * Kind::width) * factor.of[n] + added.of[n];
        if constexpr (Kind::relu) value = value <= 0.0F ? V{} : value;
        store(kind, y + at + n * Kind::width, value);
      }
  });
}

// The gradient that a ReLU behind a norm passes on.
template <class V>
inline V through_relu(V slope, V value, V factor, V added) {
  return value * factor + added > 0.0F ? slope : V{};
}

void norm_sums(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
               const float* mean, const float* scale, const float* shift, float* sum,
               float* product) {
  const std::int64_t end = std::int64_t{pixels} * channels;
  each_group(channels, shift != nullptr, [=](std::int32_t c, auto kind) {
    using Kind = decltype(kind);
    using V = typename Kind::type;
    // Without a ReLU the shift is not looked at.
    const Values<Kind> middle(mean + c), factor(scale + c), added((Kind::relu ? shift : scale) + c);
    V total[Kind::count] = {}, correlated[Kind::count] = {};
    for (std::int64_t at = c; at < end; at += channels)
      BROOD_UNROLL for (int n = 0; n < Kind::count; ++n) {
        const V value = load(kind, x + at + n * Kind::width);
        V slope = load(kind, dy + at + n * Kind::width);
        if constexpr (Kind::relu) slope = through_relu(slope, value, factor.of[n], added.of[n]);
        total[n] += slope;
        correlated[n] += slope * (value - middle.of[n]);
      }
    BROOD_UNROLL for (int n = 0; n < Kind::count; ++n) {
      store(kind, sum + c + n * Kind::width, total[n]);
      store(kind, product + c + n * Kind::width, correlated[n]);
    }
  });
}

void norm_gradient(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
                   const float* mean, const float* scale, const float* shift, const float* a,
                   const float* b, float* dx) {
  const std::int64_t end = std::int64_t{pixels} * channels;
  each_group(channels, shift != nullptr, [=](std::int32_t c, auto kind) {
    using Kind = decltype(kind);
    using V = typename Kind::type;
    const Values<Kind> middle(mean + c), factor(scale + c), added((Kind::relu ? shift : scale) + c);
    const Values<Kind> constant(a + c), linear(b + c);
    for (std::int64_t at = c; at < end; at += channels)
      BROOD_UNROLL for (int n = 0; n < Kind::count; ++n) {
        const V value = load(kind, x + at + n * Kind::width);
        V slope = load(kind, dy + at + n * Kind::width);
        if constexpr (Kind::relu) slope = through_relu(slope, value, factor.of[n], added.of[n]);
        store(kind, dx + at + n * Kind::width,
              factor.of[n] * slope - constant.of[n] - (value - middle.of[n]) * linear.of[n]);
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
  each_group(channels, relu, [=](std::int32_t c, auto kind) {
    using Kind = decltype(kind);
    using V = typename Kind::type;
    using B = Bytes<Kind::width>;
    const Values<Kind> factor(scale + c), added(shift + c);
    std::int64_t to = c, from = c;
    for (std::int32_t p = 0; p < pixels; ++p, to += channels, from += 2 * channels)
      BROOD_UNROLL for (int n = 0; n < Kind::count; ++n) {
        const std::int64_t at = n * Kind::width;
        V chosen = load(kind, x + from + at);
        V most = chosen * factor.of[n] + added.of[n];
        typename B::wide where = {};
        BROOD_UNROLL for (int k = 1; k < 4; ++k) {
          const V candidate = load(kind, x + from + at + window.at[k]);
          const V value = candidate * factor.of[n] + added.of[n];
          // A NaN wins and stays: a diverged network must not look healthy.
          const typename B::wide better = ~(value <= most) & (most == most);
          most = better ? value : most;
          chosen = better ? candidate : chosen;
          where = better ? typename B::wide{} + k : where;
        }
        if constexpr (Kind::relu) most = most <= 0.0F ? V{} : most;
        store(kind, y + to + at, most);
        store(kind, largest + to + at, chosen);
        *reinterpret_cast<typename B::loose*>(place + to + at) =
            __builtin_convertvector(where, typename B::type);
      }
  });
}

void norm_pool_gradient(const float* x, std::int64_t x_row, const float* dy,
                        const std::uint8_t* place, std::int32_t pixels, std::int32_t channels,
                        const float* mean, const float* scale, const float* shift, const float* a,
                        const float* b, float* dx, std::int64_t dx_row) {
  const Window2x2 window(channels, x_row), written(channels, dx_row);
  each_group(channels, shift != nullptr, [=](std::int32_t c, auto kind) {
    using Kind = decltype(kind);
    using V = typename Kind::type;
    using B = Bytes<Kind::width>;
    using Wide = typename B::wide;
    const Values<Kind> middle(mean + c), factor(scale + c), added((Kind::relu ? shift : scale) + c);
    const Values<Kind> constant(a + c), linear(b + c);
    std::int64_t from = c, to = c;
    for (std::int32_t p = 0; p < pixels; ++p, from += channels, to += 2 * channels)
      BROOD_UNROLL for (int n = 0; n < Kind::count; ++n) {
        const std::int64_t at = n * Kind::width;
        const Wide where = __builtin_convertvector(
            *reinterpret_cast<const typename B::loose*>(place + from + at), Wide);
        V value[4], slope = load(kind, dy + from + at);
        BROOD_UNROLL for (int k = 0; k < 4; ++k) value[k] = load(kind, x + to + at + window.at[k]);
        if constexpr (Kind::relu) {
          V largest = value[0];
          BROOD_UNROLL for (int k = 1; k < 4; ++k) largest =
              where == Wide{} + k ? value[k] : largest;
          slope = through_relu(slope, largest, factor.of[n], added.of[n]);
        }
        slope = factor.of[n] * slope - constant.of[n];
        BROOD_UNROLL for (int k = 0; k < 4; ++k) {
          const V rest = (value[k] - middle.of[n]) * linear.of[n];
          store(kind, dx + to + at + written.at[k],
                (where == Wide{} + k ? slope : V{} - constant.of[n]) - rest);
        }
      }
  });
}
