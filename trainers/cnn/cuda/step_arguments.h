// What a step of a plan says of its kernels' parameters; where things lie is for program.cpp.
#pragma once

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn::cuda {

ProductArguments product_arguments(const Step& step, const Tensor& x, const Tensor& y);
PoolArguments pool_arguments(const Step& step, const Tensor& x, const Tensor& y);
ElementArguments element_arguments(const Step& step);
TensorArguments tensor_arguments(const Step& step);
PackEntry pack_entry(const Step& step, const Tensor& x, const Tensor& y);
std::int64_t pack_blocks(const PackEntry& entry);

// The tiles of halo_kernels.h; false: the step is none for them.
bool make_halo_shape(const Step& step, const Tensor& x, const Tensor& y, HaloShape& out);

// For tensor cores a dense layer's image is one pixel.
Tensor as_pixel(const Step& step, Tensor tensor);

}  // namespace brood::cnn::cuda
