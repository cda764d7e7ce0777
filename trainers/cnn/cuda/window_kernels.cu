// Kernels of depthwise convolutions and pools.
#include "trainers/cnn/cuda/device_table.h"
#include "trainers/cnn/cuda/window_kernels.h"

namespace brood::cnn::cuda {

void list_window_kernels(DeviceTable& table) { visit_window_kernels(table); }

}  // namespace brood::cnn::cuda
