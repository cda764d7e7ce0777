// What a network does, decided before any memory is touched: shapes, parameters, steps, cost.
//
// A backend gives the tensors their memory and executes the steps in order, and their gradients in
// the reverse order. The plan and its parameter table are the same for every backend, so that
// checkpoints can move between them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainers/cnn/network_spec.h"

namespace brood::cnn {

// Pixels from the first to the last place of a kernel's side.
constexpr int reach(int kernel, int dilation) { return (kernel - 1) * dilation + 1; }

// What batch norm adds to a variance, as in PyTorch.
constexpr double kNormEpsilon = 1e-5;

// Images and classes of a data set, and how many samples each part has after limits and split.
struct DataShape {
  int height = 0, width = 0, channels = 0, classes = 0;
  std::int64_t train = 0, validation = 0, test = 0;
  friend bool operator==(const DataShape&, const DataShape&) = default;
};

struct Shape {
  int height = 1, width = 1, channels = 1;  // of one sample
  std::int64_t count() const { return std::int64_t{1} * height * width * channels; }
  friend bool operator==(const Shape&, const Shape&) = default;
};

// A trained array. A weight is a matrix of `inputs` rows in the order (kernel row, kernel column,
// channel), or (row, column, channel) of the image for a dense layer, by `columns` outputs.
struct Parameter {
  // he: a ReLU follows; linear: none does; bound: as PyTorch starts its layers.
  enum class Start : std::uint8_t { zero, one, he, linear, bound };
  std::string name;  // layers.0.conv.weight; stable, used in checkpoints
  std::vector<std::int64_t>
      shape;                // [kernel rows, kernel columns, inputs, outputs], [in, out], [n]
  std::int64_t inputs = 1;  // rows of a weight; 1 for a vector
  int columns = 1;
  std::int64_t fan_in = 1;  // inputs of one output; a bias has that of its weight
  bool weight = false;
  Start start = Start::zero;
};

struct Step {
  enum class Op : std::uint8_t {
    conv,
    depthwise_conv,
    dense,
    max_pool,
    avg_pool,
    global_avg_pool,
    batch_norm,
    dropout,
    activation,
    add,     // of two tensors of one shape
    concat,  // of the channels
    gate     // the first input times the sigmoid of the second, one number per channel
  };
  Op op = Op::activation;
  std::string pointer;         // of the layer, for messages; "" for the classifier
  std::vector<int> inputs;     // tensors; one but for add, concat and gate
  int output = 0;              // tensor
  int weight = -1, bias = -1;  // parameters; scale and shift of a batch norm
  int state = -1;              // running mean; the running variance follows
  int kernel_height = 1, kernel_width = 1, stride_height = 1, stride_width = 1;
  int dilation_height = 1, dilation_width = 1;  // pixels from one place of a kernel to the next
  int pad_top = 0, pad_left = 0;
  bool direct = false;                       // of a conv: never by Winograd
  bool relu = false;                         // applied to the result
  Activation activation = Activation::none;  // of an activation step
  double slope = 0.0;                        // of leaky_relu
  double rate = 0.0;                         // of dropout
  std::uint32_t stream = 0;                  // of dropout: which of the step's random streams
};

struct Plan {
  std::string infeasible;          // why the network cannot be built; empty: it can
  std::string infeasible_pointer;  // the layer
  DataShape data;
  int batch_size = 1;
  std::vector<Shape> tensors;  // 0 is the image, the last one the logits
  std::vector<Parameter> parameters;
  std::vector<Parameter> states;  // running means and variances, in pairs
  std::vector<Step> steps;

  std::int64_t parameter_count = 0;
  // Multiplications and additions of convolutions and dense layers for one sample; the rest is
  // below a few percent and left out. Training: forward, gradients by weights and by inputs.
  double forward_flops = 0.0, training_flops = 0.0;

  std::int64_t steps_per_epoch() const { return (data.train + batch_size - 1) / batch_size; }
  double total_flops(int epochs, bool evaluate_test) const;
};

Plan make_plan(const NetworkSpec& spec, const DataShape& data);

}  // namespace brood::cnn
