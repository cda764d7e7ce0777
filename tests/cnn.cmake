brood_test(cnn_data_test LIBS brood_cnn ZLIB::ZLIB LABELS cnn)
brood_test(cnn_gradients_test LIBS brood_cnn LABELS cnn SOURCES cnn_reference.cpp)
brood_test(cnn_spec_test LIBS brood_cnn LABELS cnn)
brood_test(cnn_training_test LIBS brood_cnn LABELS cnn)
