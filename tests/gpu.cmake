brood_test(gpu_emulator_test LIBS brood_cnn LABELS gpu)
brood_test(gpu_gradients_test LIBS brood_cnn SOURCES cnn_reference.cpp gpu_fixture.cpp LABELS gpu)
brood_test(gpu_program_test LIBS brood_cnn LABELS gpu)
brood_test(gpu_tensor_test LIBS brood_cnn SOURCES gpu_fixture.cpp LABELS gpu)
brood_test(gpu_training_test LIBS brood_cnn SOURCES gpu_fixture.cpp LABELS gpu)
# With BROOD_TEST_DEVICE=cuda they run on a GPU.
if(BROOD_CUDA)
  foreach(test gpu_gradients_test gpu_tensor_test gpu_training_test)
    target_compile_definitions(${test} PRIVATE BROOD_WITH_CUDA)
    target_link_libraries(${test} PRIVATE CUDA::cudart_static)
  endforeach()
endif()
brood_test(gpu_fused_test LIBS brood_cnn SOURCES trainers_drive.cpp LABELS gpu)
brood_test(gpu_turns_test LIBS brood_cnn SOURCES gpu_trials.cpp LABELS gpu)
brood_test(gpu_run_test LIBS brood_engine brood_store LABELS gpu PROGRAM)
if(BROOD_MPI)
  brood_test(gpu_cluster_test LIBS brood_engine brood_store LABELS gpu PROGRAM)
endif()
# Where there is a toolkit: every kernel compiles, and none takes more registers than before.
if(BROOD_NVCC AND NOT BROOD_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
  add_test(NAME cuda_budget COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-cuda)
  set_tests_properties(cuda_budget PROPERTIES LABELS gpu TIMEOUT 900 ENVIRONMENT NVCC=${BROOD_NVCC})
endif()
# The runtime on a GPU over a stand-in for CUDA's library: needs neither toolkit nor GPU. Its names
# are others there, as a build with CUDA has the real ones too.
brood_test(gpu_standin_test LIBS brood_cnn LABELS gpu SOURCES gpu_trials.cpp standin/standin.cpp
  ${CMAKE_SOURCE_DIR}/trainers/cnn/cuda/cuda_runtime.cpp)
if(TARGET gpu_standin_test)
  target_include_directories(gpu_standin_test BEFORE PRIVATE standin)
  target_compile_definitions(gpu_standin_test PRIVATE make_cuda_runtime=make_standin_runtime
    built_with_cuda=built_with_standin launch_cuda=launch_standin prepare_kernels=prepare_standin)
endif()
