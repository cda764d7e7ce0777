// Goal: CIFAR's binary files are read exactly, found where they usually lie, and refused with file
// and place when they are cut or damaged. Method: files of a few records made here.
#include <gmock/gmock.h>
#include <zlib.h>

#include "tests/data_files.h"
#include "trainers/data/cifar.h"
#include "trainers/data/cifar_names.h"
#include "trainers/data/dataset.h"

namespace brood::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

// Red, green and blue of each pixel say where it is.
Bytes record(const Bytes& labels) {
  Bytes out = labels;
  for (int c = 0; c < 3; ++c)
    for (int i = 0; i < 1024; ++i)
      out.push_back(static_cast<std::uint8_t>((c * 80 + i + labels.back()) % 256));
  return out;
}

class Cifar : public DataFolder {
 protected:
  void write_cifar10(const std::string& folder) {
    for (int i = 1; i <= 5; ++i)
      write(folder + "/data_batch_" + std::to_string(i) + ".bin",
            record({static_cast<std::uint8_t>(i)}));
    Bytes test = record({0});
    const Bytes more = record({9});
    test.insert(test.end(), more.begin(), more.end());
    write(folder + "/test_batch.bin", test);
  }

  std::shared_ptr<const Dataset> load(const std::string& data_dir) {
    return load_dataset(spec_, {data_dir.empty() ? "" : path(data_dir), path(""), path("cache")});
  }

  DatasetSpec spec_ = [] {
    DatasetSpec spec;
    spec.format = "cifar10";
    return spec;
  }();
};

TEST_F(Cifar, PlanesBecomePixels) {
  write_cifar10("c");
  const auto data = load("c");
  EXPECT_EQ(data->height, 32);
  EXPECT_EQ(data->channels, 3);
  EXPECT_THAT(data->class_names, testing::ElementsAreArray(cifar10_names()));
  EXPECT_THAT(data->train.labels, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(data->test.labels, ElementsAre(0, 9));
  const std::uint8_t* const pixels = data->pixels(data->train, 1);
  EXPECT_THAT(std::vector<int>(pixels, pixels + 6), ElementsAre(2, 82, 162, 3, 83, 163));
  EXPECT_EQ(pixels[3071], (160 + 1023 + 2) % 256);
}

TEST_F(Cifar, IsFoundWhereItUsuallyLies) {
  write_cifar10("data/cifar-10-batches-bin");
  EXPECT_EQ(load("")->train.count, 5) << "beside the config";
  EXPECT_EQ(load("data")->train.count, 5);
  EXPECT_EQ(load("data/cifar-10-batches-bin")->train.count, 5);
}

TEST_F(Cifar, PackedFilesAreReadAlike) {
  write_cifar10("c");
  const Bytes whole = contents(path("c/test_batch.bin"));
  fs::remove(path("c/test_batch.bin"));
  gzFile file = gzopen(path("c/test_batch.bin.gz").c_str(), "wb");
  gzwrite(file, whole.data(), static_cast<unsigned>(whole.size()));
  gzclose(file);
  EXPECT_THAT(load("c")->test.labels, ElementsAre(0, 9));
}

TEST_F(Cifar, NamesOfItsOwnAreUsed) {
  write_cifar10("c");
  const std::string names = "zero\none\r\ntwo\n3\n4\n5\n6\n7\n8\nnine\n\n";
  write("c/batches.meta.txt", {names.begin(), names.end()});
  const auto data = load("c");
  EXPECT_EQ(data->class_names[1], "one");
  EXPECT_EQ(data->class_names[9], "nine");
  write("c/batches.meta.txt", {'x', '\n'});
  expect_refused([&] { load("c"); }, {"batches.meta.txt", "1 class names, expected 10"});
}

TEST_F(Cifar, AHundredClassesAreFineOrCoarse) {
  write("c/train.bin", record({3, 77}));
  write("c/test.bin", record({19, 0}));
  spec_.format = "cifar100";
  EXPECT_THAT(load("c")->train.labels, ElementsAre(77));
  EXPECT_EQ(load("c")->classes, 100);
  spec_.cifar100.coarse = true;
  EXPECT_THAT(load("c")->test.labels, ElementsAre(19));
  EXPECT_EQ(load("c")->class_names[19], "vehicles_2");
  EXPECT_EQ(cifar100_fine_names().size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(cifar100_fine_names()));
}

TEST_F(Cifar, CutAndDamagedFilesAreNamed) {
  write_cifar10("c");
  Bytes cut = record({3});
  cut.resize(3000);
  write("c/data_batch_2.bin", cut);
  expect_refused([&] { load("c"); }, {"data_batch_2.bin", "3000 bytes of record 1"});
  write("c/data_batch_2.bin", record({10}));
  expect_refused([&] { load("c"); }, {"data_batch_2.bin", "record 1 has label 10, above 9"});
  write("c/data_batch_2.bin", {});
  expect_refused([&] { load("c"); }, {"data_batch_2.bin", "is empty"});
  fs::remove(path("c/data_batch_2.bin"));
  expect_refused([&] { load("c"); }, {"c lacks data_batch_2.bin"});
}

TEST_F(Cifar, SaysHowToGetIt) {
  expect_refused([&] { load("none"); }, {"CIFAR-10 was not found in " + path("none"),
                                         "cifar-10-binary.tar.gz", "data_dir"});
  fs::create_directories(path("d/cifar-10-batches-py"));
  expect_refused([&] { load("d"); }, {"cifar-10-batches-py is the version for Python"});
}

}  // namespace
}  // namespace brood::data
