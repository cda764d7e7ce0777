// One kernel source for two compilers: nvcc makes device code of it, any other compiler plain C++
// for the emulator.
//
// Kernels and what they call live in `namespace brood::cnn::cuda { namespace BROOD_DEVICE_SPACE`,
// so that the two versions of a name never meet in one program. A kernel uses only what is declared
// here and arithmetic. No contraction: kernels are compiled without it, and multiply_add() asks for
// it by name where neither bits nor the CPU's streams depend on it.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define BROOD_DEVICE __device__ __forceinline__
#define BROOD_KERNEL(threads) __global__ void __launch_bounds__(threads)
#define BROOD_DEVICE_SPACE device
#define BROOD_UNROLL _Pragma("unroll")
#else
#include "trainers/cnn/cuda/emulator.h"
#define BROOD_DEVICE inline
#define BROOD_KERNEL(threads) inline void
#define BROOD_DEVICE_SPACE emulated
#define BROOD_UNROLL
#endif

namespace brood::cnn::cuda {

// The upper half of a float; what tensor cores multiply.
struct alignas(2) Bf16 {
  std::uint16_t bits;
};

struct alignas(8) Bf16x4 {
  Bf16 value[4];
};

inline namespace BROOD_DEVICE_SPACE {

#if defined(__CUDACC__)

BROOD_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
BROOD_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
BROOD_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
BROOD_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }
BROOD_DEVICE int block_z() { return static_cast<int>(blockIdx.z); }
BROOD_DEVICE void sync_threads() { __syncthreads(); }
BROOD_DEVICE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
BROOD_DEVICE float square_root(float x) { return __fsqrt_rn(x); }
BROOD_DEVICE double square_root(double x) { return __dsqrt_rn(x); }

// The block's shared memory, from its start.
template <class T>
BROOD_DEVICE T* shared_memory() {
  extern __shared__ __align__(128) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}

template <class To, class From>
BROOD_DEVICE To bits_as(From from) {
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

#else

inline int thread_index() { return emulator::thread->index; }
inline int thread_count() { return emulator::block->threads; }
inline int block_x() { return emulator::block->x; }
inline int block_y() { return emulator::block->y; }
inline int block_z() { return emulator::block->z; }
inline void sync_threads() { emulator::sync_threads(); }
inline float multiply_add(float a, float b, float c) { return a * b + c; }
inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

template <class T>
inline T* shared_memory() {
  return reinterpret_cast<T*>(emulator::block->shared);
}

template <class To, class From>
inline To bits_as(From from) {
  return __builtin_bit_cast(To, from);
}

#endif

BROOD_DEVICE float to_float(float value) { return value; }
BROOD_DEVICE float to_float(Bf16 value) {
  return bits_as<float>(static_cast<std::uint32_t>(value.bits) << 16U);
}

// To the nearest, ties to even; NaN stays NaN.
template <class T>
BROOD_DEVICE T from_float(float value);
template <>
BROOD_DEVICE float from_float<float>(float value) {
  return value;
}
template <>
BROOD_DEVICE Bf16 from_float<Bf16>(float value) {
  const auto bits = bits_as<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {0x7fff};
  return {static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U)};
}

template <class T>
BROOD_DEVICE T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
BROOD_DEVICE T larger(T a, T b) {
  return a < b ? b : a;
}

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
