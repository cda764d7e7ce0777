brood_test(gpu_emulator_test LIBS brood_cnn LABELS gpu)
brood_test(gpu_gradients_test LIBS brood_cnn SOURCES cnn_reference.cpp gpu_fixture.cpp LABELS gpu)
brood_test(gpu_tensor_test LIBS brood_cnn SOURCES gpu_fixture.cpp LABELS gpu)
brood_test(gpu_training_test LIBS brood_cnn SOURCES gpu_fixture.cpp LABELS gpu)
