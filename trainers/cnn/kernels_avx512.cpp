// The kernel set avx512; the build compiles this file for that instruction set.
#define BROOD_SET avx512
#define BROOD_VECTOR 16
#include "trainers/cnn/kernels_body.h"
