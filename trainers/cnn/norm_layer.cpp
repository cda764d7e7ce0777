// Batch normalisation over batch and image, one scale and shift per channel.
//
// Ioffe, Szegedy, "Batch normalization", ICML 2015. Epsilon 1e-5 and momentum 0.1 with the unbiased
// variance in the running average, as PyTorch has them. The variance is that of the second pass
// around the mean, as the difference of two large sums would lose it. Row sums in single precision
// are added up in double.
#include <algorithm>
#include <cmath>
#include <vector>

#include "trainers/cnn/layers.h"

namespace brood::cnn {

namespace {

constexpr double kMomentum = 0.1;

class BatchNorm final : public Layer {
 public:
  explicit BatchNorm(const Binding& b)
      : b_(b), channels_(b.x.pixel), sums_(static_cast<std::size_t>(2 * b.x.pixel)) {
    const std::int64_t stored = std::int64_t{panels(b.x.shape.channels)} * kPanel;
    mean_ = b.saved;
    inverse_ = b.saved + stored;
    for (int i = 0; i < 6; ++i) part_[i] = b.scratch + i * stored;
  }

  void forward(const Pass& pass) override {
    float *scale = part_[0], *shift = part_[1];
    if (pass.train) measure(pass);
    for (int c = 0; c < channels_; ++c) {
      const float mean = pass.train ? mean_[c] : b_.mean[c];
      const float inverse = pass.train ? inverse_[c] : inverse_of(b_.variance[c]);
      scale[c] = b_.weight[c] * inverse;
      shift[c] = b_.bias[c] - mean * scale[c];
    }
    each_row(pass, [&](int n, int y) {
      b_.kernels->scale_shift(b_.x.at(n, y), b_.x.shape.width, channels_, scale, shift,
                              b_.step->relu, b_.y.at(n, y));
    });
  }

  void backward(const Pass& pass) override {
    float *sum = part_[0], *product = part_[1], *scale = part_[2], *a = part_[3], *b = part_[4];
    float* shift = part_[5];
    for (int c = 0; c < channels_; ++c) {
      scale[c] = b_.weight[c] * inverse_[c];
      shift[c] = b_.bias[c] - mean_[c] * scale[c];
    }
    if (!b_.step->relu || b_.dy_masked) shift = nullptr;
    std::fill(sums_.begin(), sums_.end(), 0.0);
    each_row(pass, [&](int n, int y) {
      std::fill_n(sum, channels_, 0.0F);
      std::fill_n(product, channels_, 0.0F);
      b_.kernels->norm_sums(b_.x.at(n, y), b_.dy.at(n, y), b_.x.shape.width, channels_, mean_,
                            inverse_, scale, shift, sum, product);
      for (int c = 0; c < channels_; ++c) {
        total(c) += static_cast<double>(sum[c]);
        total(channels_ + c) += static_cast<double>(product[c]);
      }
    });
    const double count = pixel_count(pass);
    for (int c = 0; c < channels_; ++c) {
      b_.bias_gradient[c] += static_cast<float>(total(c));
      b_.weight_gradient[c] += static_cast<float>(total(channels_ + c));
      a[c] = static_cast<float>(total(c) / count);
      b[c] = static_cast<float>(total(channels_ + c) / count);
    }
    if (!b_.dx.data) return;
    each_row(pass, [&](int n, int y) {
      b_.kernels->norm_gradient(b_.x.at(n, y), b_.dy.at(n, y), b_.x.shape.width, channels_, mean_,
                                inverse_, scale, shift, a, b, b_.dx.at(n, y));
    });
  }

 private:
  template <class Visit>
  void each_row(const Pass& pass, Visit visit) const {
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < b_.x.shape.height; ++y) visit(n, y);
  }

  double& total(int index) { return sums_[static_cast<std::size_t>(index)]; }

  double pixel_count(const Pass& pass) const {
    return static_cast<double>(pass.batch) * b_.x.shape.height * b_.x.shape.width;
  }

  static float inverse_of(double variance) {
    return static_cast<float>(1.0 / std::sqrt(variance + kNormEpsilon));
  }

  // Mean and variance of this batch, and what the running ones become.
  void measure(const Pass& pass) {
    float* sum = part_[0];
    const double count = pixel_count(pass);
    for (const bool second : {false, true}) {
      std::fill(sums_.begin(), sums_.end(), 0.0);
      each_row(pass, [&](int n, int y) {
        std::fill_n(sum, channels_, 0.0F);
        if (second)
          b_.kernels->add_squares(b_.x.at(n, y), b_.x.shape.width, channels_, mean_, sum);
        else
          b_.kernels->add_channels(b_.x.at(n, y), b_.x.shape.width, channels_, sum);
        for (int c = 0; c < channels_; ++c) total(c) += static_cast<double>(sum[c]);
      });
      for (int c = 0; c < channels_; ++c) {
        const double value = total(c) / count;
        float* running = second ? b_.variance : b_.mean;
        const double kept = second && count > 1 ? value * count / (count - 1) : value;
        running[c] = static_cast<float>((1 - kMomentum) * static_cast<double>(running[c]) +
                                        kMomentum * kept);
        if (second)
          inverse_[c] = inverse_of(value);
        else
          mean_[c] = static_cast<float>(value);
      }
    }
  }

  const Binding b_;
  const int channels_;
  float *mean_ = nullptr, *inverse_ = nullptr;  // of the last batch
  float* part_[6];
  std::vector<double> sums_;
};

}  // namespace

std::unique_ptr<Layer> make_batch_norm(const Binding& binding) {
  return std::make_unique<BatchNorm>(binding);
}

}  // namespace brood::cnn
