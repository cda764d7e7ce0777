// A dense layer: the product of a batch of whole images and a weight matrix.
#include <algorithm>
#include <vector>

#include "trainers/cnn/layers.h"

namespace brood::cnn {

namespace {

// Inputs multiplied at a time: 16 columns of weights for them fit the first-level cache while all
// samples of the batch pass by.
constexpr std::int32_t kChunk = 256;

class Dense final : public Layer {
 public:
  explicit Dense(const Binding& b) : b_(b), kernels_(*b.kernels) {
    const Shape& in = b.x.shape;
    inputs_ = in.count();
    // Without padded channels and without a halo an image is one run of memory.
    const std::int64_t row = std::int64_t{in.width} * in.channels;
    const bool run = b.x.row == row && (!b.dx.data || b.dx.row == row);
    depth_ = static_cast<std::int32_t>(run ? inputs_ : in.channels);
    for (int y = 0; y < (run ? 1 : in.height); ++y)
      for (int x = 0; x < (run ? 1 : in.width); ++x)
        taps_.push_back(static_cast<std::int32_t>(y * b.x.row + x * b.x.pixel));
    for (int n = 0; n < b.batch_max; ++n) {
      x_offsets_.push_back(static_cast<std::int32_t>(n * b.x.image));
      y_offsets_.push_back(static_cast<std::int32_t>(n * b.y.image));
      dy_offsets_.push_back(static_cast<std::int32_t>(n * b.dy.image));
      dx_offsets_.push_back(static_cast<std::int32_t>(n * b.dx.image));
    }
  }

  void forward(const Pass& pass) override {
    const bool split = taps_.size() == 1;
    const std::int32_t chunk = split ? kChunk : depth_;
    for (std::int32_t first = 0; first < depth_; first += chunk)
      kernels_.multiply({.x = b_.x.data + first,
                         .x_offset = x_offsets_.data(),
                         .y = b_.y.data,
                         .y_offset = y_offsets_.data(),
                         .rows = pass.batch,
                         .tap = taps_.data(),
                         .taps = static_cast<std::int32_t>(taps_.size()),
                         .depth = std::min(chunk, depth_ - first),
                         .w = b_.weight + std::int64_t{first} * kPanel,
                         .panel_stride = inputs_ * kPanel,
                         .columns = b_.y.shape.channels,
                         .bias = b_.bias,
                         .accumulate = first > 0,
                         .relu = b_.step->relu && first + chunk >= depth_});
  }

  void backward(const Pass& pass) override {
    if (b_.step->relu || b_.bias)
      for (int n = 0; n < pass.batch; ++n)
        kernels_.bias_gradient(b_.step->relu ? b_.y.at(n) : nullptr, b_.dy.at(n), 1, b_.dy.pixel,
                               b_.bias_gradient);
    kernels_.pack_panels(b_.dy.data, dy_offsets_.data(), pass.batch, b_.y.shape.channels,
                         b_.scratch, nullptr);
    kernels_.weight_gradient({.x = b_.x.data,
                              .x_row = 0,
                              .x_step = b_.x.image,
                              .pixel_rows = 1,
                              .pixel_columns = pass.batch,
                              .tap = taps_.data(),
                              .taps = static_cast<std::int32_t>(taps_.size()),
                              .depth = depth_,
                              .dy = b_.scratch,
                              .dw = b_.weight_gradient,
                              .panel_stride = inputs_ * kPanel,
                              .columns = b_.y.shape.channels,
                              .overwrite = true});
    if (b_.dx.data) gradient_by_input(pass);
  }

 private:
  // Sixteen inputs at a time: their weights are transposed into the cache and used at once.
  void gradient_by_input(const Pass& pass) {
    const std::int32_t zero = 0;
    for (std::int32_t tap = 0; tap < static_cast<std::int32_t>(taps_.size()); ++tap) {
      float* to = b_.dx.data + dx_tap(tap);
      for (std::int32_t first = 0; first < depth_; first += kPanel) {
        kernels_.transpose_panel(b_.weight, inputs_ * kPanel, b_.y.shape.channels, depth_, first,
                                 &tap, 1, b_.scratch);
        kernels_.multiply({.x = b_.dy.data,
                           .x_offset = dy_offsets_.data(),
                           .y = to + first,
                           .y_offset = dx_offsets_.data(),
                           .rows = pass.batch,
                           .tap = &zero,
                           .taps = 1,
                           .depth = b_.y.shape.channels,
                           .w = b_.scratch,
                           .panel_stride = 0,
                           .columns = std::min(depth_ - first, kPanel),
                           .bias = nullptr,
                           .accumulate = false,
                           .relu = false});
      }
    }
  }

  std::int64_t dx_tap(std::int32_t tap) const {
    const int width = b_.x.shape.width;
    return tap / width * b_.dx.row + tap % width * std::int64_t{b_.dx.pixel};
  }

  const Binding b_;
  const Kernels& kernels_;
  std::int64_t inputs_ = 0;
  std::int32_t depth_ = 0;
  std::vector<std::int32_t> taps_, x_offsets_, y_offsets_, dy_offsets_, dx_offsets_;
};

}  // namespace

std::unique_ptr<Layer> make_dense(const Binding& binding) {
  return std::make_unique<Dense>(binding);
}

}  // namespace brood::cnn
