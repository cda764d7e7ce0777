// Convolution with stride 1 by the Winograd path, forward and both gradients.
//
// Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. A group of tiles is
// transformed at a time; one panel of 16 outputs after another is then multiplied and transformed
// back, so that the products never leave the cache. Sums run over the tiles in the order of the
// batch: the same bits on every run.
#include <algorithm>
#include <vector>

#include "trainers/cnn/fusion.h"
#include "trainers/cnn/layers.h"
#include "trainers/cnn/winograd.h"

namespace brood::cnn {

namespace {

class WinogradConv final : public Layer {
 public:
  explicit WinogradConv(const Binding& b)
      : b_(b), step_(*b.step), kernels_(*b.kernels), mask_(b.step->relu && !b.dy_masked) {
    const Shape &in = b.x.shape, &out = b.y.shape;
    const int kernel = step_.kernel_height;
    taps_ = std::int64_t{kernel} * kernel;
    forward_ = make_winograd(kernel, out.height, out.width, in.channels, out.channels);
    backward_ = make_winograd(kernel, in.height, in.width, out.channels, in.channels);
    for (std::int64_t t = taps_; t-- > 0;) flipped_.push_back(static_cast<std::int32_t>(t));
  }

  void forward(const Pass& pass) override {
    const Shape &in = b_.x.shape, &out = b_.y.shape;
    for (int panel = 0; panel < panels(out.channels); ++panel)
      kernels_.winograd_weights(step_.kernel_height,
                                b_.weight + panel * taps_ * in.channels * kPanel, in.channels,
                                panel_of(forward_weights(), forward_, in.channels, panel));
    each_part(pass.batch, [&](int n, int count) {
      if (b_.norm_before) b_.norm_before->write_outputs(n, count);
      convolve(forward_, forward_weights(), inputs_from(n), step_.pad_top, step_.pad_left,
               from_image(b_.y, n), b_.bias, step_.relu, count);
      for (int i = 0; i < count && b_.norm_behind && pass.train; ++i)
        b_.norm_behind->measure(n + i);
    });
  }

  // A few images at a time, whose gradients stay in the cache from pass to pass.
  void backward(const Pass& pass) override {
    std::fill_n(forward_weights(), forward_.u_floats, 0.0F);
    if (b_.dx.data) transform_transposed_weights();
    each_part(pass.batch, [&](int n, int count) {
      if (b_.norm_behind) b_.norm_behind->write_gradients(n, count);
      if (b_.norm_before) b_.norm_before->write_outputs_again(n, count);
      const View dy = b_.norm_behind ? b_.dy : from_image(b_.dy, n);
      for (int i = 0; mask_ && i < count; ++i) mask_and_sum(n + i);
      gradient_by_weights(inputs_from(n), dy, count);
      if (b_.dx.data) gradient_by_input(dy, from_image(b_.dx, n), count);
      if (b_.norm_before) b_.norm_before->sum_gradients(n, count);
    });
    const int depth = b_.x.shape.channels;
    for (int panel = 0; panel < panels(b_.y.shape.channels); ++panel)
      kernels_.winograd_weights_gradient(step_.kernel_height,
                                         panel_of(forward_weights(), forward_, depth, panel), depth,
                                         b_.weight_gradient + panel * taps_ * depth * kPanel);
  }

 private:
  // The scratch: weights of the convolution (their gradients on the way back), those of its
  // gradient by the input, transformed inputs of a group of tiles, products of one panel.
  float* forward_weights() const { return b_.scratch; }
  float* backward_weights() const { return b_.scratch + forward_.u_floats; }
  float* inputs() const { return backward_weights() + backward_.u_floats; }
  float* products(const Winograd& g) const { return inputs() + g.points * g.v_plane; }

  static float* panel_of(float* weights, const Winograd& g, int depth, int panel) {
    return weights + std::int64_t{panel} * g.points * depth * kPanel;
  }

  static View from_image(View view, int n) {
    view.data += n * view.image;
    return view;
  }

  View inputs_from(int n) const { return b_.norm_before ? b_.x : from_image(b_.x, n); }

  // What the tiles read, `top` and `left` before an image's first pixel.
  static WinogradTiles read(const Winograd& g, const View& view, int top, int left) {
    WinogradTiles out = write(g, view, 0);
    out.data -= top * view.row + left * std::int64_t{view.pixel};
    out.channels = padded(view.shape.channels);
    return out;
  }

  // The tiles themselves, of one panel of channels.
  static WinogradTiles write(const Winograd& g, const View& view, int panel) {
    const int first = panel * kPanel;
    return {.data = view.data + first,
            .image = view.image,
            .row = view.row,
            .pixel = view.pixel,
            .across = g.across,
            .down = g.down,
            .first = 0,
            .count = 0,
            .height = view.shape.height,
            .width = view.shape.width,
            .channels = std::min(padded(view.shape.channels) - first, kPanel)};
  }

