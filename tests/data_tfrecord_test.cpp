// Goal: TFRecord files are read exactly, or refused with file, record, byte and reason. Method:
// files made by a plain writer of the tests (tfrecord_writer), by Google's own protobuf library
// (tests/golden/tfrecord, made by make.py there), and damaged one way at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "engine/error.h"
#include "tfrecord_writer.h"
#include "trainers/data/crc32c.h"
#include "trainers/data/tf_example.h"
#include "trainers/data/tfrecord.h"

namespace brood::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::uint32_t crc(const std::string& text) { return crc32c(bytes_of(text).data(), text.size()); }

// part: how many bytes a reading gives at most.
RecordReader reader_of(const std::string& file, std::size_t part = 1000) {
  auto at = std::make_shared<std::size_t>(0);
  return {[&file, at, part](std::uint8_t* to, std::size_t n) {
            const std::size_t got = std::min({n, part, file.size() - *at});
            std::memcpy(to, file.data() + *at, got);
            *at += got;
            return got;
          },
          file.size(), "shard.tfrecord"};
}

std::vector<std::string> records_of(const std::string& file, std::size_t part = 1000) {
  std::vector<std::string> out;
  RecordReader reader = reader_of(file, part);
  while (const auto record = reader.next()) out.emplace_back(record->begin(), record->end());
  return out;
}

template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Crc32c, HasTheValuesOfRfc3720) {
  EXPECT_EQ(crc(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc(std::string(32, '\xFF')), 0x62A8AB43U);
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising += static_cast<char>(i);
    falling += static_cast<char>(31 - i);
  }
  EXPECT_EQ(crc(rising), 0x46DD794EU);
  EXPECT_EQ(crc(falling), 0x113FDB5CU);
  EXPECT_EQ(crc("123456789"), 0xE3069283U);
  EXPECT_EQ(crc(""), 0U);
}

TEST(Crc32c, OfAnyLengthIsThatOfTheBitwiseOne) {
  std::string text;
  for (int size = 0; size < 100; ++size) {
    EXPECT_EQ(masked_crc32c(bytes_of(text).data(), text.size()), plain_masked_crc(text)) << size;
    text += static_cast<char>(size * 37);
  }
}

TEST(TfRecord, GivesTheRecordsInOrderHoweverTheyArrive) {
  const std::vector<std::string> records = {"one", "", std::string(5000, 'x'), "last"};
  std::string file;
  for (const std::string& record : records) file += record_bytes(record);
  for (const std::size_t part : {1, 7, 100000}) EXPECT_EQ(records_of(file, part), records);
  EXPECT_TRUE(records_of("").empty());
}

TEST(TfRecord, RefusesEveryTruncationNamingTheRecord) {
  const std::string first = record_bytes("first"), file = first + record_bytes("second");
  for (std::size_t size = 0; size <= file.size(); ++size) {
    const std::string why = refusal([&] { records_of(file.substr(0, size)); });
    if (size == 0 || size == first.size() || size == file.size()) {
      EXPECT_EQ(why, "") << size;
      continue;
    }
    EXPECT_THAT(why, HasSubstr("cut short")) << size;
    EXPECT_THAT(why, HasSubstr(size < first.size() ? "shard.tfrecord: record 1 at byte 0 "
                                                   : "shard.tfrecord: record 2 at byte 21 "));
  }
}

TEST(TfRecord, SeesEverySingleChangedBit) {
  const std::string file = record_bytes("some data") + record_bytes("more");
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = file;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      EXPECT_THAT(refusal([&] { records_of(changed); }), HasSubstr("checksum")) << at;
    }
  }
}

TEST(TfRecord, AllocatesNothingForAnInflatedLength) {
  std::string length(8, '\0');
  length[4] = 1;  // 4 GiB
  const auto with_checksum = [](std::string text) {
    const std::uint32_t sum = plain_masked_crc(text);
    for (int i = 0; i < 4; ++i) text += static_cast<char>(sum >> (8 * i));
    return text;
  };
  EXPECT_THAT(refusal([&] { records_of(with_checksum(length)); }), HasSubstr("4294967296 bytes"));
  length[4] = 0;
  length[3] = 0x40;  // 1 GiB in a file of twelve bytes
  EXPECT_THAT(refusal([&] { records_of(with_checksum(length)); }),
              HasSubstr("more than the rest of the file"));
}

TEST(TfRecord, SaysThatAnotherFileIsNone) {
  EXPECT_THAT(
      refusal([&] { records_of("PK\3\4 some archive or other"); }),
      HasSubstr("record 1 at byte 0 has a wrong checksum of its length: this is no TFRecord"));
}

