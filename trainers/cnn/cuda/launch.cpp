#include "trainers/cnn/cuda/launch.h"

#include <cstddef>

namespace brood::cnn::cuda {

const char* name_of(KernelId kernel) {
  static constexpr const char* kNames[] = {"begin_step",
                                           "begin_evaluation",
                                           "draw_changes",
                                           "gather_train",
                                           "gather_evaluation",
                                           "pack_weights",
                                           "product_forward",
                                           "product_input_gradient",
                                           "dense_input_gradient",
                                           "product_weight_gradient",
                                           "tensor_forward_16",
                                           "tensor_forward_32",
                                           "tensor_forward_64",
                                           "tensor_input_gradient_16",
                                           "tensor_input_gradient_32",
                                           "tensor_input_gradient_64",
                                           "halo_16_16",
                                           "halo_16_32",
                                           "halo_32_16",
                                           "halo_32_32",
                                           "halo_64_16",
                                           "halo_64_32",
                                           "tensor_weight_gradient_32",
                                           "tensor_weight_gradient_64",
                                           "sum_partials",
                                           "mask_gradient",
                                           "sum_bias_partials",
                                           "depthwise_forward",
                                           "depthwise_input_gradient",
                                           "depthwise_weight_gradient",
                                           "max_pool_forward",
                                           "max_pool_gradient",
                                           "average_pool_forward",
                                           "average_pool_gradient",
                                           "norm_statistics",
                                           "norm_prepare",
                                           "norm_forward",
                                           "norm_sums",
                                           "norm_slopes",
                                           "norm_gradient",
                                           "dropout",
                                           "activation_forward",
                                           "activation_gradient",
                                           "add_forward",
                                           "add_gradient",
                                           "copy_channels",
                                           "gate_forward",
                                           "gate_sums",
                                           "loss",
                                           "norm_of_gradients",
                                           "clip_gradients",
                                           "update",
                                           "average_states",
                                           "end_step",
                                           "end_evaluation"};
  static_assert(sizeof(kNames) / sizeof(*kNames) == static_cast<std::size_t>(KernelId::count));
  return kNames[static_cast<std::size_t>(kernel)];
}

}  // namespace brood::cnn::cuda
