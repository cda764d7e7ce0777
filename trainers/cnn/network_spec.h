// A network and its training as plain data: the trainer's block of a config, checked.
//
// Defaults, and where they come from:
//   batch_size 64         the Hops demo
//   validation 0.1        of the training samples; 0 switches validation metrics off
//   momentum 0, nesterov false, weight_decay 0           PyTorch's torch.optim.SGD
//   beta1 0.9, beta2 0.999, epsilon 1e-8                 Kingma, Ba, "Adam", ICLR 2015
//   weight_decay 0.01 for adamw                          PyTorch's torch.optim.AdamW (decoupled:
//                         Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019)
//   weight decay acts on every parameter, also biases and batch norm, as in PyTorch and Keras
//   conv: stride 1, padding same (as much on both sides, an odd rest below and right: TensorFlow)
//   pools: stride as size, padding valid
//   activation none
//   initialization he
//   kernels auto; direct: no Winograd, whose sums are off by a few units more of the last place
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/error.h"

namespace brood::cnn {

struct SyntheticSpec {
  int classes = 10, size = 12, channels = 1, train = 512, test = 128;
  double noise = 0.3;  // standard deviation of the pixels, which lie in 0..1
  friend bool operator==(const SyntheticSpec&, const SyntheticSpec&) = default;
};

struct DatasetSpec {
  enum class Kind : std::uint8_t { fashion_mnist, idx, synthetic };
  Kind kind = Kind::fashion_mnist;
  SyntheticSpec synthetic;
  friend bool operator==(const DatasetSpec&, const DatasetSpec&) = default;
};

// he: uniform with variance 2 / inputs, biases zero (He and others, "Delving deep into rectifiers",
// ICCV 2015). pytorch: uniform with variance 1 / (3 inputs), biases too, as PyTorch's layers start.
enum class Initialization : std::uint8_t { he, pytorch };

struct OptimizerSpec {
  enum class Kind : std::uint8_t { sgd, adam, adamw };
  Kind kind = Kind::sgd;
  double learning_rate = 0.0;
  double momentum = 0.0;                              // sgd
  bool nesterov = false;                              // sgd
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // adam, adamw
  double weight_decay = 0.0;
};

struct ScheduleSpec {
  enum class Kind : std::uint8_t { constant, cosine };
  Kind kind = Kind::constant;
  double warmup_epochs = 0.0;
};

enum class LayerKind : std::uint8_t {
  conv,
  max_pool,
  avg_pool,
  global_avg_pool,
  batch_norm,
  dropout,
  dense,
  activation,
  flatten
};

struct LayerSpec {
  LayerKind kind = LayerKind::flatten;
  std::string pointer;        // into the resolved block, for messages
  int columns = 0;            // filters of a conv, units of a dense layer
  int height = 1, width = 1;  // kernel or pool size
  int stride_height = 1, stride_width = 1;
  bool same = false;  // padding
  bool relu = false;
  bool batch_norm = false;
  double rate = 0.0;  // of dropout
};

struct NetworkSpec {
  DatasetSpec dataset;
  double validation_fraction = 0.1;  // of the training samples; used when the count is 0
  std::int64_t validation_count = 0;
  int epochs = 1;
  int batch_size = 64;
  std::int64_t limit_train = 0, limit_test = 0;  // 0: all. Before the split, by the same draw
  bool evaluate_test = false;
  Initialization initialization = Initialization::he;
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
