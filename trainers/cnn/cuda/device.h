// One kernel source for two compilers: nvcc makes device code of it, any other compiler plain C++
// for the emulator.
//
// Kernels and what they call live in `namespace brood::cnn::cuda { namespace BROOD_DEVICE_SPACE`,
// so that the two versions of a name never meet in one program. A kernel uses only what is declared
// here and arithmetic. No contraction: kernels are compiled without it, and multiply_add() asks for
// it by name where the CPU's streams do not depend on it. So in fp32 both compute the same bits; on
// tensor cores they do not.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define BROOD_DEVICE __device__ __forceinline__
// The threads of a block; and how many blocks of a multiprocessor should find registers.
#define BROOD_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define BROOD_DEVICE_SPACE device
#define BROOD_UNROLL _Pragma("unroll")
#define BROOD_UNROLL_8 _Pragma("unroll 8")  // of a number not known: so many loads under way
#else
#include "trainers/cnn/cuda/emulator.h"
#define BROOD_DEVICE inline
#define BROOD_KERNEL(...) inline void
#define BROOD_DEVICE_SPACE emulated
#define BROOD_UNROLL
#define BROOD_UNROLL_8
#endif

namespace brood::cnn::cuda {

// The upper half of a float; what tensor cores multiply.
struct alignas(2) Bf16 {
  std::uint16_t bits;
};

// Neighbours that are read or written at once.
struct alignas(4) Bf16x2 {
  Bf16 value[2];
};
struct alignas(16) Bf16x8 {
  Bf16 value[8];
};

inline namespace BROOD_DEVICE_SPACE {

#if defined(__CUDACC__)

BROOD_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
BROOD_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
BROOD_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
BROOD_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }
BROOD_DEVICE int block_z() { return static_cast<int>(blockIdx.z); }
BROOD_DEVICE void sync_threads() { __syncthreads(); }
// Where launches may overlap (launch.h): until the one before has ended and all that it wrote is
// seen; from then on the next may be brought to the device. Nothing elsewhere.
BROOD_DEVICE void follow_launch_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}
// Whether so many have come with the caller; it sees what they wrote before. *arrived is 0 before
// the first and after the last.
BROOD_DEVICE bool arrives_last(std::uint32_t* arrived, int count) {
  const auto last = static_cast<unsigned>(count) - 1U;
  __threadfence();
  const bool is_last = atomicInc(arrived, last) == last;
  __threadfence();
  return is_last;
}
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

BROOD_DEVICE unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// 16 bytes, or zeros.
BROOD_DEVICE void copy_async(void* shared, const void* global, bool wanted) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)),
               "l"(global), "r"(wanted ? 16 : 0)
               : "memory");
}
BROOD_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int kGroupsLeft>
BROOD_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kGroupsLeft) : "memory");
}

// Four matrices of 8x8; thread i gives the address of a row of 16 bytes: rows of matrix i / 8.
template <bool kTransposed>
BROOD_DEVICE void load_matrices(std::uint32_t (&out)[4], const void* row) {
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row)));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row)));
}

// c += a * b on tensor cores, m16n8k16, bf16 factors and fp32 sums.
BROOD_DEVICE void multiply_matrices(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                    std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#else

inline int thread_index() { return emulator::thread->index; }
inline int thread_count() { return emulator::block->threads; }
inline int block_x() { return emulator::block->x; }
inline int block_y() { return emulator::block->y; }
inline int block_z() { return emulator::block->z; }
inline void sync_threads() { emulator::sync_threads(); }
inline void follow_launch_before() {}
inline bool arrives_last(std::uint32_t* arrived, int count) {
  if (++*arrived < static_cast<std::uint32_t>(count)) return false;
  *arrived = 0;
  return true;
}
inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
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

inline void copy_async(void* shared, const void* global, bool wanted) {
  emulator::copy_async(shared, global, wanted);
}
inline void commit_copies() { emulator::commit_copies(); }
template <int kGroupsLeft>
inline void wait_copies() {
  emulator::wait_copies(kGroupsLeft);
}
template <bool kTransposed>
inline void load_matrices(std::uint32_t (&out)[4], const void* row) {
  emulator::load_matrices(out, row, kTransposed);
}
inline void multiply_matrices(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                              std::uint32_t b1) {
  emulator::multiply_matrices(c, a, b0, b1);
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
#if defined(__CUDACC__)
  Bf16 out;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
#endif
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
