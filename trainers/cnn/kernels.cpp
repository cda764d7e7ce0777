#include "trainers/cnn/kernels.h"

#include "engine/error.h"

namespace brood::cnn {

namespace baseline {
extern const Kernels kKernels;
}
#if defined(BROOD_X86)
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}
#elif defined(BROOD_ARM64)
namespace neon {
extern const Kernels kKernels;
}
#endif

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> list = [] {
    std::vector<const Kernels*> found;
#if defined(BROOD_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
      found.push_back(&avx512::kKernels);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      found.push_back(&avx2::kKernels);
#elif defined(BROOD_ARM64)
    found.push_back(&neon::kKernels);  // every 64-bit Arm that runs Linux has it
#endif
    found.push_back(&baseline::kKernels);
    return found;
  }();
  return list;
}

std::string numeric_class(const Kernels& kernels) {
  return std::string("cpu/") + kernels.name + "/fp32/3";
}

const Kernels& kernels_of(std::string_view name) {
  if (name.empty()) return *available_kernels().front();
  std::string offered;
  for (const Kernels* kernels : available_kernels()) {
    if (numeric_class(*kernels) == name) return *kernels;
    offered += (offered.empty() ? "" : ", ") + numeric_class(*kernels);
  }
  throw UserError("numeric class \"" + std::string(name) +
                  "\": this machine cannot produce its bits (it offers " + offered +
                  "); run on a machine that can, or start a new experiment");
}

#if defined(__SSE__)
// Bits 15 and 6 of MXCSR: flush results to zero, take denormal operands as zero.
FlushDenormals::FlushDenormals() : saved_(__builtin_ia32_stmxcsr()) {
  __builtin_ia32_ldmxcsr(saved_ | 0x8040U);
}
FlushDenormals::~FlushDenormals() { __builtin_ia32_ldmxcsr(saved_); }
#elif defined(__aarch64__)
// Bit 24 of FPCR: both at once.
FlushDenormals::FlushDenormals() : saved_(__builtin_aarch64_get_fpcr()) {
  __builtin_aarch64_set_fpcr(saved_ | 1U << 24);
}
FlushDenormals::~FlushDenormals() { __builtin_aarch64_set_fpcr(saved_); }
#else
FlushDenormals::FlushDenormals() = default;
FlushDenormals::~FlushDenormals() = default;
#endif

}  // namespace brood::cnn
