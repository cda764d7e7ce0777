// Batch normalisation over batch and image, one scale and shift per channel, and the ReLU and the
// max pool of 2x2 windows right behind it.
//
// Ioffe, Szegedy, "Batch normalization", ICML 2015. Epsilon 1e-5 and momentum 0.1 with the unbiased
// variance in the running average, as PyTorch has them. One pass over the memory for the
// statistics: sums in single precision over a row, around its first pixel, as the difference of two
// large sums would lose the variance; the rows are put together in double (Chan, Golub, LeVeque,
// "Algorithms for computing the sample variance", 1983).
#include <algorithm>
#include <cmath>
#include <vector>

#include "trainers/cnn/layers.h"

namespace brood::cnn {

namespace {

constexpr double kMomentum = 0.1;

class BatchNorm final : public Layer, public NormBeside {
 public:
  explicit BatchNorm(const Binding& b)
      : b_(b),
        kernels_(*b.kernels),
        channels_(b.x.pixel),
        pooled_(b.y.shape.height != b.x.shape.height),
        totals_(static_cast<std::size_t>(3 * b.x.pixel)) {
    float** arrays[kNormArrays] = {&mean_,     &inverse_, &scale_, &shift_,
                                   &constant_, &linear_,  &sum_,   &product_};
    float* next = b.saved;
    for (float** array : arrays) {
      *array = next;
      next += std::int64_t{panels(b.x.shape.channels)} * kPanel;
    }
  }

  NormBeside* as_norm() override { return this; }

  void forward(const Pass& pass) override {
    for (int n = 0; pass.train && !b_.conv_before && n < pass.batch; ++n) measure(n);
    if (pass.train) finish_measuring(pass);
    for (int c = 0; c < channels_; ++c)
      pass.train ? set_scale(c, mean_[c], inverse_[c])
                 : set_scale(c, b_.mean[c], inverse_of(b_.variance[c]));
    if (!b_.conv_behind) write_outputs(0, pass.batch);
  }

  void backward(const Pass& pass) override {
    if (!b_.conv_behind) sum_gradients(0, pass.batch);
    const double count = pixel_count(pass);
    for (int c = 0; c < channels_; ++c) {
      const double slope = total(0, c), product = total(1, c) * static_cast<double>(inverse_[c]);
      b_.bias_gradient[c] += static_cast<float>(slope);
      b_.weight_gradient[c] += static_cast<float>(product);
      constant_[c] = scale_[c] * static_cast<float>(slope / count);
      linear_[c] = scale_[c] * inverse_[c] * static_cast<float>(product / count);
    }
    if (b_.dx.data && !b_.conv_before) write_gradients(0, pass.batch);
  }

  // Sums in single precision of a row, put together in double: of the rows' means, of their
  // squares, of the squares within rows.
  void measure(int n) override {
    if (n == 0) std::fill(totals_.begin(), totals_.end(), 0.0);
    const int width = b_.x.shape.width;
    const double share = 1.0 / width;
    for (int row = 0; row < b_.x.shape.height; ++row) {
      const float* first = b_.x.at(n, row);
      kernels_.norm_statistics(first, width, channels_, sum_, product_);
      for (int c = 0; c < channels_; ++c) {
        const auto moved = static_cast<double>(sum_[c]);
        const double mean = static_cast<double>(first[c]) + moved * share;
        total(0, c) += mean;
        total(1, c) += mean * mean;
        total(2, c) += static_cast<double>(product_[c]) - moved * moved * share;
      }
    }
  }

  void write_gradients(int n, int count) override {
    const View &x = b_.x, &dx = b_.dx, &dy = b_.dy;
    for (int i = 0; i < count; ++i)
      for (int row = 0; row < dy.shape.height; ++row)
        if (pooled_)
          kernels_.norm_pool_gradient(x.at(n + i, 2 * row), x.row, dy.at(n + i, row),
                                      place(n + i, row), dy.shape.width, channels_, mean_, scale_,
                                      mask(), constant_, linear_, dx.at(i, 2 * row), dx.row);
        else
          kernels_.norm_gradient(x.at(n + i, row), dy.at(n + i, row), dy.shape.width, channels_,
                                 mean_, scale_, mask(), constant_, linear_, dx.at(i, row));
  }

