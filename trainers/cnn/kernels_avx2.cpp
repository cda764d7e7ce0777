// The kernel set avx2; the build compiles this file for that instruction set.
#define BROOD_SET avx2
#define BROOD_VECTOR 8
#include "trainers/cnn/kernels_body.h"
