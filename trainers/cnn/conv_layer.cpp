// Convolution as products of pixels and weights, without copying patches (see kernels.h).
#include <algorithm>
#include <vector>

#include "trainers/cnn/layers.h"

namespace brood::cnn {

namespace {

using Offsets = std::vector<std::int32_t>;

std::int32_t small(std::int64_t offset) { return static_cast<std::int32_t>(offset); }

// Offsets of all pixels of one image, row by row; stepped by a stride.
Offsets pixel_offsets(const View& view, int rows, int columns, int stride_height,
                      int stride_width) {
  Offsets out;
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < columns; ++x)
      out.push_back(small(y * stride_height * view.row + x * stride_width * view.pixel));
  return out;
}

class Conv final : public Layer {
 public:
  explicit Conv(const Binding& b)
      : b_(b), step_(*b.step), kernels_(*b.kernels), mask_(b.step->relu && !b.dy_masked) {
    const Shape& in = b.x.shape;
    inputs_ = std::int64_t{step_.kernel_height} * step_.kernel_width * in.channels;
    // Without padded channels and dilation a kernel's row is one run of memory.
    const bool runs = b.x.pixel == in.channels && step_.dilation_width == 1;
    depth_ = runs ? step_.kernel_width * in.channels : in.channels;
    for (int i = 0; i < step_.kernel_height; ++i)
      for (int j = 0; j < (runs ? 1 : step_.kernel_width); ++j)
        taps_.push_back(small((i * step_.dilation_height - step_.pad_top) * b.x.row +
                              (j * step_.dilation_width - step_.pad_left) * b.x.pixel));
    const Shape& out = b.y.shape;
    x_offsets_ = pixel_offsets(b.x, out.height, out.width, step_.stride_height, step_.stride_width);
    y_offsets_ = pixel_offsets(b.y, out.height, out.width, 1, 1);
    if (b.dy.data) dy_offsets_ = pixel_offsets(b.dy, out.height, out.width, 1, 1);
    if (b.dx.data) make_classes();
  }

  void forward(const Pass& pass) override {
    for (int n = 0; n < pass.batch; ++n) {
      if (b_.norm_before) b_.norm_before->write_outputs(n, 1);
      kernels_.multiply({.x = x_at(n),
                         .x_offset = x_offsets_.data(),
                         .y = b_.y.at(n),
                         .y_offset = y_offsets_.data(),
                         .rows = small(static_cast<std::int64_t>(y_offsets_.size())),
                         .tap = taps_.data(),
                         .taps = small(static_cast<std::int64_t>(taps_.size())),
                         .depth = depth_,
                         .w = b_.weight,
                         .panel_stride = inputs_ * kPanel,
                         .columns = b_.y.shape.channels,
                         .bias = b_.bias,
                         .accumulate = false,
                         .relu = step_.relu});
      if (b_.norm_behind && pass.train) b_.norm_behind->measure(n);
    }
  }

  void backward(const Pass& pass) override {
    const Shape& out = b_.y.shape;
    transposed_ = b_.scratch + std::int64_t{panels(out.channels)} * kPanel * out.height * out.width;
    if (b_.dx.data) transpose_weights();
    for (int n = 0; n < pass.batch; ++n) {
      if (b_.norm_behind) b_.norm_behind->write_gradients(n, 1);
      if (b_.norm_before) b_.norm_before->write_outputs_again(n, 1);
      mask_and_sum(n);
      gradient_by_weights(n);
      if (b_.dx.data) gradient_by_input(n);
      if (b_.norm_before) b_.norm_before->sum_gradients(n, 1);
    }
  }

 private:
  // The pixels of the input that meet the same taps: all of them for stride 1, one class for each
  // remainder otherwise. The gradient of a class is itself a convolution of dy.
  struct Class {
    Offsets kernel_places;  // of its taps, row by row in the kernel
    Offsets taps;           // offsets in dy
    Offsets dy_offsets, dx_offsets;
    std::int64_t weights = 0;  // where its transposed weights start in the scratch
  };

