// Whatever the text of a config, the reader answers with a spec or with errors in words: it never
// crashes, hangs or throws anything else; and what it accepts keeps its promises.
//
// Built as a libFuzzer target by -DBROOD_FUZZ=ON with clang; tests/config_fuzz_test.cpp runs the
// corpus through the same function in every build.
#include <cstddef>
#include <cstdint>
#include <string>

#include "cli/config.h"
#include "engine/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace brood;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const ExperimentSpec spec = read_config_text(text, "fuzz.json");
    const ExperimentSpec again = read_config_text(spec.config, "fuzz.json");
    CHECK(again.config == spec.config, "the canonical config reads back as another one");
    CHECK(compare_configs(spec.config, again.config).empty(), "a config differs from itself");
    Rng rng(1, 2, Purpose::simulate);
    for (std::uint64_t trial = 0; trial < 3; ++trial) {
      const ParamSet point = spec.space.mask(spec.space.sample(rng));
      spec.space.require_member(point);
      CHECK(spec.space.mask(spec.space.complete(point, 3, trial)) == point,
            "a point means something else with other inactive genes");
    }
  } catch (const ConfigError& error) {
    CHECK(!error.problems().empty() && error.what()[0] != '\0', "an error without words");
  }
  return 0;
}
