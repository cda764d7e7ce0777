// Reads TFRecord files: a row of records, each with its length and two checksums.
//
// Little-endian: the length (8 bytes), its masked CRC-32C (4), the data, its masked CRC-32C (4).
// Source: TensorFlow, "TFRecord and tf.train.Example", section "TFRecords format details".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainers/data/byte_file.h"

namespace brood::data {

class RecordReader {
 public:
  // most: an upper bound of all bytes to come, so that nothing is allocated for a length that the
  // file cannot hold. name: of the file, for messages.
  RecordReader(ByteReader read, std::uint64_t most, std::string name);

  // The data of the next record, until the next call; nothing at the end of the file. Throws
  // UserError naming the file, the record and its place for a damaged one.
  std::optional<std::span<const std::uint8_t>> next();

  // Of the record that next() gave last: "FILE: record 17 at byte 5120" (records count from 1,
  // bytes from 0, in the unpacked file).
  std::string place() const;
  const std::string& name() const { return name_; }

 private:
  std::size_t take(std::uint8_t* to, std::size_t n);
  [[noreturn]] void damaged(const std::string& why) const;

  ByteReader read_;
  std::uint64_t left_;
  std::string name_;
  std::uint64_t number_ = 0, offset_ = 0, next_offset_ = 0;
  std::vector<std::uint8_t> data_;
};

}  // namespace brood::data
