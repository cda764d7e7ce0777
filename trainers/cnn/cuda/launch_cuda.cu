// Launches kernels on a device.
#include <cuda_runtime.h>

#include <cstddef>

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/device_table.h"
#include "trainers/cnn/cuda/launch.h"

namespace brood::cnn::cuda {

namespace {

DeviceTable make_table() {
  DeviceTable table;
  list_step_kernels(table);
  list_product_kernels(table);
  list_window_kernels(table);
  list_element_kernels(table);
  list_tensor_kernels(table);
  return table;
}

const DeviceTable& table() {
  static const DeviceTable table = make_table();
  return table;
}

}  // namespace

int prepare_kernels() {
  for (std::size_t id = 0; id < static_cast<std::size_t>(KernelId::count); ++id) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      const void* function = table().at(static_cast<KernelId>(id), precision).function;
      if (!function) continue;
      // Also loads the kernel, which must not happen while a graph is captured.
      cudaFuncAttributes attributes{};
      cudaError_t error = cudaFuncGetAttributes(&attributes, function);
      if (error == cudaSuccess)
        error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     kSharedBytesMax);
      if (error != cudaSuccess) return error;
    }
  }
  return cudaSuccess;
}

int launch_cuda(const Launch& launch, void* stream) {
  const DeviceTable::Kernel& kernel = table().at(launch.kernel, launch.precision);
  if (!kernel.function || kernel.argument_bytes != launch.arguments.size())
    return cudaErrorInvalidValue;
  if (launch.x < 1 || launch.y < 1 || launch.z < 1) return cudaSuccess;
  void* parameters[] = {const_cast<unsigned char*>(launch.arguments.data())};
  return cudaLaunchKernel(kernel.function,
                          dim3(static_cast<unsigned>(launch.x), static_cast<unsigned>(launch.y),
                               static_cast<unsigned>(launch.z)),
                          dim3(static_cast<unsigned>(launch.threads)), parameters,
                          static_cast<std::size_t>(launch.shared_bytes),
                          static_cast<cudaStream_t>(stream));
}

}  // namespace brood::cnn::cuda
