// Which data set a config asks for: the value of its key `dataset`, checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/json.h"

namespace brood::data {

struct SyntheticSpec {
  int classes = 10, size = 12, channels = 1, train = 512, test = 128;
  double noise = 0.3;  // standard deviation of the pixels, which lie in 0..1
  friend bool operator==(const SyntheticSpec&, const SyntheticSpec&) = default;
};

struct Cifar100Spec {
  bool coarse = false;  // the 20 superclasses in place of the 100 classes
  friend bool operator==(const Cifar100Spec&, const Cifar100Spec&) = default;
};

// How a picture becomes one of another shape: its sides are cut, or it is stretched.
enum class Fit : std::uint8_t { crop, squash };

inline constexpr double kTestShare = 0.2;

struct ImageFolderSpec {
  std::string path;           // below data_dir, or beside the config; empty: data_dir itself
  int height = 0, width = 0;  // 0: as all pictures are
  int channels = 3;           // 1 or 3
  Fit fit = Fit::crop;
  std::string test_folder;           // beside train/; empty: found by its name
  std::optional<double> test_share;  // of each class; nullopt: kTestShare, without a test folder
  std::uint64_t seed = 0;            // of the share's draw
  friend bool operator==(const ImageFolderSpec&, const ImageFolderSpec&) = default;
};

struct TfRecordSpec {
  std::vector<std::string> train, test;  // files or patterns, below data_dir or beside the config
  std::optional<double> test_share;      // of each class; nullopt: kTestShare, without test files
  std::uint64_t seed = 0;                // of the share's draw
  std::string image, label, class_name;  // names of features; empty: the usual ones
  enum class Pixels : std::uint8_t { automatic, encoded, raw };
  Pixels pixels = Pixels::automatic;  // what the image's bytes are: as the first one is, JPEG or
                                      // PNG, (height, width, channels) values
  int height = 0, width = 0;          // 0: as all pictures are
  int channels = 0;                   // 1 or 3; 0: 3, but of raw pixels theirs
  Fit fit = Fit::crop;
  friend bool operator==(const TfRecordSpec&, const TfRecordSpec&) = default;
};

// Each format reads its own settings and leaves the others as they are.
struct DatasetSpec {
  std::string format = "fashion_mnist";  // of formats() in trainers/data/source.h
  SyntheticSpec synthetic;
  Cifar100Spec cifar100;
  ImageFolderSpec image_folder;
  TfRecordSpec tfrecord;
  friend bool operator==(const DatasetSpec&, const DatasetSpec&) = default;
};

// "fashion_mnist", or {"synthetic": {"classes": 4}}. Appends what is wrong.
DatasetSpec read_dataset(const Json& json, const std::string& pointer,
                         std::vector<Problem>& problems);

}  // namespace brood::data
