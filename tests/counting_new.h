// How often a program that is linked with counting_new.cpp has called operator new.
#pragma once

#include <cstdint>

namespace brood {

std::int64_t allocation_count();

}  // namespace brood
