// Kernels of convolutions and dense layers in fp32 arithmetic.
#include "trainers/cnn/cuda/device_table.h"
#include "trainers/cnn/cuda/product_kernels.h"

namespace brood::cnn::cuda {

void list_product_kernels(DeviceTable& table) { visit_product_kernels(table); }

}  // namespace brood::cnn::cuda
