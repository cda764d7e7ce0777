brood_test(data_pictures_test LIBS brood_data ZLIB::ZLIB PNG::PNG JPEG::JPEG LABELS data SOURCES data_files.cpp)
