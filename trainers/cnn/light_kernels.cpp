#include "trainers/cnn/light_kernels.h"

#include <string_view>

namespace brood::cnn {

namespace baseline {
extern const LightKernels kLightKernels;
}
#if defined(BROOD_X86)
namespace avx2 {
extern const LightKernels kLightKernels;
}
namespace avx512 {
extern const LightKernels kLightKernels;
}
#elif defined(BROOD_ARM64)
namespace neon {
extern const LightKernels kLightKernels;
}
#endif

const LightKernels& light_kernels_of(const Kernels& kernels) {
  [[maybe_unused]] const std::string_view name = kernels.name;
#if defined(BROOD_X86)
  if (name == "avx512") return avx512::kLightKernels;
  if (name == "avx2") return avx2::kLightKernels;
#elif defined(BROOD_ARM64)
  if (name == "neon") return neon::kLightKernels;
#endif
  return baseline::kLightKernels;
}

}  // namespace brood::cnn
