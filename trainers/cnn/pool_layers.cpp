// Maximum and average over windows, and over the whole image. Windows are clipped at the edges; an
// average counts only the pixels inside.
#include <algorithm>
#include <cstring>

#include "trainers/cnn/layers.h"

namespace brood::cnn {

namespace {

// Calls visit(window, input offset, output pixel) for every output pixel of an image.
template <class Visit>
void each_window(const Step& step, const View& x, const Shape& out, Visit visit) {
  const Shape& in = x.shape;
  for (int i = 0; i < out.height; ++i) {
    const int top = i * step.stride_height - step.pad_top;
    for (int j = 0; j < out.width; ++j) {
      const int left = j * step.stride_width - step.pad_left;
      const PoolWindow window{.x_row = x.row,
                              .x_step = x.pixel,
                              .first_row = std::max(0, -top),
                              .last_row = std::min(step.kernel_height, in.height - top),
                              .first_column = std::max(0, -left),
                              .last_column = std::min(step.kernel_width, in.width - left),
                              .size = step.kernel_width,
                              .channels = x.pixel};
      visit(window, top * x.row + left * std::int64_t{x.pixel}, i, j);
    }
  }
}

// Windows may overlap, so gradients are added; a halo is zero and stays so.
void clear(const View& view, int batch) {
  const auto row = sizeof(float) * static_cast<std::size_t>(view.shape.width * view.pixel);
  for (int n = 0; n < batch; ++n)
    for (int y = 0; y < view.shape.height; ++y) std::memset(view.at(n, y), 0, row);
}

class MaxPool final : public Layer {
 public:
  explicit MaxPool(const Binding& b)
      : b_(b),
        whole_(b.x.shape.height == 2 * b.y.shape.height && b.x.shape.width == 2 * b.y.shape.width),
        pairs_(b.step->kernel_height == 2 && b.step->kernel_width == 2 &&
               b.step->stride_height == 2 && b.step->stride_width == 2 && b.step->pad_top == 0 &&
               b.step->pad_left == 0 && b.x.shape.height >= 2 * b.y.shape.height &&
               b.x.shape.width >= 2 * b.y.shape.width) {}

  void forward(const Pass& pass) override {
    if (pairs_) {
      for (int n = 0; n < pass.batch; ++n)
        for (int i = 0; i < b_.y.shape.height; ++i)
          b_.kernels->max_pool_2x2(b_.x.at(n, 2 * i), b_.x.row, b_.y.shape.width, b_.y.pixel,
                                   b_.y.at(n, i), place(n, i, 0));
      return;
    }
    for (int n = 0; n < pass.batch; ++n)
      each_window(*b_.step, b_.x, b_.y.shape,
                  [&](const PoolWindow& window, std::int64_t offset, int i, int j) {
                    b_.kernels->max_pool(b_.x.at(n) + offset, window,
                                         b_.y.at(n, i) + j * b_.y.pixel, place(n, i, j));
                  });
  }

  void backward(const Pass& pass) override {
    if (!b_.dx.data) return;
    const auto positive = [this](int n, int i, int j) {
      return b_.mask_input ? b_.y.at(n, i) + j * b_.y.pixel : nullptr;
    };
    if (!pairs_ || !whole_) clear(b_.dx, pass.batch);
    for (int n = 0; n < pass.batch; ++n) {
      if (pairs_) {
        for (int i = 0; i < b_.y.shape.height; ++i)
          b_.kernels->max_pool_2x2_gradient(b_.dy.at(n, i), positive(n, i, 0), place(n, i, 0),
                                            b_.dx.row, b_.y.shape.width, b_.y.pixel,
                                            b_.dx.at(n, 2 * i));
        continue;
      }
      each_window(*b_.step, b_.dx, b_.y.shape,
                  [&](const PoolWindow& window, std::int64_t offset, int i, int j) {
                    b_.kernels->max_pool_gradient(b_.dy.at(n, i) + j * b_.dy.pixel,
                                                  positive(n, i, j), place(n, i, j), window,
                                                  b_.dx.at(n) + offset);
                  });
    }
  }

 private:
  std::uint8_t* place(int n, int i, int j) const {
    const Shape& out = b_.y.shape;
    return b_.bytes + ((std::int64_t{n} * out.height + i) * out.width + j) * b_.y.pixel;
  }

  const Binding b_;
  const bool whole_;  // every input lies in a window
  const bool pairs_;  // windows of 2x2 side by side, inside the image
};

class AveragePool final : public Layer {
 public:
  explicit AveragePool(const Binding& b) : b_(b), step_(*b.step) {
    if (step_.op != Step::Op::global_avg_pool) return;
    step_.kernel_height = step_.stride_height = b.x.shape.height;
    step_.kernel_width = step_.stride_width = b.x.shape.width;
  }

  void forward(const Pass& pass) override {
    for (int n = 0; n < pass.batch; ++n)
      each_window(step_, b_.x, b_.y.shape,
                  [&](const PoolWindow& window, std::int64_t offset, int i, int j) {
                    b_.kernels->average_pool(b_.x.at(n) + offset, window,
                                             b_.y.at(n, i) + j * b_.y.pixel);
                  });
  }

  void backward(const Pass& pass) override {
    if (!b_.dx.data) return;
    clear(b_.dx, pass.batch);
    for (int n = 0; n < pass.batch; ++n)
      each_window(step_, b_.dx, b_.y.shape,
                  [&](const PoolWindow& window, std::int64_t offset, int i, int j) {
                    b_.kernels->average_pool_gradient(b_.dy.at(n, i) + j * b_.dy.pixel, window,
                                                      b_.dx.at(n) + offset);
                  });
  }

 private:
  const Binding b_;
  Step step_;
};

}  // namespace

std::unique_ptr<Layer> make_max_pool(const Binding& binding) {
  return std::make_unique<MaxPool>(binding);
}

std::unique_ptr<Layer> make_average_pool(const Binding& binding) {
  return std::make_unique<AveragePool>(binding);
}

}  // namespace brood::cnn
