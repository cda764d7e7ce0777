// Goal: a data set in TFRecord files has the images, labels and parts that its records say, and a
// bad record is named. Method: small shards written here, plain and compressed, of pixels and of
// PNG, with the feature names of TensorFlow's scripts and of others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "engine/json.h"
#include "engine/json_library.h"
#include "tfrecord_writer.h"
#include "trainers/data/dataset.h"
#include "trainers/data/source.h"

namespace brood::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

using Numbers = std::vector<std::int64_t>;

// Pixels of a 2x3 grey image: n, n + 1, ...
std::string pixels(int n) {
  std::string out;
  for (int i = 0; i < 6; ++i) out += static_cast<char>(n + i);
  return out;
}

std::string raw_record(int n, std::int64_t label) {
  return record_bytes(example_bytes({{"image_raw", pixels(n)},
                                     {"label", Numbers{label}},
                                     {"height", Numbers{2}},
                                     {"width", Numbers{3}},
                                     {"depth", Numbers{1}}}));
}

std::string png_of(const std::string& grey, int height, int width) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.height = static_cast<unsigned>(height);
  image.width = static_cast<unsigned>(width);
  image.format = PNG_FORMAT_GRAY;
  png_alloc_size_t size = 0;
  png_image_write_to_memory(&image, nullptr, &size, 0, grey.data(), 0, nullptr);
  std::string out(size, '\0');
  png_image_write_to_memory(&image, out.data(), &size, 0, grey.data(), 0, nullptr);
  out.resize(size);
  return out;
}

