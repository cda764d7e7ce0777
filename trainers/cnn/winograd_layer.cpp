// Convolution with stride 1 by the Winograd path, forward and both gradients.
//
// Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. A group of tiles is
// transformed at a time; one panel of 16 outputs after another is then multiplied and transformed
// back, so that the products never leave the cache. Sums run over the tiles in the order of the
// batch: the same bits on every run.
#include <algorithm>
#include <vector>

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
                                panel_of(forward_, in.channels, panel));
    convolve(forward_, b_.x, step_.pad_top, step_.pad_left, b_.y, b_.bias, step_.relu, pass.batch);
  }

  void backward(const Pass& pass) override {
    for (int n = 0; mask_ && n < pass.batch; ++n) mask_and_sum(n);
    gradient_by_weights(pass.batch);
    if (b_.dx.data) gradient_by_input(pass.batch);
  }

 private:
  // The scratch: weights of all panels, transformed inputs of a group, products of one panel.
  float* panel_of(const Winograd& g, int depth, int panel) const {
    return b_.scratch + std::int64_t{panel} * g.points * depth * kPanel;
  }
  float* inputs(const Winograd& g) const { return b_.scratch + g.u_floats; }
  float* products(const Winograd& g) const { return inputs(g) + g.points * g.v_plane; }

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

  WinogradProduct product(const Winograd& g, int depth, int stride, int panel, int columns,
                          std::int32_t tiles) const {
    return {.v = inputs(g),
            .v_plane = g.v_plane,
            .v_stride = stride,
            .u = panel_of(g, depth, panel),
            .m = products(g),
            .m_plane = g.m_plane,
            .points = g.points,
            .tiles = tiles,
            .depth = depth,
            .columns = std::min(columns - panel * kPanel, kPanel)};
  }

  // Calls visit(first, count) for every group of tiles of the batch.
  template <class Visit>
  static void each_group(const Winograd& g, int batch, Visit visit) {
    const std::int64_t all = g.tiles(batch);
    for (std::int64_t first = 0; first < all; first += g.group)
      visit(static_cast<std::int32_t>(first),
            static_cast<std::int32_t>(std::min<std::int64_t>(g.group, all - first)));
  }

  // to = f(bias + from * weights), the weights being transformed already.
  void convolve(const Winograd& g, const View& from, int top, int left, const View& to,
                const float* bias, bool relu, int batch) {
    each_group(g, batch, [&](std::int32_t first, std::int32_t count) {
      WinogradTiles x = read(g, from, top, left);
      x.first = first, x.count = count;
      kernels_.winograd_input(g.kernel, x, inputs(g), g.v_plane);
      for (int panel = 0; panel < panels(to.shape.channels); ++panel) {
        kernels_.winograd_multiply(
            product(g, from.shape.channels, x.channels, panel, to.shape.channels, count));
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

  void gradient_by_weights(int batch) {
    const Winograd& g = forward_;
    const Shape &in = b_.x.shape, &out = b_.y.shape;
    std::fill_n(b_.scratch, g.u_floats, 0.0F);
    each_group(g, batch, [&](std::int32_t first, std::int32_t count) {
      WinogradTiles x = read(g, b_.x, step_.pad_top, step_.pad_left);
      x.first = first, x.count = count;
      kernels_.winograd_input(g.kernel, x, inputs(g), g.v_plane);
      for (int panel = 0; panel < panels(out.channels); ++panel) {
        WinogradTiles dy = write(g, b_.dy, panel);
        dy.first = first, dy.count = count;
        kernels_.winograd_output_gradient(
            g.kernel, dy, products(g), g.m_plane,
            mask_ || !b_.bias_gradient ? nullptr : b_.bias_gradient + panel * kPanel);
        kernels_.winograd_multiply_gradient(
            product(g, in.channels, x.channels, panel, out.channels, count));
      }
    });
    for (int panel = 0; panel < panels(out.channels); ++panel)
      kernels_.winograd_weights_gradient(g.kernel, panel_of(g, in.channels, panel), in.channels,
                                         b_.weight_gradient + panel * taps_ * in.channels * kPanel);
  }

  // The convolution of dy with the flipped, transposed weights.
  void gradient_by_input(int batch) {
    const Winograd& g = backward_;
    const Shape &in = b_.x.shape, &out = b_.y.shape;
    float* transposed = b_.scratch + g.scratch;
    for (int panel = 0; panel < panels(in.channels); ++panel) {
      kernels_.transpose_panel(b_.weight, taps_ * in.channels * kPanel, out.channels, in.channels,
                               panel * kPanel, flipped_.data(), static_cast<std::int32_t>(taps_),
                               transposed);
      kernels_.winograd_weights(g.kernel, transposed, out.channels,
                                panel_of(g, out.channels, panel));
    }
    const int last = step_.kernel_height - 1;
    convolve(g, b_.dy, last - step_.pad_top, last - step_.pad_left, b_.dx, nullptr, false, batch);
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
