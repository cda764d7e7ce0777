#include "trainers/data/tf_example.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/error.h"

namespace brood::data {

namespace {

static_assert(std::endian::native == std::endian::little, "real numbers are read as they lie");

using Bytes = std::span<const std::uint8_t>;

// What an Example takes in memory stays within a few times its bytes.
constexpr std::size_t kFeaturesMax = 4096;

enum class Wire : std::uint8_t { varint = 0, eight_bytes = 1, length = 2, four_bytes = 5 };

// The fields of one message, one after another. Positions in messages are those of the record.
class Fields {
 public:
  Fields(Bytes record, Bytes message)
      : record_(record), at_(message.data()), end_(message.data() + message.size()) {}

  // Reads the next field's number and value; false at the end of the message.
  bool next() {
    if (at_ == end_) return false;
    const std::uint64_t key = varint();
    number = key >> 3;
    wire = static_cast<Wire>(key & 7U);
    if (number == 0 || number >= (std::uint64_t{1} << 29)) wrong("has a field without a number");
    switch (wire) {
      case Wire::varint:
        value = varint();
        break;
      case Wire::eight_bytes:
        bytes = take(8);
        break;
      case Wire::length:
        bytes = take(varint());
        break;
      case Wire::four_bytes:
        bytes = take(4);
        break;
      default:
        wrong("has a field of an unknown type (" + std::to_string(key & 7U) + ")");
    }
    return true;
  }

  std::uint64_t varint() {
    std::uint64_t out = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at_ == end_) wrong("ends inside a number");
      const std::uint8_t byte = *at_++;
      // Ten bytes hold 70 bits; the surplus is dropped, as protobuf does.
      if (shift < 64) out |= std::uint64_t{byte & 0x7FU} << shift;
      if ((byte & 0x80U) == 0) return out;
    }
    wrong("has a number of more than 10 bytes");
  }

  bool at_end() const { return at_ == end_; }

  [[noreturn]] void wrong(const std::string& why) const {
    throw UserError("is no tf.train.Example: it " + why + " (byte " +
                    std::to_string(at_ - record_.data()) + " of the record)");
  }

  std::uint64_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;  // of a varint
  Bytes bytes;              // of all else

 private:
  Bytes take(std::uint64_t size) {
    if (size > static_cast<std::uint64_t>(end_ - at_))
      wrong("has a field that goes beyond its end");
    const Bytes out(at_, static_cast<std::size_t>(size));
    at_ += size;
    return out;
  }

  Bytes record_;
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

bool is_message(const Fields& field, std::uint64_t number) {
  return field.number == number && field.wire == Wire::length;
}

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

float real_at(const std::uint8_t* from) {
  float value = 0.0F;
  std::memcpy(&value, from, sizeof value);
  return value;
}

void read_bytes(Bytes record, Bytes list, Feature& out) {
  for (Fields field(record, list); field.next();)
    if (is_message(field, 1)) out.bytes.push_back(field.bytes);
}

// Packed into one field, as every writer of today does it, or one by one.
void read_reals(Bytes record, Bytes list, Feature& out) {
  for (Fields field(record, list); field.next();) {
    if (field.number != 1) continue;
    if (field.wire == Wire::four_bytes) out.reals.push_back(real_at(field.bytes.data()));
    if (field.wire != Wire::length) continue;
    if (field.bytes.size() % 4 != 0) field.wrong("has a list of reals that ends inside one");
    for (std::size_t i = 0; i < field.bytes.size(); i += 4)
      out.reals.push_back(real_at(field.bytes.data() + i));
  }
}

void read_integers(Bytes record, Bytes list, Feature& out) {
  for (Fields field(record, list); field.next();) {
    if (field.number != 1) continue;
    if (field.wire == Wire::varint)
      out.integers.push_back(std::bit_cast<std::int64_t>(field.value));
    if (field.wire != Wire::length) continue;
    for (Fields packed(record, field.bytes); !packed.at_end();)
      out.integers.push_back(std::bit_cast<std::int64_t>(packed.varint()));
  }
}

// The last kind of list counts; lists of one kind are joined.
void read_feature(Bytes record, Bytes message, Feature& out) {
  for (Fields field(record, message); field.next();) {
    if (field.wire != Wire::length || field.number > 3) continue;
    const auto kind = static_cast<Feature::Kind>(field.number);
    if (out.kind != kind) out = {};
    out.kind = kind;
    if (kind == Feature::Kind::bytes) read_bytes(record, field.bytes, out);
    if (kind == Feature::Kind::reals) read_reals(record, field.bytes, out);
    if (kind == Feature::Kind::integers) read_integers(record, field.bytes, out);
  }
}

void read_entry(Bytes record, Bytes entry, Example& out) {
  std::string_view name;
  Feature feature;
  for (Fields field(record, entry); field.next();) {
    if (is_message(field, 1)) name = text_of(field.bytes);
    if (is_message(field, 2)) read_feature(record, field.bytes, feature);
  }
  const auto found = std::find_if(out.features.begin(), out.features.end(),
                                  [&](const auto& known) { return known.first == name; });
  if (found != out.features.end())
    found->second = std::move(feature);
  else
    out.features.emplace_back(name, std::move(feature));
}

}  // namespace

const Feature* Example::find(std::string_view name) const {
  for (const auto& [known, feature] : features)
    if (known == name) return &feature;
  return nullptr;
}

std::string Example::contents() const {
  constexpr std::size_t kShown = 20;
  std::string out;
  for (std::size_t i = 0; i < std::min(features.size(), kShown); ++i) {
    const auto& [name, feature] = features[i];
    const std::size_t count =
        std::max({feature.bytes.size(), feature.reals.size(), feature.integers.size()});
    const char* const kinds[] = {"empty", "bytes", "reals", "integers"};
    out += (i > 0 ? ", " : "") + shown_name(name) + " (";
    if (count != 1 && feature.kind != Feature::Kind::none) out += std::to_string(count) + " ";
    out += kinds[static_cast<std::size_t>(feature.kind)] + std::string(")");
  }
  if (features.size() > kShown) out += ", ...";
  return out.empty() ? "nothing" : out;
}

Example parse_example(Bytes record) {
  Example out;
  std::size_t entries = 0;
  for (Fields example(record, record); example.next();) {
    if (!is_message(example, 1)) continue;
    for (Fields map(record, example.bytes); map.next();) {
      if (!is_message(map, 1)) continue;
      if (++entries > kFeaturesMax)
        map.wrong("has more than " + std::to_string(kFeaturesMax) + " features");
      read_entry(record, map.bytes, out);
    }
  }
  return out;
}

std::string shown_name(std::string_view name) {
  std::string out(name.substr(0, 60));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return out.empty() ? "\"\"" : out;
}

}  // namespace brood::data
