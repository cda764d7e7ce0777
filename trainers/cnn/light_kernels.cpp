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
#endif

const LightKernels& light_kernels_of([[maybe_unused]] const Kernels& kernels) {
#if defined(BROOD_X86)
  const std::string_view name = kernels.name;
  if (name == "avx512") return avx512::kLightKernels;
  if (name == "avx2") return avx2::kLightKernels;
#endif
  return baseline::kLightKernels;
}

}  // namespace brood::cnn
