// Kernels of batch norms and of what works element by element.
#include "trainers/cnn/cuda/device_table.h"
#include "trainers/cnn/cuda/element_kernels.h"
#include "trainers/cnn/cuda/norm_kernels.h"
#include "trainers/cnn/cuda/norm_pair_kernels.h"

namespace brood::cnn::cuda {

void list_element_kernels(DeviceTable& table) {
  visit_element_kernels(table);
  visit_norm_kernels(table);
  visit_norm_pair_kernels(table);
}

}  // namespace brood::cnn::cuda
