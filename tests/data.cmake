brood_test(data_cache_test LIBS brood_data PNG::PNG JPEG::JPEG LABELS data SOURCES data_files.cpp)
brood_test(data_cifar_test LIBS brood_data ZLIB::ZLIB PNG::PNG JPEG::JPEG LABELS data SOURCES data_files.cpp)
brood_test(data_folder_test LIBS brood_cnn PNG::PNG JPEG::JPEG LABELS data SOURCES data_files.cpp)
brood_test(data_pictures_test LIBS brood_data ZLIB::ZLIB PNG::PNG JPEG::JPEG LABELS data SOURCES data_files.cpp)