  WinogradProduct product(const Winograd& g, float* weights, int depth, int panel, int columns,
                          std::int32_t tiles) const {
    return {.v = inputs(),
            .v_plane = g.v_plane,
            .v_stride = padded(depth),
            .u = panel_of(weights, g, depth, panel),
            .m = products(g),
            .m_plane = g.m_plane,
            .points = g.points,
            .tiles = tiles,
            .depth = depth,
            .columns = std::min(columns - panel * kPanel, kPanel)};
  }

  // Calls visit(first image, count) for parts of the batch.
  template <class Visit>
  void each_part(int batch, Visit visit) const {
    const int most = images_at_a_time(step_, b_.x.shape, b_.y.shape);
    for (int n = 0; n < batch; n += most) visit(n, std::min(most, batch - n));
  }

  // Calls visit(first, count) for every group of tiles of some images; the groups are of one size
  // but for one tile.
  template <class Visit>
  static void each_group(const Winograd& g, int images, Visit visit) {
    const std::int64_t all = g.tiles(images), groups = (all + g.group - 1) / g.group;
    for (std::int64_t i = 0; i < groups; ++i)
      visit(static_cast<std::int32_t>(all * i / groups),
            static_cast<std::int32_t>(all * (i + 1) / groups - all * i / groups));
  }

  // to = f(bias + from * weights), the weights being transformed already.
  void convolve(const Winograd& g, float* weights, const View& from, int top, int left,
                const View& to, const float* bias, bool relu, int images) {
    each_group(g, images, [&](std::int32_t first, std::int32_t count) {
      WinogradTiles x = read(g, from, top, left);
      x.first = first, x.count = count;
      kernels_.winograd_input(g.kernel, x, inputs(), g.v_plane);
      for (int panel = 0; panel < panels(to.shape.channels); ++panel) {
        kernels_.winograd_multiply(
            product(g, weights, from.shape.channels, panel, to.shape.channels, count));
        WinogradTiles y = write(g, to, panel);
        y.first = first, y.count = count;
        kernels_.winograd_output(g.kernel, products(g), g.m_plane, y,
                                 bias ? bias + panel * kPanel : nullptr, relu);
      }
    });
  }

  void mask_and_sum(int n) {
    const Shape& out = b_.y.shape;
    for (int y = 0; y < out.height; ++y)
      kernels_.bias_gradient(b_.y.at(n, y), b_.dy.at(n, y), out.width, b_.dy.pixel,
                             b_.bias_gradient);
  }

  // Adds to the gradients of the transformed weights.
  void gradient_by_weights(const View& from, const View& gradient, int images) {
    const Winograd& g = forward_;
    const int depth = b_.x.shape.channels, columns = b_.y.shape.channels;
    each_group(g, images, [&](std::int32_t first, std::int32_t count) {
      WinogradTiles x = read(g, from, step_.pad_top, step_.pad_left);
      x.first = first, x.count = count;
      kernels_.winograd_input(g.kernel, x, inputs(), g.v_plane);
      for (int panel = 0; panel < panels(columns); ++panel) {
        WinogradTiles dy = write(g, gradient, panel);
        dy.first = first, dy.count = count;
        kernels_.winograd_output_gradient(
            g.kernel, dy, products(g), g.m_plane,
            mask_ || !b_.bias_gradient ? nullptr : b_.bias_gradient + panel * kPanel);
        kernels_.winograd_multiply_gradient(
            product(g, forward_weights(), depth, panel, columns, count));
      }
    });
  }

  // The convolution of dy with the flipped, transposed weights.
  void gradient_by_input(const View& dy, const View& dx, int images) {
    const int last = step_.kernel_height - 1;
    convolve(backward_, backward_weights(), dy, last - step_.pad_top, last - step_.pad_left, dx,
             nullptr, false, images);
  }

  void transform_transposed_weights() {
    const Shape &in = b_.x.shape, &out = b_.y.shape;
    float* transposed = inputs();
    for (int panel = 0; panel < panels(in.channels); ++panel) {
      kernels_.transpose_panel(b_.weight, taps_ * in.channels * kPanel, out.channels, in.channels,
                               panel * kPanel, flipped_.data(), static_cast<std::int32_t>(taps_),
                               transposed);
      kernels_.winograd_weights(backward_.kernel, transposed, out.channels,
                                panel_of(backward_weights(), backward_, out.channels, panel));
    }
  }

  const Binding b_;
  const Step& step_;
  const Kernels& kernels_;
  const bool mask_;  // of dy by y > 0
  std::int64_t taps_ = 0;
  Winograd forward_, backward_;
  std::vector<std::int32_t> flipped_;  // taps in reverse
};

}  // namespace

std::unique_ptr<Layer> make_winograd_conv(const Binding& binding) {
  return std::make_unique<WinogradConv>(binding);
}

}  // namespace brood::cnn