  void make_classes() {
    const Shape& in = b_.x.shape;
    const int sh = step_.stride_height, sw = step_.stride_width;
    std::int64_t weights = 0;
    for (int ry = 0; ry < sh; ++ry) {
      for (int rx = 0; rx < sw; ++rx) {
        Class made;
        for (int i = 0; i < step_.kernel_height; ++i) {
          const int down = i * step_.dilation_height - ry;
          if (down % sh != 0) continue;
          for (int j = 0; j < step_.kernel_width; ++j) {
            const int right = j * step_.dilation_width - rx;
            if (right % sw != 0) continue;
            made.kernel_places.push_back(i * step_.kernel_width + j);
            made.taps.push_back(small(-(down / sh) * b_.dy.row - (right / sw) * b_.dy.pixel));
          }
        }
        for (int y = 0; y < in.height; ++y) {
          if ((y + step_.pad_top) % sh != ry) continue;
          for (int x = 0; x < in.width; ++x) {
            if ((x + step_.pad_left) % sw != rx) continue;
            made.dy_offsets.push_back(small((y + step_.pad_top - ry) / sh * b_.dy.row +
                                            (x + step_.pad_left - rx) / sw * b_.dy.pixel));
            made.dx_offsets.push_back(small(y * b_.dx.row + x * b_.dx.pixel));
          }
        }
        made.weights = weights;
        weights += panel_floats(made) * panels(in.channels);
        if (!made.dx_offsets.empty()) classes_.push_back(std::move(made));
      }
    }
  }

  const float* x_at(int n) const { return b_.x.at(b_.norm_before ? 0 : n); }
  float* dy_at(int n, int y = 0) const { return b_.dy.at(b_.norm_behind ? 0 : n, y); }

  std::int64_t panel_floats(const Class& c) const {
    return std::int64_t{kPanel} * b_.y.shape.channels *
           static_cast<std::int64_t>(c.kernel_places.size());
  }

  void mask_and_sum(int n) {
    const Shape& out = b_.y.shape;
    if (!mask_) return;
    for (int y = 0; y < out.height; ++y)
      kernels_.bias_gradient(b_.y.at(n, y), dy_at(n, y), out.width, b_.dy.pixel, b_.bias_gradient);
  }

  void gradient_by_weights(int n) {
    const Shape& out = b_.y.shape;
    const auto pixels = small(static_cast<std::int64_t>(dy_offsets_.size()));
    kernels_.pack_panels(dy_at(n), dy_offsets_.data(), pixels, out.channels, b_.scratch,
                         mask_ ? nullptr : b_.bias_gradient);
    // One panel at a time: its gradients stay in the first-level cache.
    for (int panel = 0; panel < panels(out.channels); ++panel)
      kernels_.weight_gradient({.x = x_at(n),
                                .x_row = step_.stride_height * b_.x.row,
                                .x_step = std::int64_t{step_.stride_width} * b_.x.pixel,
                                .pixel_rows = out.height,
                                .pixel_columns = out.width,
                                .tap = taps_.data(),
                                .taps = small(static_cast<std::int64_t>(taps_.size())),
                                .depth = depth_,
                                .dy = b_.scratch + std::int64_t{panel} * pixels * kPanel,
                                .dw = b_.weight_gradient + panel * inputs_ * kPanel,
                                .panel_stride = inputs_ * kPanel,
                                .columns = std::min(out.channels - panel * kPanel, kPanel),
                                .overwrite = false});
  }

  void transpose_weights() {
    for (const Class& c : classes_)
      for (int panel = 0; panel < panels(b_.x.shape.channels); ++panel)
        kernels_.transpose_panel(b_.weight, inputs_ * kPanel, b_.y.shape.channels,
                                 b_.x.shape.channels, panel * kPanel, c.kernel_places.data(),
                                 small(static_cast<std::int64_t>(c.kernel_places.size())),
                                 transposed_ + c.weights + panel * panel_floats(c));
  }

  void gradient_by_input(int n) {
    for (const Class& c : classes_)
      kernels_.multiply({.x = dy_at(n),
                         .x_offset = c.dy_offsets.data(),
                         .y = b_.dx.at(n),
                         .y_offset = c.dx_offsets.data(),
                         .rows = small(static_cast<std::int64_t>(c.dx_offsets.size())),
                         .tap = c.taps.data(),
                         .taps = small(static_cast<std::int64_t>(c.taps.size())),
                         .depth = b_.y.shape.channels,
                         .w = transposed_ + c.weights,
                         .panel_stride = panel_floats(c),
                         .columns = b_.x.shape.channels,
                         .bias = nullptr,
                         .accumulate = false,
                         .relu = false});
  }

  const Binding b_;
  const Step& step_;
  const Kernels& kernels_;
  const bool mask_;              // of dy by y > 0
  float* transposed_ = nullptr;  // weights in the scratch, behind the packed gradients
  std::int64_t inputs_ = 0;      // rows of the weight matrix
  std::int32_t depth_ = 0;
  Offsets taps_, x_offsets_, y_offsets_, dy_offsets_;
  std::vector<Class> classes_;
};

}  // namespace

std::unique_ptr<Layer> make_conv(const Binding& binding) { return std::make_unique<Conv>(binding); }

}  // namespace brood::cnn
