// Kernels of a step's frame and of the optimizer.
#include "trainers/cnn/cuda/device_table.h"
#include "trainers/cnn/cuda/step_kernels.h"
#include "trainers/cnn/cuda/update_kernels.h"

namespace brood::cnn::cuda {

void list_step_kernels(DeviceTable& table) {
  visit_step_kernels(table);
  visit_update_kernels(table);
}

}  // namespace brood::cnn::cuda