class TfRecordSource : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("brood_tfrecord_" + std::to_string(::getpid()) + "_" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  void write_packed(const std::string& name, const std::string& bytes) {
    gzFile file = gzopen((folder_ / name).c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
  }

  // Two training shards of two records, a test shard of one.
  void write_raw() {
    write("train-0", raw_record(10, 0) + raw_record(20, 1));
    write("train-1", raw_record(30, 1) + raw_record(40, 0));
    write("test-0", raw_record(50, 1));
  }

  std::shared_ptr<const Dataset> load(const std::string& settings) {
    std::vector<Problem> problems;
    const DatasetSpec spec =
        read_dataset(parse_json("{\"tfrecord\": " + settings + "}"), "/dataset", problems);
    EXPECT_TRUE(problems.empty()) << problems.front().pointer << " " << problems.front().message;
    return load_dataset(spec, Places{folder_.string(), "", (folder_ / "cache").string()});
  }

  std::string refusal(const std::string& settings) {
    try {
      load(settings);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }

  static std::vector<int> firsts(const Dataset& set, const Images& images) {
    std::vector<int> out;
    for (std::int64_t i = 0; i < images.count; ++i) out.push_back(set.pixels(images, i)[0]);
    return out;
  }

  fs::path folder_;
  const std::string both_ = R"({"train": "train-*", "test": "test-*"})";
};

TEST_F(TfRecordSource, ReadsPixelsOfAllShardsInTheirOrder) {
  write_raw();
  const auto set = load(both_);
  EXPECT_EQ(set->height, 2);
  EXPECT_EQ(set->width, 3);
  EXPECT_EQ(set->channels, 1);
  EXPECT_EQ(set->class_names, (std::vector<std::string>{"0", "1"}));
  EXPECT_THAT(firsts(*set, set->train), ElementsAre(10, 20, 30, 40));
  EXPECT_THAT(set->train.labels, ElementsAre(0, 1, 1, 0));
  EXPECT_THAT(firsts(*set, set->test), ElementsAre(50));
  EXPECT_EQ(set->pixels(set->test, 0)[5], 55);
  const auto listed = load(R"({"train": ["train-1", "train-0"], "test": "test-0"})");
  EXPECT_THAT(firsts(*listed, listed->train), ElementsAre(30, 40, 10, 20));
}

TEST_F(TfRecordSource, ReadsPicturesWithTheClassNamesOfTheirRecords) {
  const auto record = [](int n, std::int64_t label, const std::string& name) {
    return record_bytes(example_bytes({{"image/encoded", png_of(pixels(n), 2, 3)},
                                       {"image/class/label", Numbers{label}},
                                       {"image/class/text", name}}));
  };
  // Labels from 1, as ImageNet's; the class between has no record.
  write("train-0", record(10, 1, "ant") + record(20, 3, "cow") + record(30, 3, "cow"));
  write("test-0", record(40, 1, "ant"));
  const auto set = load(both_);
  EXPECT_EQ(set->channels, 3) << "grey pictures become coloured ones";
  EXPECT_THAT(set->class_names, ElementsAre("ant", "2", "cow"));
  EXPECT_THAT(set->train.labels, ElementsAre(0, 2, 2));
  EXPECT_THAT(firsts(*set, set->train), ElementsAre(10, 20, 30));
  const auto grey =
      load(R"({"train": "train-*", "test": "test-*", "channels": 1, "size": [4, 6]})");
  EXPECT_EQ(grey->channels, 1);
  EXPECT_EQ(grey->height, 4);
  EXPECT_EQ(grey->width, 6);
}

TEST_F(TfRecordSource, TakesNamesAsLabelsAndFeaturesOfAnyName) {
  const auto record = [](int n, const std::string& name) {
    return record_bytes(example_bytes({{"x", pixels(n)}, {"kind", name}}));
  };
  write("train-0", record(10, "zebra") + record(20, "ape") + record(30, "zebra"));
  write("test-0", record(40, "ape"));
  const auto set = load(R"({"train": "train-*", "test": "test-*", "image": "x", "label": "kind",
                            "size": [2, 3]})");
  EXPECT_THAT(set->class_names, ElementsAre("ape", "zebra"));
  EXPECT_THAT(set->train.labels, ElementsAre(1, 0, 1));
  EXPECT_EQ(set->channels, 1) << "of the bytes and the size";
  EXPECT_THAT(refusal(both_),
              HasSubstr("say in \"image\" which it is, of x (bytes), kind (bytes)"));
}

TEST_F(TfRecordSource, ReadsShardsThatAreCompressedWhateverTheyAreCalled) {
  write_raw();
  write_packed("train-1", raw_record(30, 1) + raw_record(40, 0));
  EXPECT_THAT(load(both_)->train.labels, ElementsAre(0, 1, 1, 0));
}

TEST_F(TfRecordSource, IsNotMisledByALengthThatLooksCompressed) {
  // A first record of 0x8B1F bytes begins as a gzip file does.
  FeatureList features = {{"image_raw", pixels(10)},
                          {"label", Numbers{0}},
                          {"height", Numbers{2}},
                          {"width", Numbers{3}},
                          {"padding", std::string(1, 'x')}};
  std::size_t size = 0;
  for (std::size_t padding = 35000; size != 0x8B1F; ++padding) {
    features.back().second = std::string(padding, 'x');
    size = example_bytes(features).size();
    ASSERT_LE(size, 0x8B1FU);
  }
  write("train-0", record_bytes(example_bytes(features)) + raw_record(20, 1));
  write("test-0", raw_record(30, 1));
  EXPECT_THAT(load(both_)->train.labels, ElementsAre(0, 1));
}

TEST_F(TfRecordSource, SetsAShareOfEachClassApartWhereThereAreNoTestFiles) {
  std::string records;
  for (int i = 0; i < 30; ++i) records += raw_record(i, i % 3 == 0 ? 1 : 0);
  write("all", records);
  const auto set = load(R"({"train": "all", "test": 0.3, "seed": 5})");
  EXPECT_EQ(set->train.count, 21);
  EXPECT_EQ(std::count(set->test.labels.begin(), set->test.labels.end(), 1), 3);
  auto values = firsts(*set, set->train);
  for (const int value : firsts(*set, set->test)) values.push_back(value);
  std::sort(values.begin(), values.end());
  for (int i = 0; i < 30; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(load(R"({"train": "all"})")->test.count, 6) << "a fifth, unless said";
}

TEST_F(TfRecordSource, NamesTheRecordThatIsWrong) {
  write_raw();
  const std::string good = raw_record(10, 0) + raw_record(20, 1);
  const auto with = [&](const std::string& record) {
    write("train-1", good + record);
    return refusal(both_);
  };
  const std::string place =
      (folder_ / "train-1").string() + ": record 3 at byte " + std::to_string(good.size());
  std::string damaged = raw_record(30, 1);
  damaged[40] = static_cast<char>(damaged[40] ^ 1);
  EXPECT_THAT(with(damaged), HasSubstr(place + " has a wrong checksum of its data"));
  EXPECT_THAT(with(record_bytes("nonsense")), HasSubstr(place + ": is no tf.train.Example"));
  EXPECT_THAT(with(raw_record(30, -1)), HasSubstr(place + ": has label -1"));
  EXPECT_THAT(with(record_bytes(example_bytes({{"image_raw", pixels(1)}}))),
              HasSubstr(place + ": has no feature \"label\""));
  const auto image = [](const std::string& bytes) {
    return record_bytes(example_bytes({{"image_raw", bytes},
                                       {"label", Numbers{1}},
                                       {"height", Numbers{2}},
                                       {"width", Numbers{3}},
                                       {"depth", Numbers{1}}}));
  };
  EXPECT_THAT(with(image("short")), HasSubstr(place + ": \"image_raw\" has 5 bytes"));
  EXPECT_THAT(with(image(std::string(24, 'x'))), HasSubstr("write them as uint8"));
}

TEST_F(TfRecordSource, NamesThePictureThatIsDamaged) {
  const auto record = [](const std::string& picture, std::int64_t label) {
    return record_bytes(
        example_bytes({{"image/encoded", picture}, {"image/class/label", Numbers{label}}}));
  };
  const std::string whole = png_of(pixels(1), 2, 3);
  write("all", record(whole, 0) + record(whole.substr(0, whole.size() - 20), 1) + record(whole, 1));
  EXPECT_THAT(refusal(R"({"train": "all"})"), HasSubstr("record 2 at byte "));
  EXPECT_THAT(refusal(R"({"train": "all"})"), HasSubstr("\"image/encoded\""));
  write("all", record(whole, 0) + record(png_of(pixels(1), 3, 2), 1));
  EXPECT_THAT(refusal(R"({"train": "all"})"), HasSubstr("set \"size\""));
}

TEST_F(TfRecordSource, RefusesFilesThatAreNotThereOrInBothParts) {
  write_raw();
  EXPECT_THAT(refusal(R"({"train": "trian-*"})"), HasSubstr("trian-*: matches no file"));
  EXPECT_THAT(refusal(R"({"train": "*-0", "test": "test-0"})"), HasSubstr("among both"));
  EXPECT_THAT(refusal(R"({"train": ["train-0", "train-*"]})"), HasSubstr("named twice"));
  write("test-0", raw_record(50, 7));
  EXPECT_THAT(refusal(both_), HasSubstr("the test records have label 7"));
}

TEST(TfRecordSettings, AreChecked) {
  const auto problem = [](const std::string& settings) {
    std::vector<Problem> problems;
    read_dataset(parse_json("{\"tfrecord\": " + settings + "}"), "/dataset", problems);
    return problems.empty() ? "" : problems.front().pointer + " " + problems.front().message;
  };
  EXPECT_EQ(problem(R"({"train": "a"})"), "");
  EXPECT_THAT(problem("{}"), HasSubstr("/dataset/tfrecord"));
  EXPECT_THAT(problem(R"({"train": []})"), HasSubstr("/train must be a file"));
  EXPECT_THAT(problem(R"({"train": "a", "test": 1.5})"), HasSubstr("/test must be files"));
  EXPECT_THAT(problem(R"({"train": "a", "channels": 2})"), HasSubstr("/channels"));
  EXPECT_THAT(problem(R"({"train": "a", "fit": "squash"})"), HasSubstr("/fit has no effect"));
  EXPECT_THAT(problem(R"({"train": "a", "pixels": "png"})"), HasSubstr("/pixels"));
}

}  // namespace
}  // namespace brood::data
