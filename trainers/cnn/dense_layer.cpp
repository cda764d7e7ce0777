// A dense layer: the product of a batch of whole images and a weight matrix.
#include <algorithm>
#include <optional>
#include <vector>

#include "trainers/cnn/layers.h"
#include "trainers/cnn/sparse_gradient.h"

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
    if (run && may_be_sparse(in, b.y.shape))
      sparse_.emplace(b.batch_max, b.y.shape.channels, b.x.image);
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
    if (sparse_ && sparse_->read(b_.dy.data, b_.dy.image, pass.batch)) {
      sparse_gradient_by_weights();
      if (b_.dx.data) sparse_gradient_by_input();
      return;
    }
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
  void sparse_gradient_by_weights() {
    constexpr std::int32_t kStrip = SparseGradient::kStrip;
    for (std::int32_t first = 0; first < depth_; first += kStrip)
      for (std::int32_t panel = 0; panel < panels(b_.y.shape.channels); ++panel) {
        SparseProduct g = sparse_->by_unit(panel);
        g.b = b_.x.data + first;
        g.group = kPanel;
        g.y = b_.weight_gradient + (panel * inputs_ + first) * kPanel;
        g.columns = std::min(kStrip, depth_ - first);
        kernels_.sparse_multiply_panel(g);
      }
  }

  // The weights of a strip of inputs and a chunk of outputs are transposed into the cache and used
  // at once: [strip / 16][outputs][16].
  void sparse_gradient_by_input() {
    constexpr std::int32_t kStrip = SparseGradient::kStrip, kUnits = SparseGradient::kUnits;
    const std::int32_t zero = 0, columns = b_.y.shape.channels;
    for (std::int32_t first = 0; first < depth_; first += kStrip) {
      const std::int32_t strip = std::min(kStrip, depth_ - first);
      for (std::int32_t chunk = 0; chunk * kUnits < columns; ++chunk) {
        const float* w = b_.weight + chunk * kUnits / kPanel * inputs_ * kPanel;
        for (std::int32_t lane = 0; lane < strip; lane += kPanel)
          kernels_.transpose_panel(w, inputs_ * kPanel, std::min(kUnits, columns - chunk * kUnits),
                                   depth_, first + lane, &zero, 1, b_.scratch + lane * kUnits);
        SparseProduct g = sparse_->by_sample(chunk);
        g.b = b_.scratch;
        g.group = kUnits * kPanel;
        g.y = b_.dx.data + first;
        g.y_stride = b_.dx.image;
        g.columns = strip;
        g.accumulate = chunk > 0;
        kernels_.sparse_multiply(g);
      }
    }
  }

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
  std::optional<SparseGradient> sparse_;
  std::vector<std::int32_t> taps_, x_offsets_, y_offsets_, dy_offsets_, dx_offsets_;
};

}  // namespace

std::unique_ptr<Layer> make_dense(const Binding& binding) {
  return std::make_unique<Dense>(binding);
}

}  // namespace brood::cnn
