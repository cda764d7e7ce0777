// Goal: data files are read exactly or refused with file, value and remedy; the split depends on
// the experiment alone. Method: small files written here, damaged one way at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "trainers/cnn/dataset.h"
#include "trainers/data/idx.h"
#include "trainers/data/synthetic.h"

namespace brood::cnn {
namespace {

namespace fs = std::filesystem;
using data::IdxArray;
using data::read_idx;
using testing::ElementsAre;
using testing::HasSubstr;

using Bytes = std::vector<std::uint8_t>;

Bytes idx(const std::vector<std::uint32_t>& sizes, const Bytes& values) {
  Bytes out = {0, 0, 8, static_cast<std::uint8_t>(sizes.size())};
  for (const std::uint32_t size : sizes)
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(size >> shift));
  out.insert(out.end(), values.begin(), values.end());
  return out;
}

class CnnData : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("brood_cnn_data_" + std::to_string(::getpid()) + "_" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const Bytes& bytes) {
    const std::string path = (folder_ / name).string();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  std::string write_packed(const std::string& name, const Bytes& bytes) {
    const std::string path = (folder_ / name).string();
    gzFile file = gzopen(path.c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
    return path;
  }

  // Four 2x3 images for training, two for testing.
  void write_set(const Bytes& train_labels = {0, 1, 2, 1}, const Bytes& test_labels = {2, 0}) {
    Bytes train(24), test(12);
    for (std::size_t i = 0; i < train.size(); ++i) train[i] = static_cast<std::uint8_t>(i);
    write("train-images-idx3-ubyte", idx({4, 2, 3}, train));
    write("train-labels-idx1-ubyte",
          idx({static_cast<std::uint32_t>(train_labels.size())}, train_labels));
    write("t10k-images-idx3-ubyte", idx({2, 2, 3}, test));
    write("t10k-labels-idx1-ubyte",
          idx({static_cast<std::uint32_t>(test_labels.size())}, test_labels));
  }

  fs::path folder_;
  const data::DatasetSpec spec_ = [] {
    data::DatasetSpec spec;
    spec.format = "idx";
    return spec;
  }();
};

template <class Call>
void expect_refused(Call call, const std::vector<std::string>& parts) {
  try {
    call();
    FAIL() << "expected " << parts.front();
  } catch (const UserError& error) {
    for (const std::string& part : parts) EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST_F(CnnData, ReadsPlainAndPackedFilesAlike) {
  const Bytes file = idx({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 255});
  const IdxArray plain = read_idx(write("a", file), 3);
  const IdxArray packed = read_idx(write_packed("a.gz", file), 3);
  EXPECT_EQ(plain.values, packed.values);
  EXPECT_EQ(plain.values.back(), 255);
  EXPECT_EQ(plain.sizes, (std::vector<std::int64_t>{2, 2, 2}));
}

TEST_F(CnnData, RefusesEveryTruncationOfAFile) {
  const Bytes file = idx({2, 2}, {1, 2, 3, 4});
  for (std::size_t size = 0; size < file.size(); ++size) {
    const std::string path =
        write("cut", Bytes(file.begin(), file.begin() + static_cast<long>(size)));
    expect_refused([&] { read_idx(path, 2); }, {path, size < 12 ? "header" : "cut short"});
  }
}

TEST_F(CnnData, RefusesEveryTruncationOfAPackedFile) {
  const std::string path = write_packed("whole.gz", idx({2, 2}, {1, 2, 3, 4}));
  std::ifstream in(path, std::ios::binary);
  const Bytes packed{std::istreambuf_iterator<char>(in), {}};
  for (std::size_t size = 0; size < packed.size(); ++size) {
    const std::string cut =
        write("cut.gz", Bytes(packed.begin(), packed.begin() + static_cast<long>(size)));
    expect_refused([&] { read_idx(cut, 2); }, {cut});
  }
}

TEST_F(CnnData, RefusesADamagedPackedFile) {
  Bytes values(5000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint8_t>(i * i);
  const std::string path = write_packed("good.gz", idx({5000}, values));
  std::ifstream in(path, std::ios::binary);
  Bytes packed{std::istreambuf_iterator<char>(in), {}};
  packed[packed.size() - 6] ^= 1;  // the checksum
  expect_refused([&] { read_idx(write("bad.gz", packed), 1); }, {"bad.gz", "damaged"});
}

TEST_F(CnnData, RefusesOtherFiles) {
  expect_refused(
      [&] {
        read_idx(write("a", {'P', 'K', 3, 4, 0, 0, 0, 0}), 1);
      },
      {"0x504b0304", "expected 0x00000801"});
  expect_refused([&] { read_idx(write("b", idx({1}, {1, 2})), 1); }, {"longer than the 1 values"});
  expect_refused([&] { read_idx(write("c", idx({0}, {})), 1); }, {"dimension 1 is 0"});
  expect_refused([&] { read_idx((folder_ / "none").string(), 1); }, {"none", "cannot be read"});
  expect_refused([&] { read_idx(folder_.string(), 1); }, {"is a folder"});
}

TEST_F(CnnData, AllocatesNothingForAnInflatedHeader) {
  // 4 billion images of 4 billion pixels; then 3 GB in a file of 16 bytes.
  expect_refused(
      [&] {
        read_idx(write("a", idx({0xffffffff, 0xffffffff, 2}, {})), 3);
      },
      {"16 GiB"});
  expect_refused([&] { read_idx(write("b", idx({50000, 250, 250}, {})), 3); }, {"cut short"});
}

TEST_F(CnnData, LoadsAFolderOfFourFiles) {
  write_set();
  const auto data = load_dataset(spec_, folder_.string());
  EXPECT_EQ(data->classes, 3);
  EXPECT_EQ(data->height, 2);
  EXPECT_EQ(data->width, 3);
  EXPECT_EQ(data->train.count, 4);
  EXPECT_EQ(data->pixels(data->train, 3)[0], 18);
  EXPECT_EQ(data::dataset_contents(spec_, {folder_.string(), "", ""}).classes(), 3);
  data::Library library({folder_.string(), "", ""});
  EXPECT_EQ(library.load(spec_), library.load(spec_)) << "opened once";
}

TEST_F(CnnData, TakesLabelsThatStartAtOne) {
  write_set({1, 2, 3, 2}, {3, 1});
  const auto data = load_dataset(spec_, folder_.string());
  EXPECT_EQ(data->classes, 3);
  EXPECT_THAT(data->train.labels, ElementsAre(0, 1, 2, 1));
  EXPECT_THAT(data->class_names, ElementsAre("1", "2", "3"));
}

TEST_F(CnnData, RefusesFilesThatDoNotBelongTogether) {
  write_set({0, 1, 2}, {2, 0});
  expect_refused([&] { load_dataset(spec_, folder_.string()); }, {"has 3 labels", "has 4 images"});
  write_set({0, 1, 1, 1}, {2, 0});
  expect_refused([&] { load_dataset(spec_, folder_.string()); }, {"has label 2", "only up to 1"});
  write_set();
  write("t10k-images-idx3-ubyte", idx({2, 3, 3}, Bytes(18)));
  expect_refused([&] { load_dataset(spec_, folder_.string()); }, {"images of 3x3", "2x3"});
}

TEST_F(CnnData, SaysWhatIsMissingAndHowToGetIt) {
  expect_refused([&] { load_dataset(spec_, folder_.string()); }, {folder_.string(), "data_dir"});
  expect_refused([&] { load_dataset(spec_, ""); }, {"data_dir"});
  write_set();
  fs::remove(folder_ / "t10k-labels-idx1-ubyte");
  expect_refused([&] { load_dataset(spec_, folder_.string()); }, {"lacks t10k-labels-idx1-ubyte"});
}

TEST(CnnSplit, DependsOnTheExperimentAlone) {
  NetworkSpec spec;
  spec.validation_fraction = 0.2;
  const DataShape files = {1, 1, 1, 2, 100, 0, 10};
  const Split one = make_split(spec, files, 7), again = make_split(spec, files, 7);
  EXPECT_EQ(one.validation, again.validation);
  EXPECT_EQ(one.validation.size(), 20U);
  EXPECT_EQ(one.train.size(), 80U);
  EXPECT_NE(make_split(spec, files, 8).validation, one.validation);
  std::set<std::uint32_t> all(one.train.begin(), one.train.end());
  all.insert(one.validation.begin(), one.validation.end());
  EXPECT_EQ(all.size(), 100U) << "nothing is in both parts, nothing is lost";
}

TEST(CnnSplit, AppliesLimitsBeforeTheSplit) {
  NetworkSpec spec;
  spec.limit_train = 50;
  spec.limit_test = 5;
  spec.validation_fraction = 0.1;
  const DataShape files = {1, 1, 1, 2, 100, 0, 10};
  const Split split = make_split(spec, files, 7);
  EXPECT_EQ(split.train.size(), 45U);
  EXPECT_EQ(split.validation.size(), 5U);
  EXPECT_EQ(split.test.size(), 5U);
  spec.validation_count = 50;
  expect_refused([&] { make_split(spec, files, 7); }, {"leaves none"});
  spec.validation_count = 0;
  spec.validation_fraction = 0.01;
  expect_refused([&] { make_split(spec, files, 7); }, {"50 training samples", "less than one"});
  spec.validation_fraction = 0.0;
  EXPECT_TRUE(make_split(spec, files, 7).validation.empty());
}

TEST(CnnSynthetic, IsTheSameEveryTime) {
  const data::SyntheticSpec spec{4, 8, 3, 20, 8, 0.2};
  const Dataset a = data::make_synthetic(spec), b = data::make_synthetic(spec);
  EXPECT_TRUE(std::ranges::equal(a.train.pixels, b.train.pixels));
  EXPECT_EQ(a.train.pixels.size(), 20U * 8 * 8 * 3);
  EXPECT_EQ(std::ranges::max(a.test.labels), 3);
}

}  // namespace
}  // namespace brood::cnn
