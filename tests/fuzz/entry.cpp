// The libFuzzer program of one target: BROOD_TARGET is its name.
#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  brood::fuzz::BROOD_TARGET(data, size);
  return 0;
}
