// The light kernels of set avx2; the build compiles this file for that instruction set.
#define BROOD_SET avx2
#include "trainers/cnn/light_kernels_body.h"
