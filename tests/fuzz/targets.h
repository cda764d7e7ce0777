// The parsers of bytes from outside, each as a function for a fuzzer: whatever the bytes, it comes
// back, and what it read is sound. Only a bug aborts.
//
// Each is a libFuzzer program with -DBROOD_FUZZ=ON and clang (tests/fuzz/CMakeLists.txt), and
// tests/parsers_fuzz_test.cpp runs all of them on damaged files in every build.
#pragma once

#include <cstddef>
#include <cstdint>

namespace brood::fuzz {

void checkpoint(const std::uint8_t* data, std::size_t size);    // read_checkpoint
void cifar(const std::uint8_t* data, std::size_t size);         // parse_cifar
void frames(const std::uint8_t* data, std::size_t size);        // FrameReader, decode
void idx(const std::uint8_t* data, std::size_t size);           // parse_idx
void picture(const std::uint8_t* data, std::size_t size);       // decode_picture, exif_orientation
void program_line(const std::uint8_t* data, std::size_t size);  // parse_line of command trainers
void tfrecord(const std::uint8_t* data, std::size_t size);      // RecordReader, parse_example

}  // namespace brood::fuzz
