// Depthwise convolution: each channel with its own kernel (Chollet, "Xception", CVPR 2017).
#include <algorithm>

#include "trainers/cnn/layers.h"

namespace brood::cnn {

namespace {

int rounded_up(int value, int unit) { return (value + unit - 1) / unit; }

class DepthwiseConv final : public Layer {
 public:
  explicit DepthwiseConv(const Binding& b)
      : b_(b),
        places_(b.step->kernel_height * b.step->kernel_width),
        channels_(b.y.pixel),
        weights_(b.scratch),
        slopes_(b.scratch + std::int64_t{places_} * channels_) {}

  void forward(const Pass& pass) override {
    spread_weights();
    each_window(pass, b_.x,
                [&](const PoolWindow& window, std::int64_t offset, int n, int i, int j) {
                  b_.light->depthwise(b_.x.at(n) + offset, window, weights_, b_.bias, b_.step->relu,
                                      b_.y.at(n, i) + j * channels_);
                });
  }

  void backward(const Pass& pass) override {
    const Shape& out = b_.y.shape;
    if (b_.step->relu || b_.bias)
      for (int n = 0; n < pass.batch; ++n)
        for (int y = 0; y < out.height; ++y)
          b_.kernels->bias_gradient(b_.step->relu ? b_.y.at(n, y) : nullptr, b_.dy.at(n, y),
                                    out.width, channels_, bias_slopes());
    std::fill_n(slopes_, std::int64_t{places_} * channels_, 0.0F);
    each_window(pass, b_.x,
                [&](const PoolWindow& window, std::int64_t offset, int n, int i, int j) {
                  b_.light->depthwise_weights(b_.x.at(n) + offset, window,
                                              b_.dy.at(n, i) + j * channels_, slopes_);
                });
    for (int c = 0; c < out.channels; ++c)
      for (int t = 0; t < places_; ++t)
        b_.weight_gradient[stored(t, c)] += slopes_[t * channels_ + c];
    if (!b_.dx.data) return;
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < b_.dx.shape.height; ++y)
        std::fill_n(b_.dx.at(n, y), std::int64_t{b_.dx.shape.width} * b_.dx.pixel, 0.0F);
    spread_weights();
    each_window(pass, b_.dx,
                [&](const PoolWindow& window, std::int64_t offset, int n, int i, int j) {
                  b_.light->depthwise_input(b_.dy.at(n, i) + j * channels_, window, weights_,
                                            b_.dx.at(n) + offset);
                });
  }

 private:
  // Where the panels of 16 channels have the weight of a channel at a place of the window.
  std::int64_t stored(int place, int channel) const {
    return (std::int64_t{channel / kPanel} * places_ + place) * kPanel + channel % kPanel;
  }

  void spread_weights() {
    for (int t = 0; t < places_; ++t)
      for (int c = 0; c < channels_; ++c) weights_[t * channels_ + c] = b_.weight[stored(t, c)];
  }

  // Before a batch norm there is a mask at most, and no bias that would want the sums.
  float* bias_slopes() { return b_.bias ? b_.bias_gradient : slopes_; }

  // Calls visit(window, offset in an image of `view`, sample, out row, out column).
  template <class Visit>
  void each_window(const Pass& pass, const View& view, Visit visit) const {
    const Step& step = *b_.step;
    const Shape &in = b_.x.shape, &out = b_.y.shape;
    const int dy = step.dilation_height, dx = step.dilation_width;
    for (int i = 0; i < out.height; ++i) {
      const int top = i * step.stride_height - step.pad_top;
      for (int j = 0; j < out.width; ++j) {
        const int left = j * step.stride_width - step.pad_left;
        const PoolWindow window{
            .x_row = dy * view.row,
            .x_step = std::int64_t{dx} * view.pixel,
            .first_row = rounded_up(std::max(0, -top), dy),
            .last_row = std::min(step.kernel_height, rounded_up(in.height - top, dy)),
            .first_column = rounded_up(std::max(0, -left), dx),
            .last_column = std::min(step.kernel_width, rounded_up(in.width - left, dx)),
            .size = step.kernel_width,
            .channels = channels_};
        for (int n = 0; n < pass.batch; ++n)
          visit(window, top * view.row + left * std::int64_t{view.pixel}, n, i, j);
      }
    }
  }

  const Binding b_;
  const int places_, channels_;
  float *weights_, *slopes_;  // [place][channel]
};

}  // namespace

std::unique_ptr<Layer> make_depthwise_conv(const Binding& binding) {
  return std::make_unique<DepthwiseConv>(binding);
}

}  // namespace brood::cnn
