// The light kernels of set baseline; the build compiles this file for that instruction set.
#define BROOD_SET baseline
#include "trainers/cnn/light_kernels_body.h"
