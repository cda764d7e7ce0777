#include "trainers/cnn/dataset.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <mutex>
#include <numeric>

#include "engine/error.h"
#include "engine/params.h"
#include "trainers/cnn/idx.h"

namespace brood::cnn {

namespace {

namespace fs = std::filesystem;

const char* const kFashionMnistPlace = "/usr/share/datasets/fashion-mnist";
const std::array<const char*, 4> kNames = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                           "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

// The four files, plain or compressed, all of one folder.
using Files = std::array<std::string, 4>;

// An empty string for the first file that is missing.
Files look_in(const std::string& folder) {
  Files files;
  for (std::size_t i = 0; i < kNames.size(); ++i)
    for (const char* ending : {"", ".gz"}) {
      const std::string path = (fs::path(folder) / kNames[i]).string() + ending;
      std::error_code error;
      if (files[i].empty() && fs::exists(path, error)) files[i] = path;
    }
  return files;
}

Files find_files(const DatasetSpec& spec, const std::string& data_dir) {
  const bool fashion = spec.kind == DatasetSpec::Kind::fashion_mnist;
  std::vector<std::string> folders;
  if (!data_dir.empty()) {
    folders.push_back(data_dir);
    if (fashion) folders.push_back((fs::path(data_dir) / "fashion-mnist").string());
  }
  if (fashion && data_dir.empty()) folders.push_back(kFashionMnistPlace);
  if (folders.empty())
    throw UserError("dataset \"idx\": needs \"data_dir\", the folder with " +
                    std::string(kNames[0]) + " and its three companions (plain or .gz)");
  std::string looked, partial;
  for (const std::string& folder : folders) {
    const Files files = look_in(folder);
    const auto missing = std::find(files.begin(), files.end(), "");
    if (missing == files.end()) return files;
    if (std::any_of(files.begin(), files.end(), [](const auto& f) { return !f.empty(); }))
      partial = folder + " lacks " + kNames[static_cast<std::size_t>(missing - files.begin())] +
                " (plain or .gz)";
    looked += (looked.empty() ? "" : ", ") + folder;
  }
  throw UserError((fashion ? std::string("Fashion-MNIST") : std::string("the IDX data set")) +
                  (partial.empty() ? " was not found in " + looked : ": " + partial) + "; " +
                  (fashion ? "install the package dataset-fashion-mnist (apt install "
                             "dataset-fashion-mnist), or set \"data_dir\" to a folder with its "
                             "four files"
                           : "set \"data_dir\" to the folder with the four files of MNIST"));
}

// Labels are checked together: they may start at 1, and no class may be only in the test part.
int classes_of(std::vector<std::uint8_t>& train, std::vector<std::uint8_t>& test,
               const Files& files) {
  std::uint8_t least = 255, most = 0, most_test = 0;
  for (const std::uint8_t label : train) {
    least = std::min(least, label);
    most = std::max(most, label);
  }
  for (const std::uint8_t label : test) {
    least = std::min(least, label);
    most_test = std::max(most_test, label);
  }
  if (most_test > most)
    throw UserError(files[3] + ": has label " + std::to_string(most_test) + ", but " + files[1] +
                    " goes only up to " + std::to_string(most) +
                    "; the files do not belong together");
  if (least == 1) {
    for (auto* part : {&train, &test})
      for (std::uint8_t& label : *part) --label;
    --most;
  }
  if (most == 0) throw UserError(files[1] + ": all labels are equal; there is nothing to learn");
  return most + 1;
}

struct Labels {
  std::vector<std::uint8_t> train, test;
  int classes = 0;
};

Labels read_labels(const Files& files, std::int64_t train_images, std::int64_t test_images) {
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
  compare(out.train, train_images, 1);
  compare(out.test, test_images, 3);
  out.classes = classes_of(out.train, out.test, files);
  return out;
}

void compare_sizes(const Files& files, const std::vector<std::int64_t>& train,
                   const std::vector<std::int64_t>& test) {
  const auto text = [](const std::vector<std::int64_t>& s) {
    return std::to_string(s[1]) + "x" + std::to_string(s[2]);
  };
  if (train[1] != test[1] || train[2] != test[2])
    throw UserError(files[2] + ": has images of " + text(test) + ", but " + files[0] +
                    " has images of " + text(train) + "; the files do not belong together");
  if (train[1] > 4096 || train[2] > 4096)
    throw UserError(files[0] + ": has images of " + text(train) +
                    "; at most 4096 pixels a side are supported");
}

DataShape files_shape(const Files& files) {
  const auto train = read_idx_sizes(files[0], 3), test = read_idx_sizes(files[2], 3);
  compare_sizes(files, train, test);
  const Labels labels = read_labels(files, train[0], test[0]);
  return {static_cast<int>(train[1]),
          static_cast<int>(train[2]),
          1,
          labels.classes,
          train[0],
          0,
          test[0]};
}

Dataset read_files(const Files& files) {
  IdxArray train = read_idx(files[0], 3), test = read_idx(files[2], 3);
  compare_sizes(files, train.sizes, test.sizes);
  const Labels labels = read_labels(files, train.sizes[0], test.sizes[0]);
  Dataset out;
  out.height = static_cast<int>(train.sizes[1]);
  out.width = static_cast<int>(train.sizes[2]);
  out.channels = 1;
  out.classes = labels.classes;
  out.train = {train.sizes[0], std::move(train.values), {labels.train.begin(), labels.train.end()}};
  out.test = {test.sizes[0], std::move(test.values), {labels.test.begin(), labels.test.end()}};
  return out;
}

// What a data set is cached by: its files with sizes and times, so that a replaced file is read
// again; the settings of a synthetic one.
std::string key_of(const DatasetSpec& spec, const std::string& data_dir) {
  std::string key;
  if (spec.kind == DatasetSpec::Kind::synthetic) {
    const SyntheticSpec& s = spec.synthetic;
    for (const int number : {s.classes, s.size, s.channels, s.train, s.test})
      key += std::to_string(number) + " ";
    return key + to_text(Value(s.noise));
  }
  for (const std::string& path : find_files(spec, data_dir)) {
    std::error_code error;
    key += path + " " + std::to_string(fs::file_size(path, error)) + " " +
           std::to_string(fs::last_write_time(path, error).time_since_epoch().count()) + "\n";
  }
  return key;
}

template <class T, class Make>
T cached(const std::string& key, Make make) {
  static std::mutex mutex;
  static std::map<std::string, T> cache;  // guarded by mutex
  const std::scoped_lock lock(mutex);
  auto found = cache.find(key);
  if (found == cache.end()) found = cache.emplace(key, make()).first;
  return found->second;
}

}  // namespace

std::uint64_t Dataset::bytes() const {
  return train.pixels.size() + test.pixels.size() + 2 * (train.labels.size() + test.labels.size());
}

std::shared_ptr<const Dataset> load_dataset(const DatasetSpec& spec, const std::string& data_dir) {
  return cached<std::shared_ptr<const Dataset>>(key_of(spec, data_dir), [&] {
    return std::make_shared<const Dataset>(spec.kind == DatasetSpec::Kind::synthetic
                                               ? make_synthetic(spec.synthetic)
                                               : read_files(find_files(spec, data_dir)));
  });
}

DataShape dataset_shape(const DatasetSpec& spec, const std::string& data_dir) {
  if (spec.kind == DatasetSpec::Kind::synthetic) {
    const SyntheticSpec& s = spec.synthetic;
    return {s.size, s.size, s.channels, s.classes, s.train, 0, s.test};
  }
  return cached<DataShape>(key_of(spec, data_dir),
                           [&] { return files_shape(find_files(spec, data_dir)); });
}

DataShape divided(const NetworkSpec& spec, DataShape shape) {
  const std::int64_t all =
      spec.limit_train > 0 ? std::min(spec.limit_train, shape.train) : shape.train;
  shape.validation = spec.validation_count > 0
                         ? spec.validation_count
                         : static_cast<std::int64_t>(
                               std::floor(spec.validation_fraction * static_cast<double>(all)));
  shape.train = all - shape.validation;
  if (shape.train < 1)
    throw UserError("validation takes " + std::to_string(shape.validation) + " of the " +
                    std::to_string(all) +
                    " training samples and leaves none; use a smaller \"validation\" or a larger "
                    "\"limit_train\"");
  if (spec.limit_test > 0) shape.test = std::min(spec.limit_test, shape.test);
  return shape;
}

std::vector<std::uint32_t> shuffled(std::int64_t n, Rng rng) {
  std::vector<std::uint32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  return order;
}

Split make_split(const NetworkSpec& spec, const DataShape& files, std::uint64_t experiment_seed) {
  const DataShape sizes = divided(spec, files);
  const Rng rng(experiment_seed, 0, Purpose::split);
  const auto order = shuffled(files.train, rng.split(0));
  const auto validation = order.begin() + sizes.validation;
  Split out;
  out.validation.assign(order.begin(), validation);
  out.train.assign(validation, validation + sizes.train);
  const auto test = shuffled(files.test, rng.split(1));
  out.test.assign(test.begin(), test.begin() + sizes.test);
  return out;
}

Dataset make_synthetic(const SyntheticSpec& spec) {
  constexpr int kSquares = 4;  // a side
  Dataset out;
  out.height = out.width = spec.size;
  out.channels = spec.channels;
  out.classes = spec.classes;
  const Rng all(0, 0, Purpose::synthetic);
  std::vector<double> patterns;
  Rng draw = all.split(0);
  for (int i = 0; i < spec.classes * kSquares * kSquares * spec.channels; ++i)
    patterns.push_back(0.2 + 0.6 * draw.uniform());
  const auto fill = [&](Images& images, int count, Rng rng) {
    images.count = count;
    for (int n = 0; n < count; ++n) {
      const int label = n % spec.classes;
      images.labels.push_back(static_cast<std::uint16_t>(label));
      const int down = static_cast<int>(rng.below(3)) - 1,
                right = static_cast<int>(rng.below(3)) - 1;
      for (int y = 0; y < spec.size; ++y) {
        for (int x = 0; x < spec.size; ++x) {
          const int row = std::clamp(y + down, 0, spec.size - 1) * kSquares / spec.size;
          const int column = std::clamp(x + right, 0, spec.size - 1) * kSquares / spec.size;
          for (int c = 0; c < spec.channels; ++c) {
            const double light =
                patterns[static_cast<std::size_t>(
                    ((label * kSquares + row) * kSquares + column) * spec.channels + c)] +
                spec.noise * rng.normal();
            images.pixels.push_back(
                static_cast<std::uint8_t>(std::clamp(light * 255.0, 0.0, 255.0)));
          }
        }
      }
    }
  };
  fill(out.train, spec.train, all.split(1));
  fill(out.test, spec.test, all.split(2));
  return out;
}

}  // namespace brood::cnn
