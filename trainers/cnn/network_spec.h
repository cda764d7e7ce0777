// A network and its training as plain data: the trainer's block of a config, checked.
//
// Defaults, and where they come from:
//   batch_size 64         the Hops demo
//   validation 0.1        of the training samples; 0 switches validation metrics off
//   momentum 0, nesterov false, weight_decay 0           PyTorch's torch.optim.SGD
//   beta1 0.9, beta2 0.999, epsilon 1e-8                 Kingma, Ba, "Adam", ICLR 2015
//   weight_decay 0.01 for adamw                          PyTorch's torch.optim.AdamW (decoupled:
//                         Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019)
//   rmsprop: alpha 0.99, epsilon 1e-8, momentum 0        PyTorch's torch.optim.RMSprop
//   one_cycle: rise 0.3, start_factor 0.04, end_factor 4e-6  PyTorch's OneCycleLR
//   flip: probability 0.5
//   weight decay acts on every parameter, also biases and batch norm, as in PyTorch and Keras
//   conv: stride 1, padding same (as much on both sides, an odd rest below and right: TensorFlow)
//   pools: stride as size, padding valid
//   dilation 1, activation none, slope of leaky_relu 0.01 (PyTorch)
//   activation relu after the sum of a residual (He and others, "Deep residual learning", CVPR
//   2016) squeeze_excite: ratio 16 (Hu, Shen, Sun, "Squeeze-and-excitation networks", CVPR 2018)
//   initialization he
//   precision auto: bf16 on a GPU, with fp32 weights and sums, and fp32 on a CPU
//   kernels auto; direct: no Winograd, whose sums are off by a few units more of the last place
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/error.h"
#include "trainers/data/dataset_spec.h"

namespace brood::cnn {

// he: uniform with variance 2 / inputs, biases zero (He and others, "Delving deep into rectifiers",
// ICCV 2015). pytorch: uniform with variance 1 / (3 inputs), biases too, as PyTorch's layers start.
enum class Initialization : std::uint8_t { he, pytorch };

struct OptimizerSpec {
  enum class Kind : std::uint8_t { sgd, adam, adamw, rmsprop };
  Kind kind = Kind::sgd;
  double learning_rate = 0.0;
  double momentum = 0.0;                              // sgd, rmsprop
  bool nesterov = false;                              // sgd
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // adam, adamw; epsilon: rmsprop too
  double alpha = 0.99;                                // rmsprop: what the mean square keeps
  double weight_decay = 0.0;
  double clip_norm = 0.0;  // the most that the norm of all gradients may be; 0: any
  double ema = 0.0;        // what the averaged weights keep at a step; 0: none are kept
};

struct ScheduleSpec {
  enum class Kind : std::uint8_t { constant, cosine, step, one_cycle };
  Kind kind = Kind::constant;
  double warmup_epochs = 0.0;  // not of one_cycle, which rises by itself
  double every_epochs = 1.0;   // step
  double factor = 0.1;         // step
  double rise = 0.3;           // one_cycle: the share of all steps up to the learning rate
  double start_factor = 0.04, end_factor = 4e-6;  // one_cycle: of the learning rate
};

// One change of training images, in the order of the list.
struct AugmentSpec {
  enum class Kind : std::uint8_t { flip, translate, cutout, mixup };
  Kind kind = Kind::flip;
  std::string pointer;
  double probability = 0.5;  // flip
  int pixels = 0;            // translate: the most in each direction; cutout: the side. 0: off
  double alpha = 0.0;        // mixup; 0: off
};

enum class LayerKind : std::uint8_t {
  conv,
  depthwise_conv,
  max_pool,
  avg_pool,
  global_avg_pool,
  batch_norm,
  dropout,
  dense,
  activation,
  flatten,
  squeeze_excite,
  residual,
  branches
};

// gelu in the form with tanh (Hendrycks, Gimpel, "Gaussian error linear units", 2016).
enum class Activation : std::uint8_t { none, relu, leaky_relu, gelu, silu, tanh };

struct LayerSpec {
  LayerKind kind = LayerKind::flatten;
  std::string pointer;        // into the resolved block, for messages
  int columns = 0;            // filters of a conv, units of a dense layer
  int height = 1, width = 1;  // kernel or pool size
  int stride_height = 1, stride_width = 1;
  int dilation_height = 1, dilation_width = 1;
  bool same = false;  // padding
  Activation activation = Activation::none;
  double slope = 0.01;  // of leaky_relu below zero
  bool batch_norm = false;
  double rate = 0.0;                           // of dropout
  int ratio = 16;                              // of squeeze_excite
  std::vector<std::vector<LayerSpec>> bodies;  // one of a residual, all of branches
};

// What a GPU computes in; a CPU knows fp32 alone. automatic: bf16 on a GPU.
enum class ComputePrecision : std::uint8_t { automatic, bf16, fp32 };

struct NetworkSpec {
  std::string block;  // the JSON it was read from
  data::DatasetSpec dataset;
  double validation_fraction = 0.1;  // of the training samples; used when the count is 0
  std::int64_t validation_count = 0;
  int epochs = 1;
  int batch_size = 64;
  std::int64_t limit_train = 0, limit_test = 0;  // 0: all. Before the split, by the same draw
  bool evaluate_test = false;
  bool report_classes = false, report_cost = false;  // further metrics
  double label_smoothing = 0.0;                      // share of a target spread over all classes
  std::vector<AugmentSpec> augment;
  Initialization initialization = Initialization::he;
  ComputePrecision precision = ComputePrecision::automatic;
  bool direct_kernels = false;  // no Winograd: slower, closer to exact arithmetic
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  std::vector<LayerSpec> layers;  // without the last dense layer, which follows the classes
};

// Reads a trainer block in which references, repeats and chooses are resolved. Appends everything
// that is wrong with it, with pointers relative to the block; the result is only to be used when
// nothing was appended.
NetworkSpec parse_network(const std::string& resolved_trainer_json, std::vector<Problem>& problems);

}  // namespace brood::cnn