TEST(TfExample, GivesEveryKindOfFeature) {
  const std::string record = example_bytes({{"image", std::string("\0\xFFpixels", 8)},
                                            {"label", std::vector<std::int64_t>{-3, 300, 7}},
                                            {"box", std::vector<float>{0.25F, -1.0F}}});
  const Example example = parse_example(bytes_of(record));
  ASSERT_NE(example.find("image"), nullptr);
  EXPECT_EQ(example.find("image")->bytes.at(0).size(), 8U);
  EXPECT_EQ(example.find("image")->bytes[0][1], 0xFF);
  EXPECT_THAT(example.find("label")->integers, ElementsAre(-3, 300, 7));
  EXPECT_THAT(example.find("box")->reals, ElementsAre(0.25F, -1.0F));
  EXPECT_EQ(example.find("labels"), nullptr);
  EXPECT_EQ(example.contents(), "image (bytes), label (3 integers), box (2 reals)");
}

TEST(TfExample, ReadsListsThatAreNotPacked) {
  const std::string numbers = "\x08" + varint(300) + "\x08" + varint(5);
  const std::string reals = std::string("\x0D\0\0\x80\x3E", 5);  // 0.25
  const std::string record = field(1, field(1, field(1, "n") + field(2, field(3, numbers))) +
                                          field(1, field(1, "r") + field(2, field(2, reals))));
  const Example example = parse_example(bytes_of(record));
  EXPECT_THAT(example.find("n")->integers, ElementsAre(300, 5));
  EXPECT_THAT(example.find("r")->reals, ElementsAre(0.25F));
}

TEST(TfExample, PassesOverFieldsItDoesNotKnowAndTakesTheLastOfAName) {
  const auto entry = [](const std::string& name, int value) {
    return field(1, field(1, name) +
                        field(2, field(3, field(1, varint(static_cast<std::uint64_t>(value))))));
  };
  const std::string unknown = field(9, "?") + "\x50" + varint(12) + "\x59" + std::string(8, 'x') +
                              "\x65" + std::string(4, 'x');
  const std::string record =
      unknown + field(1, entry("a", 1) + unknown + entry("b", 2) + entry("a", 3)) + unknown;
  const Example example = parse_example(bytes_of(record));
  EXPECT_EQ(example.features.size(), 2U);
  EXPECT_THAT(example.find("a")->integers, ElementsAre(3));
}

TEST(TfExample, RefusesEveryTruncationThatIsNoExample) {
  const std::string record =
      example_bytes({{"image", std::string(200, 'x')}, {"label", std::vector<std::int64_t>{1}}});
  for (std::size_t size = 1; size < record.size(); ++size)
    EXPECT_THAT(refusal([&] { parse_example(bytes_of(record.substr(0, size))); }),
                HasSubstr("is no tf.train.Example"))
        << size;
}

TEST(TfExample, SaysWhatIsWrongAndWhere) {
  const auto why = [](const std::string& record) {
    return refusal([&] { parse_example(bytes_of(record)); });
  };
  EXPECT_THAT(why("\x0B"), HasSubstr("field of an unknown type (3) (byte 1 of the record)"));
  EXPECT_THAT(why(std::string("\0\0", 2)), HasSubstr("field without a number"));
  EXPECT_THAT(why("\x08" + std::string(11, '\xFF')), HasSubstr("more than 10 bytes"));
  EXPECT_THAT(why("\x0A\x05"
                  "ab"),
              HasSubstr("beyond its end"));
  EXPECT_THAT(why(field(1, field(1, field(2, field(2, field(1, "12345")))))),
              HasSubstr("ends inside one"));
  std::string many;
  for (int i = 0; i < 4097; ++i) many += field(1, "");
  EXPECT_THAT(why(field(1, many)), HasSubstr("more than 4096 features"));
}

TEST(TfExample, ReadsWhatGooglesLibraryWrote) {
  const char* const root = std::getenv("BROOD_SOURCE_DIR");
  ASSERT_NE(root, nullptr);
  std::ifstream in(std::string(root) + "/tests/golden/tfrecord/protobuf.tfrecord",
                   std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(in), {}};
  const std::vector<std::string> records = records_of(file);
  ASSERT_EQ(records.size(), 3U);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Example example = parse_example(bytes_of(records[i]));
    EXPECT_THAT(example.find("label")->integers, ElementsAre(static_cast<std::int64_t>(i) - 1));
    EXPECT_THAT(example.find("box")->reals, ElementsAre(0.5F, -2.0F));
    ASSERT_EQ(example.find("image_raw")->bytes.size(), 1U);
    EXPECT_EQ(example.find("image_raw")->bytes[0].size(), 12U);
    EXPECT_EQ(example.find("image_raw")->bytes[0][3], 3 * i);
    EXPECT_EQ(example.find("names")->bytes.size(), 2U);
    EXPECT_EQ(example.find("nothing")->kind, Feature::Kind::none);
  }
}

}  // namespace
}  // namespace brood::data
