// Steps with several inputs: the sum of a residual, branches side by side, a gate per channel.
#include <algorithm>

#include "trainers/cnn/layers.h"

namespace brood::cnn {

namespace {

class Add final : public Layer {
 public:
  explicit Add(const Binding& b) : b_(b) {}

  void forward(const Pass& pass) override {
    each_row(pass, [&](int n, int y) {
      b_.light->add(b_.xs[0].at(n, y), b_.xs[1].at(n, y), run(), b_.step->relu, b_.y.at(n, y));
    });
  }

  void backward(const Pass& pass) override {
    for (const View& dx : b_.dxs) {
      if (!dx.data) continue;
      each_row(pass, [&](int n, int y) {
        if (b_.step->relu)
          b_.kernels->relu_gradient(b_.y.at(n, y), b_.dy.at(n, y), run(), dx.at(n, y));
        else
          std::copy_n(b_.dy.at(n, y), run(), dx.at(n, y));
      });
    }
  }

 private:
  // All three images are padded alike: neither sum nor projection is the image itself without
  // padded channels, as an activation or a sum reads it (see memory.cpp).
  std::int64_t run() const { return std::int64_t{b_.y.shape.width} * b_.y.pixel; }

  template <class Visit>
  void each_row(const Pass& pass, Visit visit) const {
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < b_.y.shape.height; ++y) visit(n, y);
  }

  const Binding b_;
};

class Concat final : public Layer {
 public:
  explicit Concat(const Binding& b) : b_(b) {}

  void forward(const Pass& pass) override {
    int first = 0;
    for (const View& x : b_.xs) {
      copy(pass, x, 0, b_.y, first, x.shape.channels);
      first += x.shape.channels;
    }
    // Something else may have lain here: the padded channels must be zero.
    if (first < b_.y.pixel) clear(pass, b_.y, first);
  }

  void backward(const Pass& pass) override {
    int first = 0;
    for (std::size_t i = 0; i < b_.xs.size(); ++i) {
      const View& dx = b_.dxs[i];
      const int channels = b_.xs[i].shape.channels;
      if (dx.data) {
        copy(pass, b_.dy, first, dx, 0, channels);
        if (channels < dx.pixel) clear(pass, dx, channels);
      }
      first += channels;
    }
  }

 private:
  void copy(const Pass& pass, const View& from, int from_first, const View& to, int to_first,
            int channels) const {
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < to.shape.height; ++y)
        b_.light->copy_channels(from.at(n, y) + from_first, from.pixel, to.shape.width, channels,
                                to.at(n, y) + to_first, to.pixel);
  }

  // The channels from `first` on.
  static void clear(const Pass& pass, const View& view, int first) {
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < view.shape.height; ++y)
        for (int x = 0; x < view.shape.width; ++x)
          std::fill(view.at(n, y) + x * view.pixel + first, view.at(n, y) + (x + 1) * view.pixel,
                    0.0F);
  }

  const Binding b_;
};

class Gate final : public Layer {
 public:
  explicit Gate(const Binding& b)
      : b_(b), channels_(b.y.pixel), factor_(b.scratch), sum_(b.scratch + b.y.pixel) {}

  void forward(const Pass& pass) override {
    for (int n = 0; n < pass.batch; ++n) {
      b_.light->sigmoid(b_.xs[1].at(n), channels_, factor_);
      for (int y = 0; y < b_.y.shape.height; ++y)
        b_.light->gate(b_.x.at(n, y), factor_, b_.y.shape.width, channels_, b_.y.at(n, y));
    }
  }

  void backward(const Pass& pass) override {
    const int width = b_.y.shape.width;
    for (int n = 0; n < pass.batch; ++n) {
      b_.light->sigmoid(b_.xs[1].at(n), channels_, factor_);
      std::fill_n(sum_, channels_, 0.0F);
      for (int y = 0; y < b_.y.shape.height; ++y) {
        b_.light->gate_sums(b_.x.at(n, y), b_.dy.at(n, y), width, channels_, sum_);
        if (b_.dx.data) b_.light->gate(b_.dy.at(n, y), factor_, width, channels_, b_.dx.at(n, y));
      }
      float* to = b_.dxs[1].at(n);
      for (int c = 0; c < channels_; ++c) to[c] = sum_[c] * factor_[c] * (1.0F - factor_[c]);
    }
  }

 private:
  const Binding b_;
  const int channels_;
  float *factor_, *sum_;  // one number per channel
};

}  // namespace

std::unique_ptr<Layer> make_add(const Binding& binding) { return std::make_unique<Add>(binding); }

std::unique_ptr<Layer> make_concat(const Binding& binding) {
  return std::make_unique<Concat>(binding);
}

std::unique_ptr<Layer> make_gate(const Binding& binding) { return std::make_unique<Gate>(binding); }

}  // namespace brood::cnn
