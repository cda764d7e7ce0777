# The parsers of bytes from outside (tests/fuzz/targets.h): in every build on damaged files, with
# BROOD_FUZZ as libFuzzer programs.
set(BROOD_FUZZ_SOURCES checkpoint_fuzz.cpp cifar_fuzz.cpp frames_fuzz.cpp idx_fuzz.cpp
  picture_fuzz.cpp program_line_fuzz.cpp tfrecord_fuzz.cpp)
list(TRANSFORM BROOD_FUZZ_SOURCES PREPEND fuzz/ OUTPUT_VARIABLE fuzz_sources)
brood_test(parsers_fuzz_test LIBS brood_trainers brood_cnn brood_data SOURCES tfrecord_writer.cpp ${fuzz_sources} LABELS fuzz)
brood_test(data_tfrecord_test LIBS brood_data SOURCES tfrecord_writer.cpp LABELS data)
brood_test(data_tfrecord_source_test LIBS brood_data ZLIB::ZLIB PNG::PNG SOURCES tfrecord_writer.cpp LABELS data)
brood_test(data_statistics_test LIBS brood_data LABELS data)
brood_test(data_describe_test LIBS brood_cli brood_data PNG::PNG LABELS data)
if(BROOD_FUZZ)
  add_subdirectory(fuzz)
endif()
