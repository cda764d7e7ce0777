// One step of a plan on the CPU: forward, and the gradients backward.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "trainers/cnn/kernels.h"
#include "trainers/cnn/light_kernels.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn {

// A tensor in memory; strides in floats (see memory.h). data is nullptr for a gradient that nobody
// needs.
struct View {
  float* data = nullptr;
  Shape shape;
  int pixel = 0;
  std::int64_t row = 0, image = 0;

  float* at(int sample, int y = 0) const { return data + sample * image + y * row; }
};

constexpr int kNormArrays = 8;  // that a batch norm keeps, an entry per channel

// A batch norm, for the convolutions right before and right behind it (see fusion.h).
class NormBeside {
 public:
  virtual ~NormBeside() = default;
  // For the one before, forward in training: image n has just been written; all of them in order.
  virtual void measure(int n) = 0;
  // Backward: writes the gradients of `count` images from n on as images 0, 1, ... of its dx.
  virtual void write_gradients(int n, int count) = 0;
  // For the one behind: writes `count` images from n on as images 0, 1, ... of its y. Forward this
  // comes first.
  virtual void write_outputs(int n, int count) = 0;
  virtual void write_outputs_again(int n, int count) = 0;
  // Backward: the gradients of these images have just been written; all of them in order.
  virtual void sum_gradients(int n, int count) = 0;
};

// What a step may touch. Everything outlives the layer and stays where it is.
struct Binding {
  const Kernels* kernels = nullptr;
  const LightKernels* light = nullptr;
  const Step* step = nullptr;
  int batch_max = 1;
  View x, y, dx, dy;                         // dx, dy: gradients of the loss by x and y
  std::vector<View> xs, dxs;                 // of all inputs; x and dx are the first
  float *weight = nullptr, *bias = nullptr;  // nullptr: the step has none
  float *weight_gradient = nullptr, *bias_gradient = nullptr;  // zero before backward, but for a
                                                               // dense weight, which is overwritten
  float *mean = nullptr, *variance = nullptr;                  // running, of a batch norm
  float* saved = nullptr;                                      // kept from forward to backward
  float* largest = nullptr;       // of a batch norm with a pool: the inputs that come through
  float* scratch = nullptr;       // free between calls
  std::uint8_t* bytes = nullptr;  // kept from forward to backward
  // A maximum passes a ReLU's gradient on where it is positive: a pool right behind a ReLU masks
  // for it, where the gradient has fewer pixels.
  bool mask_input = false;  // of a max pool: y > 0 also masks dx
  bool dy_masked = false;   // of a layer with a ReLU: dy comes masked
  // Of a convolution: dy, or x, has images_at_a_time, for this norm to write.
  NormBeside *norm_behind = nullptr, *norm_before = nullptr;
  bool conv_before = false, conv_behind = false;  // of a batch norm: is that norm
};

// One batch.
struct Pass {
  int batch = 0;
  bool train = false;
  std::uint64_t dropout_key = 0;  // of the trial
  std::uint64_t batch_index = 0;  // since the start of the training; names the random numbers
};

class Layer {
 public:
  virtual ~Layer() = default;
  virtual void forward(const Pass& pass) = 0;
  // After a forward pass in training. Adds to the parameters' gradients and overwrites dx; may
  // change dy.
  virtual void backward(const Pass& pass) = 0;
  virtual NormBeside* as_norm() { return nullptr; }
};

std::unique_ptr<Layer> make_layer(const Binding& binding);

std::unique_ptr<Layer> make_conv(const Binding& binding);
std::unique_ptr<Layer> make_winograd_conv(const Binding& binding);
std::unique_ptr<Layer> make_dense(const Binding& binding);
std::unique_ptr<Layer> make_max_pool(const Binding& binding);
std::unique_ptr<Layer> make_average_pool(const Binding& binding);  // also over the whole image
std::unique_ptr<Layer> make_batch_norm(const Binding& binding);
std::unique_ptr<Layer> make_dropout(const Binding& binding);
std::unique_ptr<Layer> make_activation(const Binding& binding);
std::unique_ptr<Layer> make_depthwise_conv(const Binding& binding);
std::unique_ptr<Layer> make_add(const Binding& binding);
std::unique_ptr<Layer> make_concat(const Binding& binding);
std::unique_ptr<Layer> make_gate(const Binding& binding);

}  // namespace brood::cnn
