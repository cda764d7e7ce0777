// The images that a trial learns from: found, checked, decoded once per process, and split.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/rng.h"
#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn {

struct Images {
  std::int64_t count = 0;
  std::vector<std::uint8_t> pixels;   // (count, height, width, channels)
  std::vector<std::uint16_t> labels;  // 0 .. classes - 1
};

struct Dataset {
  int height = 0, width = 0, channels = 0, classes = 0;
  Images train, test;

  const std::uint8_t* pixels(const Images& part, std::int64_t sample) const {
    return part.pixels.data() + sample * height * width * channels;
  }
  std::uint64_t bytes() const;
};

// Indices into the train and test images.
struct Split {
  std::vector<std::uint32_t> train, validation, test;
};

// Decoded data stays in the process: workers serve many trials. Shared, as several trainers of one
// process may use it at once, from any thread. Throws UserError for missing or damaged files.
// data_dir: the only place that is looked into; empty: the usual places.
std::shared_ptr<const Dataset> load_dataset(const DatasetSpec& spec, const std::string& data_dir);

// Sizes and counts without decoding images, cached; counts are those of the files.
DataShape dataset_shape(const DatasetSpec& spec, const std::string& data_dir);

// Counts after limits and split. Throws UserError when nothing is left to train on.
DataShape divided(const NetworkSpec& spec, DataShape shape);

// Which samples go where: a function of the experiment's seed alone, so that all trials of an
// experiment are measured on the same images.
Split make_split(const NetworkSpec& spec, const DataShape& files, std::uint64_t experiment_seed);

// Images of a made-up task: each class a pattern of light and dark squares, moved by up to a pixel,
// with noise. A small network learns it in a few epochs.
Dataset make_synthetic(const SyntheticSpec& spec);

// 0 .. n-1 in an order drawn from the stream (Fisher, Yates; Durstenfeld 1964).
std::vector<std::uint32_t> shuffled(std::int64_t n, Rng rng);

}  // namespace brood::cnn
