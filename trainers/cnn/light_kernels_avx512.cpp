// The light kernels of set avx512; the build compiles this file for that instruction set.
#define BROOD_SET avx512
#include "trainers/cnn/light_kernels_body.h"
