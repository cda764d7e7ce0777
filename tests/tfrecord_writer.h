// Writes TFRecord files of tf.train.Example for tests: plainly, apart from the reader's code.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace brood {

using FeatureValue = std::variant<std::string, std::vector<std::int64_t>, std::vector<float>>;
using FeatureList = std::vector<std::pair<std::string, FeatureValue>>;

// Bit by bit, masked.
std::uint32_t plain_masked_crc(const std::string& bytes);

std::string varint(std::uint64_t value);
// One field of a protobuf message: number, and bytes or a nested message.
std::string field(int number, const std::string& bytes);

std::string example_bytes(const FeatureList& features);

// One record with its length and checksums.
std::string record_bytes(const std::string& data);

}  // namespace brood
