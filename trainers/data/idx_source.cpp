#include "trainers/data/idx_source.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "engine/error.h"
#include "trainers/data/idx.h"
#include "trainers/data/places.h"

namespace brood::data {

namespace {

namespace fs = std::filesystem;

constexpr int kSideMax = 4096;
constexpr int kFiles = 4;

// Images and labels to train with, then to test with. The second way is that of some copies.
using Names = std::array<const char*, kFiles>;
const Names kDashed = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                       "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
const Names kDotted = {"train-images.idx3-ubyte", "train-labels.idx1-ubyte",
                       "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"};

// The four files, plain or compressed, all of one folder; empty where one is missing.
using Files = std::array<std::string, kFiles>;

const std::vector<std::string> kClothes = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                           "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                           "Bag",         "Ankle boot"};

Known known_of(const std::string& format) {
  if (format == "fashion_mnist")
    return {"Fashion-MNIST",
            {"fashion-mnist", "FashionMNIST/raw"},
            {"/usr/share/datasets/fashion-mnist"},
            "install the package dataset-fashion-mnist (apt install dataset-fashion-mnist), or get "
            "its four files from https://github.com/zalandoresearch/fashion-mnist"};
  if (format == "mnist")
    return {"MNIST",
            {"mnist", "MNIST/raw"},
            {"/usr/share/datasets/mnist"},
            "get its four files (for f in train-images-idx3 train-labels-idx1 t10k-images-idx3 "
            "t10k-labels-idx1; do curl -LO "
            "https://storage.googleapis.com/cvdf-datasets/mnist/$f-ubyte.gz; done)"};
  return {"the IDX data set", {}, {}, "check that the four files of MNIST are there"};
}

Files look_in(const std::string& folder) {
  Files files;
  for (const Names& names : {kDashed, kDotted})
    for (std::size_t i = 0; i < files.size(); ++i)
      if (files[i].empty()) files[i] = plain_or_packed((fs::path(folder) / names[i]).string());
  return files;
}

Files find_files(const std::string& format, const Places& places) {
  if (format == "idx" && places.data_dir.empty())
    throw UserError("dataset \"idx\": needs \"data_dir\", the folder with " +
                    std::string(kDashed[0]) + " and its three companions (plain or .gz)");
  const Known known = known_of(format);
  const std::vector<std::string> folders = folders_of(known, places);
  std::string partial;
  for (const std::string& folder : folders) {
    const Files files = look_in(folder);
    const auto missing = std::find(files.begin(), files.end(), "");
    if (missing == files.end()) return files;
    if (std::any_of(files.begin(), files.end(), [](const auto& f) { return !f.empty(); }))
      partial = folder + " lacks " + kDashed[static_cast<std::size_t>(missing - files.begin())] +
                " (plain or .gz)";
  }
  not_found(known, folders, partial);
}

struct Labels {
  std::vector<std::uint8_t> train, test;
  int classes = 0;
  int first = 0;  // what the files call class 0
};

// Labels are checked together: they may start at 1, and no class may be only in the test part.
void number_classes(Labels& labels, const Files& files) {
  const auto [least_train, most] = std::minmax_element(labels.train.begin(), labels.train.end());
  const auto [least_test, most_test] = std::minmax_element(labels.test.begin(), labels.test.end());
  if (*most_test > *most)
    throw UserError(files[3] + ": has label " + std::to_string(*most_test) + ", but " + files[1] +
                    " goes only up to " + std::to_string(*most) +
                    "; the files do not belong together");
  labels.first = std::min(*least_train, *least_test) == 1 ? 1 : 0;
  labels.classes = *most + 1 - labels.first;
  if (labels.classes < 2)
    throw UserError(files[1] + ": all labels are equal; there is nothing to learn");
}

Labels read_labels(const Files& files, const Contents& contents) {
  Labels out;
  out.train = read_idx(files[1], 1).values;
  out.test = read_idx(files[3], 1).values;
  const auto compare = [&](const std::vector<std::uint8_t>& labels, std::int64_t images,
                           std::size_t file) {
    if (static_cast<std::int64_t>(labels.size()) != images)
      throw UserError(files[file] + ": has " + std::to_string(labels.size()) + " labels, but " +
                      files[file - 1] + " has " + std::to_string(images) +
                      " images; the files do not belong together");
  };
  compare(out.train, contents.train, 1);
  compare(out.test, contents.test, 3);
  number_classes(out, files);
  return out;
}

std::string size_of(const std::vector<std::int64_t>& sizes) {
  return std::to_string(sizes[1]) + "x" + std::to_string(sizes[2]);
}

class IdxSource final : public Source {
 public:
  IdxSource(std::string format, Files files)
      : format_(std::move(format)), files_(std::move(files)) {}

  std::vector<std::string> files() const override { return {files_.begin(), files_.end()}; }
  std::string options() const override { return format_ + " 1"; }

  Contents contents() override {
    const auto train = read_idx_sizes(files_[0], 3), test = read_idx_sizes(files_[2], 3);
    if (train[1] != test[1] || train[2] != test[2])
      throw UserError(files_[2] + ": has images of " + size_of(test) + ", but " + files_[0] +
                      " has images of " + size_of(train) + "; the files do not belong together");
    if (train[1] > kSideMax || train[2] > kSideMax)
      throw UserError(files_[0] + ": has images of " + size_of(train) + "; at most " +
                      std::to_string(kSideMax) + " pixels a side are supported");
    Contents out{
        static_cast<int>(train[1]), static_cast<int>(train[2]), 1, {}, train[0], test[0], false};
    const Labels labels = read_labels(files_, out);
    for (int i = 0; i < labels.classes; ++i)
      out.class_names.push_back(std::to_string(i + labels.first));
    if (format_ == "fashion_mnist" && out.classes() == static_cast<int>(kClothes.size()))
      out.class_names = kClothes;
    return out;
  }

  void read(Sink& sink) override {
    const Labels labels = read_labels(files_, contents());
    const auto put = [&](Part part, std::size_t file, const std::vector<std::uint8_t>& bytes) {
      std::vector<std::uint16_t> shifted;
      for (const std::uint8_t label : bytes)
        shifted.push_back(static_cast<std::uint16_t>(label - labels.first));
      sink.put(part, 0, read_idx(files_[file], 3).values, shifted);
    };
    put(Part::train, 0, labels.train);
    put(Part::test, 2, labels.test);
  }

 private:
  const std::string format_;
  const Files files_;
};

}  // namespace

std::unique_ptr<Source> open_idx_source(const DatasetSpec& spec, const Places& places) {
  return std::make_unique<IdxSource>(spec.format, find_files(spec.format, places));
}

}  // namespace brood::data
