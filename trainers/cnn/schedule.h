// The learning rate at each step of a training.
#pragma once

#include <cstdint>

#include "trainers/cnn/network_spec.h"

namespace brood::cnn {

// For step 0, 1, ... of epochs * steps_per_epoch. A warm-up rises linearly to the learning rate
// over its epochs. Then cosine falls to zero at the end (Loshchilov, Hutter, "SGDR", ICLR 2017,
// without restarts), and step multiplies by its factor every so many epochs of the whole training.
// one_cycle rises and falls along half cosines (Smith, Topin, "Super-convergence", 2019, as in
// PyTorch). A trial that is stopped early has followed the start of the same curve.
double learning_rate(const NetworkSpec& spec, std::int64_t steps_per_epoch, std::int64_t step);

// cos(pi x) for 0 <= x <= 1 from basic operations alone, error below 1e-15: the schedule's bits do
// not depend on the C library.
double cosine_of_half_turns(double x);

}  // namespace brood::cnn
