// Which images of a data set a trial learns from: limits, and the split of the validation part.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/rng.h"
#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"
#include "trainers/data/dataset.h"

namespace brood::cnn {

using data::Dataset;
using data::Images;
using data::load_dataset;

// Indices into the train and test images.
struct Split {
  std::vector<std::uint32_t> train, validation, test;
};

// As the files have it, before limits and split.
DataShape shape_of(const data::Contents& contents);
DataShape shape_of(const Dataset& data);

// Counts after limits and split. Throws UserError when nothing is left to train on.
DataShape divided(const NetworkSpec& spec, DataShape shape);

// Which samples go where: a function of the experiment's seed alone, so that all trials of an
// experiment are measured on the same images.
Split make_split(const NetworkSpec& spec, const DataShape& files, std::uint64_t experiment_seed);

// 0 .. n-1 in an order drawn from the stream (Fisher, Yates; Durstenfeld 1964).
std::vector<std::uint32_t> shuffled(std::int64_t n, Rng rng);

}  // namespace brood::cnn
