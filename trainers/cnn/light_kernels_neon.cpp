// The light kernels of set neon; the build compiles this file for that instruction set.
#define BROOD_SET neon
#include "trainers/cnn/light_kernels_body.h"
