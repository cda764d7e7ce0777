// The kernels as a CUDA program knows them, filled by the .cu files.
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include "trainers/cnn/cuda/launch.h"

namespace brood::cnn::cuda {

class DeviceTable {
 public:
  struct Kernel {
    const void* function = nullptr;
    std::size_t argument_bytes = 0;
  };

  template <class Arguments>
  void operator()(KernelId id, void (*fp32)(Arguments), void (*bf16)(Arguments), bool) {
    auto& kernels = kernels_[static_cast<std::size_t>(id)];
    kernels[0] = {reinterpret_cast<const void*>(fp32), sizeof(Arguments)};
    kernels[1] = {reinterpret_cast<const void*>(bf16), sizeof(Arguments)};
  }

  const Kernel& at(KernelId id, Precision precision) const {
    return kernels_[static_cast<std::size_t>(id)][static_cast<std::size_t>(precision)];
  }

 private:
  std::array<std::array<Kernel, 2>, static_cast<std::size_t>(KernelId::count)> kernels_;
};

void list_step_kernels(DeviceTable& table);
void list_product_kernels(DeviceTable& table);
void list_window_kernels(DeviceTable& table);
void list_element_kernels(DeviceTable& table);
void list_tensor_kernels(DeviceTable& table);

}  // namespace brood::cnn::cuda
