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

// Whether the current device has kernels that wait by themselves.
bool overlaps_launches() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major >= 9;
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
  const dim3 blocks(static_cast<unsigned>(launch.x), static_cast<unsigned>(launch.y),
                    static_cast<unsigned>(launch.z));
  const dim3 threads(static_cast<unsigned>(launch.threads));
  const auto shared_bytes = static_cast<std::size_t>(launch.shared_bytes);
  auto* const on = static_cast<cudaStream_t>(stream);
  if (!launch.overlaps || !overlaps_launches())
    return cudaLaunchKernel(kernel.function, blocks, threads, parameters, shared_bytes, on);
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = on;
  config.attrs = &overlap;
  config.numAttrs = 1;
  return cudaLaunchKernelExC(&config, kernel.function, parameters);
}

}  // namespace brood::cnn::cuda
