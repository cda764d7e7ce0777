// Which kernel computes a product on tensor cores, and over which blocks: by its layer and the
// batch size alone.
#pragma once

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn::cuda {

struct TensorLaunch {
  KernelId kernel = KernelId::count;
  int x = 1, y = 1;  // blocks
  int threads = 1, shared_bytes = 0;
  HaloShape halo;  // no images: the kernel is none of halo_kernels.h

  bool is_halo() const { return halo.images > 0; }
};

// A layer's product or, as gradient, that of its input gradient.
TensorLaunch tensor_launch(const Step& step, const TensorArguments& product, int batch,
                           bool gradient);

// parts: chunks of images.
TensorLaunch tensor_gradient_launch(const Step& step, const ProductArguments& product, int parts);

}  // namespace brood::cnn::cuda
