// The batch norm part of a kernel set's source; included by kernels_body.h inside its namespace.
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

void add_channels(const float* x, std::int32_t pixels, std::int32_t channels, float* sum) {
  const std::int64_t end = std::int64_t{pixels} * channels;
  each_vector(channels, [=](std::int32_t c, auto kind) {
    auto total = load(kind, sum + c);
    for (std::int64_t at = c; at < end; at += channels) total += load(kind, x + at);
    store(kind, sum + c, total);
  });
}

void add_squares(const float* x, std::int32_t pixels, std::int32_t channels, const float* mean,
                 float* sum) {
  const std::int64_t end = std::int64_t{pixels} * channels;
  each_vector(channels, [=](std::int32_t c, auto kind) {
    const auto middle = load(kind, mean + c);
    auto total = load(kind, sum + c);
    for (std::int64_t at = c; at < end; at += channels) {
      const auto distance = load(kind, x + at) - middle;
      total += distance * distance;
    }
    store(kind, sum + c, total);
  });
}

// Whole pixels in turn where something is written: memory is the limit.
void scale_shift(const float* __restrict x, std::int32_t pixels, std::int32_t channels,
                 const float* __restrict scale, const float* __restrict shift, bool relu,
                 float* __restrict y) {
  for (std::int32_t p = 0; p < pixels; ++p, x += channels, y += channels)
    for (std::int32_t c = 0; c < channels; ++c) {
      const float value = x[c] * scale[c] + shift[c];
      y[c] = relu && value <= 0.0F ? 0.0F : value;
    }
}

void norm_sums(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
               const float* mean, const float* inverse, const float* scale, const float* shift,
               float* sum, float* product) {
  const std::int64_t end = std::int64_t{pixels} * channels;
  each_vector(channels, [=](std::int32_t c, auto kind) {
    const auto middle = load(kind, mean + c), narrow = load(kind, inverse + c);
    const auto factor = load(kind, scale + c);
    const auto added = shift ? load(kind, shift + c) : decltype(factor){};
    auto total = load(kind, sum + c), correlated = load(kind, product + c);
    for (std::int64_t at = c; at < end; at += channels) {
      const auto value = load(kind, x + at);
      auto slope = load(kind, dy + at);
      if (shift) slope = value * factor + added > 0.0F ? slope : decltype(slope){};
      total += slope;
      correlated += slope * ((value - middle) * narrow);
    }
    store(kind, sum + c, total);
    store(kind, product + c, correlated);
  });
}

template <bool masked>
void norm_slope(const float* __restrict x, const float* __restrict dy, std::int32_t pixels,
                std::int32_t channels, const float* __restrict mean,
                const float* __restrict inverse, const float* __restrict scale,
                const float* __restrict shift, const float* __restrict a, const float* __restrict b,
                float* __restrict dx) {
  for (std::int32_t p = 0; p < pixels; ++p, x += channels, dy += channels, dx += channels)
    for (std::int32_t c = 0; c < channels; ++c) {
      const float slope = !masked || x[c] * scale[c] + shift[c] > 0.0F ? dy[c] : 0.0F;
      dx[c] = scale[c] * (slope - a[c] - (x[c] - mean[c]) * inverse[c] * b[c]);
    }
}

void norm_gradient(const float* x, const float* dy, std::int32_t pixels, std::int32_t channels,
                   const float* mean, const float* inverse, const float* scale, const float* shift,
                   const float* a, const float* b, float* dx) {
  if (shift)
    norm_slope<true>(x, dy, pixels, channels, mean, inverse, scale, shift, a, b, dx);
  else
    norm_slope<false>(x, dy, pixels, channels, mean, inverse, scale, mean, a, b, dx);
}
