// Reads tf.train.Example, the message in the records of most TFRecord files: named lists of bytes,
// whole numbers or real numbers.
//
// By hand, without libprotobuf: the six messages of an Example have one or three fields each; bytes
// are seen in place, where a generated class copies every image; and no process pays for starting
// the library that never reads such a file. Field numbers: TensorFlow,
// core/example/{example,feature}.proto. Wire format: Protocol Buffers, "Encoding".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace brood::data {

struct Feature {
  enum class Kind : std::uint8_t { none, bytes, reals, integers };
  Kind kind = Kind::none;
  std::vector<std::span<const std::uint8_t>> bytes;  // into the record
  std::vector<float> reals;
  std::vector<std::int64_t> integers;
};

struct Example {
  std::vector<std::pair<std::string_view, Feature>> features;  // names into the record

  const Feature* find(std::string_view name) const;  // nullptr: absent
  // "height (1 integer), image_raw (1 text of bytes)", for messages.
  std::string contents() const;
};

// The result refers to the record. Throws UserError with what is wrong and the byte of the record,
// without its file: the caller knows where the record lies. Fields that this message does not know
// are passed over, as the format demands; of two features of one name the last counts.
Example parse_example(std::span<const std::uint8_t> record);

// A name from a file as it may be shown: control characters are '?', at most 60 bytes.
std::string shown_name(std::string_view name);

}  // namespace brood::data
