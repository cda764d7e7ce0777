// Which data set a config asks for: the value of its key `dataset`, checked.
#pragma once

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

// Each format reads its own settings and leaves the others as they are.
struct DatasetSpec {
  std::string format = "fashion_mnist";  // of formats() in trainers/data/source.h
  SyntheticSpec synthetic;
  Cifar100Spec cifar100;
  friend bool operator==(const DatasetSpec&, const DatasetSpec&) = default;
};

// "fashion_mnist", or {"synthetic": {"classes": 4}}. Appends what is wrong.
DatasetSpec read_dataset(const Json& json, const std::string& pointer,
                         std::vector<Problem>& problems);

}  // namespace brood::data
