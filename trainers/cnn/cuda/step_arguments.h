// What a step of a plan says of its kernels' parameters; where things lie is for program.cpp.
#pragma once

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn::cuda {

ProductArguments product_arguments(const Step& step, const Tensor& x, const Tensor& y);
PoolArguments pool_arguments(const Step& step, const Tensor& x, const Tensor& y);
ElementArguments element_arguments(const Step& step);
TensorArguments tensor_arguments(const Step& step);

// Whether a product on tensor cores is one of halo_kernels.h; its tiles then.
bool make_halo_arguments(const TensorArguments& product, bool turned, HaloArguments& out);
int halo_shared_bytes(const HaloArguments& arguments);

// For tensor cores a dense layer's image is one pixel.
Tensor as_pixel(const Step& step, Tensor tensor);

}  // namespace brood::cnn::cuda
