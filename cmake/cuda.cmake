# Finds CUDA, where it is wanted; sets BROOD_CUDA to ON or OFF. The program needs neither toolkit nor
# driver to start: the runtime library is static, the driver is looked for when a device is.
find_program(BROOD_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(BROOD_CUDA STREQUAL "AUTO")
  if(BROOD_NVCC)
    set(BROOD_CUDA ON)
  else()
    set(BROOD_CUDA OFF)
  endif()
endif()
if(NOT BROOD_CUDA)
  return()
endif()

if(BROOD_NVCC AND NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${BROOD_NVCC})
endif()
# Code for the A100 and the H100/H200, and PTX for what comes later.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90")
endif()
# Without it both the static and the shared runtime end up in the program.
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
# CMake 3.25 does not know that nvcc has C++20.
if(CMAKE_VERSION VERSION_LESS 3.26 AND NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
find_package(CUDAToolkit 12.8 REQUIRED)
