// The layers that work element by element, and the list of all.
#include "trainers/cnn/layers.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "trainers/cnn/winograd.h"

namespace brood::cnn {

namespace {

// Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", JMLR 2014; survivors are
// scaled up in training so that evaluation changes nothing. Whether element e of a batch survives
// is a pure function of (key of the trial, batch, layer, e), where e counts (sample, row, column,
// channel) with the channels padded to a multiple of 8.
class Dropout final : public Layer {
 public:
  explicit Dropout(const Binding& b)
      : b_(b),
        threshold_(static_cast<std::uint32_t>(std::floor(b.step->rate * 0x1.0p32))),
        scale_(static_cast<float>(1.0 / (1.0 - b.step->rate))) {}

  void forward(const Pass& pass) override {
    const std::int64_t run = std::int64_t{b_.x.shape.width} * b_.x.pixel;
    const std::int64_t elements = pass.batch * b_.x.shape.height * run;
    if (pass.train)
      b_.kernels->dropout_mask(pass.dropout_key, b_.step->stream, pass.batch_index, 0, elements,
                               threshold_, b_.bytes);
    const std::uint8_t* keep = b_.bytes;
    for (int n = 0; n < pass.batch; ++n) {
      for (int y = 0; y < b_.x.shape.height; ++y, keep += run) {
        if (pass.train)
          b_.kernels->mask(b_.x.at(n, y), keep, run, scale_, b_.y.at(n, y));
        else
          std::copy_n(b_.x.at(n, y), run, b_.y.at(n, y));
      }
    }
  }

  void backward(const Pass& pass) override {
    if (!b_.dx.data) return;
    const std::int64_t run = std::int64_t{b_.x.shape.width} * b_.x.pixel;
    const std::uint8_t* keep = b_.bytes;
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < b_.x.shape.height; ++y, keep += run)
        b_.kernels->mask(b_.dy.at(n, y), keep, run, scale_, b_.dx.at(n, y));
  }

 private:
  const Binding b_;
  const std::uint32_t threshold_;
  const float scale_;
};

class ActivationLayer final : public Layer {
 public:
  explicit ActivationLayer(const Binding& b) : b_(b), slope_(static_cast<float>(b.step->slope)) {}

  void forward(const Pass& pass) override {
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < b_.x.shape.height; ++y)
        b_.light->activate(b_.step->activation, slope_, b_.x.at(n, y), run(), b_.y.at(n, y));
  }

  void backward(const Pass& pass) override {
    if (!b_.dx.data) return;
    for (int n = 0; n < pass.batch; ++n)
      for (int y = 0; y < b_.x.shape.height; ++y)
        b_.light->activation_gradient(b_.step->activation, slope_, b_.x.at(n, y), b_.y.at(n, y),
                                      b_.dy.at(n, y), run(), b_.dx.at(n, y));
  }

 private:
  std::int64_t run() const { return std::int64_t{b_.x.shape.width} * b_.x.pixel; }

  const Binding b_;
  const float slope_;
};

}  // namespace

std::unique_ptr<Layer> make_dropout(const Binding& binding) {
  return std::make_unique<Dropout>(binding);
}

std::unique_ptr<Layer> make_activation(const Binding& binding) {
  return std::make_unique<ActivationLayer>(binding);
}

std::unique_ptr<Layer> make_layer(const Binding& binding) {
  switch (binding.step->op) {
    case Step::Op::conv:
      return uses_winograd(*binding.step, binding.x.shape, binding.y.shape)
                 ? make_winograd_conv(binding)
                 : make_conv(binding);
    case Step::Op::dense:
      return make_dense(binding);
    case Step::Op::max_pool:
      return make_max_pool(binding);
    case Step::Op::avg_pool:
    case Step::Op::global_avg_pool:
      return make_average_pool(binding);
    case Step::Op::batch_norm:
      return make_batch_norm(binding);
    case Step::Op::dropout:
      return make_dropout(binding);
    case Step::Op::activation:
      return make_activation(binding);
    case Step::Op::depthwise_conv:
      return make_depthwise_conv(binding);
    case Step::Op::add:
      return make_add(binding);
    case Step::Op::concat:
      return make_concat(binding);
    case Step::Op::gate:
      return make_gate(binding);
  }
  CHECK(false, "no such step");
}

}  // namespace brood::cnn
