// Kernels of convolutions and dense layers on tensor cores.
#include "trainers/cnn/cuda/device_table.h"
#include "trainers/cnn/cuda/halo_gradient_kernels.h"
#include "trainers/cnn/cuda/halo_kernels.h"
#include "trainers/cnn/cuda/tensor_kernels.h"

namespace brood::cnn::cuda {

void list_tensor_kernels(DeviceTable& table) {
  visit_tensor_kernels(table);
  visit_halo_kernels(table);
  visit_halo_gradient_kernels(table);
}

}  // namespace brood::cnn::cuda
