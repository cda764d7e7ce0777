// One kernel launch as plain data: what a runtime executes on a device or in the emulator.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "trainers/cnn/cuda/emulator.h"

namespace brood::cnn::cuda {

// What activations and their gradients are stored as. Weights, sums and statistics are fp32.
enum class Precision : std::uint8_t { fp32, bf16 };

enum class KernelId : std::uint8_t {
  begin_step,
  gather_train,
  gather_evaluation,
  pack_weights,
  product_forward,
  product_input_gradient,
  dense_input_gradient,
  product_weight_gradient,
  tensor_forward_16,
  tensor_forward_32,
  tensor_forward_64,
  tensor_input_gradient_16,
  tensor_input_gradient_32,
  tensor_input_gradient_64,
  halo_16_16,
  halo_16_32,
  halo_32_16,
  halo_32_32,
  halo_64_16,
  halo_64_32,
  halo_gradient_16_16,
  halo_gradient_16_32,
  halo_gradient_32_16,
  halo_gradient_32_32,
  tensor_weight_gradient_32,
  tensor_weight_gradient_64,
  sum_partials,
  mask_gradient,
  depthwise_forward,
  depthwise_input_gradient,
  depthwise_weight_gradient,
  max_pool_forward,
  max_pool_gradient,
  average_pool_forward,
  average_pool_gradient,
  norm_statistics,
  norm_prepare,
  norm_forward,
  norm_sums,
  norm_slopes,
  norm_gradient,
  norm_pool_forward,
  norm_pool_sums,
  norm_pool_gradient,
  norm_add_forward,
  norm_add_sums,
  norm_add_gradient,
  dropout,
  activation_forward,
  activation_gradient,
  add_forward,
  add_gradient,
  copy_channels,
  gate_forward,
  gate_sums,
  loss,
  norm_of_gradients,
  update,
  count
};

// The trials of a launch. Slot s has the bytes from base + s * slot_bytes on; block z works for
// slot active[z], and does nothing where that is negative.
struct Group {
  unsigned char* base = nullptr;         // device memory, aligned to 256
  std::int64_t slot_bytes = 0;           // a multiple of 256
  const std::int32_t* active = nullptr;  // device memory, an entry for each block z
};

struct Launch {
  static constexpr int kArgumentBytes = 4096;  // at most, of every device

  KernelId kernel = KernelId::count;
  Precision precision = Precision::fp32;
  int x = 1, y = 1, z = 1;  // blocks; z: trials
  int threads = 1, shared_bytes = 0;
  // On devices from sm_90 on it may be brought there while the one before it still runs; the kernel
  // waits for that itself (programmatic dependent launch).
  bool overlaps = false;
  // Of the kernel's one parameter, a struct of arguments.h that begins with a Group.
  std::vector<unsigned char> arguments;
  std::string what;  // for messages: "layers.0: conv forward"

  template <class Arguments>
  void set(const Arguments& from) {
    static_assert(std::is_trivially_copyable_v<Arguments> && sizeof(Arguments) <= kArgumentBytes);
    arguments.resize(sizeof(Arguments));
    std::memcpy(arguments.data(), &from, sizeof(Arguments));
  }
  void bind(const Group& group, int trials) {
    std::memcpy(arguments.data(), &group, sizeof(Group));
    z = trials;
  }
};

const char* name_of(KernelId kernel);

// The launch as it is, on memory of the host.
void run_emulated(const Launch& launch, emulator::Order order = emulator::Order::forward);

// In programs built with BROOD_CUDA only. Returns a cudaError_t; stream is a cudaStream_t. Call
// prepare_kernels() once per device before: it lets kernels have the shared memory they ask for.
int prepare_kernels();
int launch_cuda(const Launch& launch, void* stream);

}  // namespace brood::cnn::cuda
