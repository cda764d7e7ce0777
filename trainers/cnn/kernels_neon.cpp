// The kernel set neon; the build compiles this file for that instruction set.
#define BROOD_SET neon
#define BROOD_VECTOR 4
#include "trainers/cnn/kernels_body.h"
