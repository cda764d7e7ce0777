#include "trainers/data/tfrecord.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "engine/error.h"
#include "trainers/data/crc32c.h"

namespace brood::data {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they lie");

constexpr std::size_t kHeader = 12, kFooter = 4;
// A picture with its labels; an Example cannot be larger than 2 GiB, as no protobuf message can.
constexpr std::uint64_t kRecordMax = std::uint64_t{1} << 31;
// Read in parts, so that a compressed file that lies about its length costs no more than it holds.
constexpr std::size_t kPart = std::size_t{1} << 24;

template <class T>
T number_at(const std::uint8_t* from) {
  T value = 0;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

RecordReader::RecordReader(ByteReader read, std::uint64_t most, std::string name)
    : read_(std::move(read)), left_(most), name_(std::move(name)) {}

std::string RecordReader::place() const {
  return name_ + ": record " + std::to_string(number_) + " at byte " + std::to_string(offset_);
}

void RecordReader::damaged(const std::string& why) const {
  throw UserError(place() + " " + why + "; get the file again");
}

// Fewer than n only at the end of the file.
std::size_t RecordReader::take(std::uint8_t* to, std::size_t n) {
  const std::size_t done = read_fully(read_, to, n);
  left_ -= std::min<std::uint64_t>(left_, done);
  return done;
}

std::optional<std::span<const std::uint8_t>> RecordReader::next() {
  std::uint8_t header[kHeader];
  const std::size_t got = take(header, kHeader);
  if (got == 0) return std::nullopt;
  ++number_;
  offset_ = next_offset_;
  if (got < kHeader) damaged("is cut short: the file ends inside its length");
  const auto length = number_at<std::uint64_t>(header);
  if (masked_crc32c(header, 8) != number_at<std::uint32_t>(header + 8))
    damaged(number_ == 1 ? "has a wrong checksum of its length: this is no TFRecord file, or it is "
                           "damaged"
                         : "has a wrong checksum of its length");
  if (length > kRecordMax)
    damaged("says that it has " + std::to_string(length) + " bytes, more than the 2 GiB of any");
  if (length + kFooter > left_)
    damaged("is cut short: it says that it has " + std::to_string(length) +
            " bytes, more than the rest of the file");
  const std::size_t size = static_cast<std::size_t>(length) + kFooter;
  std::size_t done = 0;
  while (done < size) {
    const std::size_t part = std::min(size - done, kPart);
    if (data_.size() < done + part) data_.resize(done + part);
    if (take(data_.data() + done, part) < part)
      damaged("is cut short: the file ends inside its " + std::to_string(length) + " bytes");
    done += part;
  }
  const std::size_t bytes = size - kFooter;
  if (masked_crc32c(data_.data(), bytes) != number_at<std::uint32_t>(data_.data() + bytes))
    damaged("has a wrong checksum of its data: it is damaged");
  next_offset_ = offset_ + kHeader + size;
  return std::span<const std::uint8_t>(data_.data(), bytes);
}

}  // namespace brood::data
