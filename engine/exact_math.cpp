#include "engine/exact_math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace brood::exact {

#define BROOD_EXACT
#include "engine/exact_math_body.h"

}  // namespace brood::exact