  void write_outputs(int n, int count) override {
    if (!pooled_) return write_outputs_again(n, count);
    const View &x = b_.x, &y = b_.y;
    for (int i = 0; i < count; ++i)
      for (int row = 0; row < y.shape.height; ++row)
        kernels_.norm_max_pool(x.at(n + i, 2 * row), x.row, y.shape.width, channels_, scale_,
                               shift_, b_.step->relu, y.at(i, row), largest(n + i, row),
                               place(n + i, row));
  }

  void write_outputs_again(int n, int count) override {
    const View& y = b_.y;
    for (int i = 0; i < count; ++i)
      for (int row = 0; row < y.shape.height; ++row)
        kernels_.scale_shift(from(n + i, row), y.shape.width, channels_, scale_, shift_,
                             b_.step->relu, y.at(i, row));
  }

  // Totals: of the gradient, and of its products with the distance from the mean.
  void sum_gradients(int n, int count) override {
    if (n == 0) std::fill(totals_.begin(), totals_.end(), 0.0);
    const View& dy = b_.dy;
    for (int i = n; i < n + count; ++i)
      for (int row = 0; row < dy.shape.height; ++row) {
        kernels_.norm_sums(from(i, row), dy.at(i, row), dy.shape.width, channels_, mean_, scale_,
                           mask(), sum_, product_);
        for (int c = 0; c < channels_; ++c) {
          total(0, c) += static_cast<double>(sum_[c]);
          total(1, c) += static_cast<double>(product_[c]);
        }
      }
  }

 private:
  double& total(int kind, int c) { return totals_[static_cast<std::size_t>(kind * channels_ + c)]; }

  // Of a pool: the input that was the largest of each window, and its place.
  float* largest(int n, int row) const { return b_.largest + pooled_at(n, row); }
  std::uint8_t* place(int n, int row) const { return b_.bytes + pooled_at(n, row); }
  std::int64_t pooled_at(int n, int row) const {
    const Shape& out = b_.y.shape;
    return (std::int64_t{n} * out.height + row) * out.width * channels_;
  }
  // The inputs that make a row of outputs.
  const float* from(int n, int row) const { return pooled_ ? largest(n, row) : b_.x.at(n, row); }
  // Tells the kernels to do the ReLU's part.
  const float* mask() const { return b_.step->relu && !b_.dy_masked ? shift_ : nullptr; }

  double pixel_count(const Pass& pass) const {
    return static_cast<double>(pass.batch) * b_.x.shape.height * b_.x.shape.width;
  }

  static float inverse_of(double variance) {
    return static_cast<float>(1.0 / std::sqrt(variance + kNormEpsilon));
  }

  void set_scale(int c, float mean, float inverse) {
    scale_[c] = b_.weight[c] * inverse;
    shift_[c] = b_.bias[c] - mean * scale_[c];
  }

  // Mean and variance of this batch, and what the running ones become.
  void finish_measuring(const Pass& pass) {
    const double width = b_.x.shape.width, count = pixel_count(pass), rows = count / width;
    for (int c = 0; c < channels_; ++c) {
      const double mean = total(0, c) / rows;
      // The second argument: a NaN stays one.
      const double between = std::max(total(1, c) - rows * mean * mean, 0.0) * width;
      const double variance = std::max(total(2, c) + between, 0.0) / count;
      mean_[c] = static_cast<float>(mean);
      inverse_[c] = inverse_of(variance);
      follow(b_.mean[c], mean);
      follow(b_.variance[c], count > 1 ? variance * count / (count - 1) : variance);
    }
  }

  static void follow(float& running, double now) {
    running = static_cast<float>((1 - kMomentum) * static_cast<double>(running) + kMomentum * now);
  }

  const Binding b_;
  const Kernels& kernels_;
  const int channels_;
  const bool pooled_;  // y is that of the pool behind
  // An entry per channel. Of the last batch: mean and inverse deviation; y = x * scale + shift;
  // dx = scale * dy - constant - (x - mean) * linear. Sums of a row.
  float *mean_, *inverse_, *scale_, *shift_, *constant_, *linear_, *sum_, *product_;
  std::vector<double> totals_;
};

}  // namespace

std::unique_ptr<Layer> make_batch_norm(const Binding& binding) {
  return std::make_unique<BatchNorm>(binding);
}

}  // namespace brood::cnn
