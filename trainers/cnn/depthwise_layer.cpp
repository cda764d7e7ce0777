// Depthwise convolution: each channel with its own kernel (Chollet, "Xception", CVPR 2017).
#include <algorithm>
#include <vector>

#include "trainers/cnn/layers.h"

namespace brood::cnn {

namespace {

int rounded_up(int value, int unit) { return (value + unit - 1) / unit; }

// How windows move over an image.
struct Sliding {
  int height, width;  // of the image read
  int stride_height, stride_width, pad_top, pad_left;
};

// Pixels of a row of the output whose windows have the same part inside the image.
struct Run {
  PoolWindow window;
  std::int64_t offset;  // of the first window, in an image
  int row, column, pixels;
};

bool same_part(const PoolWindow& a, const PoolWindow& b) {
  return a.first_row == b.first_row && a.last_row == b.last_row &&
         a.first_column == b.first_column && a.last_column == b.last_column;
}

std::vector<Run> runs_of(const Step& step, const Sliding& slide, const View& view,
                         const Shape& out) {
  std::vector<Run> runs;
  const int dy = step.dilation_height, dx = step.dilation_width;
  for (int i = 0; i < out.height; ++i) {
    const int top = i * slide.stride_height - slide.pad_top;
    for (int j = 0; j < out.width; ++j) {
      const int left = j * slide.stride_width - slide.pad_left;
      const PoolWindow window{
          .x_row = dy * view.row,
          .x_step = std::int64_t{dx} * view.pixel,
          .first_row = rounded_up(std::max(0, -top), dy),
          .last_row = std::min(step.kernel_height, rounded_up(slide.height - top, dy)),
          .first_column = rounded_up(std::max(0, -left), dx),
          .last_column = std::min(step.kernel_width, rounded_up(slide.width - left, dx)),
          .size = step.kernel_width,
          .channels = view.pixel};
      if (j > 0 && same_part(runs.back().window, window))
        ++runs.back().pixels;
      else
        runs.push_back({window, top * view.row + left * std::int64_t{view.pixel}, i, j, 1});
    }
  }
  return runs;
}

class DepthwiseConv final : public Layer {
 public:
  explicit DepthwiseConv(const Binding& b)
      : b_(b),
        step_(*b.step),
        places_(step_.kernel_height * step_.kernel_width),
        channels_(b.y.pixel),
        weights_(b.scratch),
        slopes_(b.scratch + std::int64_t{places_} * channels_),
        runs_(runs_of(step_, sliding(), b.x, b.y.shape)) {
    if (!b.dx.data) return;
    if (mirrored())
      // Without strides the gradient is the convolution of dy with the kernel turned round.
      back_ = runs_of(step_,
                      {b.y.shape.height, b.y.shape.width, 1, 1,
                       (step_.kernel_height - 1) * step_.dilation_height - step_.pad_top,
                       (step_.kernel_width - 1) * step_.dilation_width - step_.pad_left},
                      b.dy, b.dx.shape);
    else
      back_ = runs_of(step_, sliding(), b.dx, b.y.shape);
  }

  void forward(const Pass& pass) override {
    spread_weights(false);
    const std::int64_t step = std::int64_t{step_.stride_width} * b_.x.pixel;
    for (int n = 0; n < pass.batch; ++n)
      for (const Run& run : runs_)
        b_.light->depthwise({b_.x.at(n) + run.offset, run.window, step, run.pixels}, weights_,
                            b_.bias, step_.relu, b_.y.at(n, run.row) + run.column * channels_);
  }

  void backward(const Pass& pass) override {
    const Shape& out = b_.y.shape;
    if (step_.relu || b_.bias)
      for (int n = 0; n < pass.batch; ++n)
        for (int y = 0; y < out.height; ++y)
          b_.kernels->bias_gradient(step_.relu ? b_.y.at(n, y) : nullptr, b_.dy.at(n, y), out.width,
                                    channels_, bias_slopes());
    gradient_by_weights(pass);
    if (!b_.dx.data) return;
    spread_weights(mirrored());
    if (!mirrored()) return scatter(pass);
    for (int n = 0; n < pass.batch; ++n)
      for (const Run& run : back_)
        b_.light->depthwise({b_.dy.at(n) + run.offset, run.window, b_.dy.pixel, run.pixels},
                            weights_, nullptr, false,
                            b_.dx.at(n, run.row) + run.column * channels_);
  }

 private:
  Sliding sliding() const {
    return {b_.x.shape.height,  b_.x.shape.width, step_.stride_height,
            step_.stride_width, step_.pad_top,    step_.pad_left};
  }

  bool mirrored() const { return step_.stride_height == 1 && step_.stride_width == 1; }

  void gradient_by_weights(const Pass& pass) {
    std::fill_n(slopes_, std::int64_t{places_} * channels_, 0.0F);
    const std::int64_t step = std::int64_t{step_.stride_width} * b_.x.pixel;
    for (int n = 0; n < pass.batch; ++n)
      for (const Run& run : runs_)
        b_.light->depthwise_weights({b_.x.at(n) + run.offset, run.window, step, run.pixels},
                                    b_.dy.at(n, run.row) + run.column * channels_, slopes_);
    for (int c = 0; c < b_.y.shape.channels; ++c)
      for (int t = 0; t < places_; ++t)
        b_.weight_gradient[stored(t, c)] += slopes_[t * channels_ + c];
  }

  void scatter(const Pass& pass) {
    const std::int64_t step = std::int64_t{step_.stride_width} * b_.dx.pixel;
    for (int n = 0; n < pass.batch; ++n) {
      for (int y = 0; y < b_.dx.shape.height; ++y)
        std::fill_n(b_.dx.at(n, y), std::int64_t{b_.dx.shape.width} * b_.dx.pixel, 0.0F);
      for (const Run& run : back_)
        for (int p = 0; p < run.pixels; ++p)
          b_.light->depthwise_input(b_.dy.at(n, run.row) + (run.column + p) * channels_, run.window,
                                    weights_, b_.dx.at(n) + run.offset + p * step);
    }
  }

  // Where the panels of 16 channels have the weight of a channel at a place of the window.
  std::int64_t stored(int place, int channel) const {
    return (std::int64_t{channel / kPanel} * places_ + place) * kPanel + channel % kPanel;
  }

  void spread_weights(bool turned) {
    for (int t = 0; t < places_; ++t)
      for (int c = 0; c < channels_; ++c)
        weights_[t * channels_ + c] = b_.weight[stored(turned ? places_ - 1 - t : t, c)];
  }

  // Before a batch norm there is a mask at most, and no bias that would want the sums.
  float* bias_slopes() { return b_.bias ? b_.bias_gradient : slopes_; }

  const Binding b_;
  const Step& step_;
  const int places_, channels_;
  float *weights_, *slopes_;  // [place][channel]
  const std::vector<Run> runs_;
  std::vector<Run> back_;  // of the gradient by the input
};

}  // namespace

std::unique_ptr<Layer> make_depthwise_conv(const Binding& binding) {
  return std::make_unique<DepthwiseConv>(binding);
}

}  // namespace brood::cnn
