// MNIST, Fashion-MNIST and any other data set in the four IDX files of MNIST.
#pragma once

#include <memory>

#include "trainers/data/source.h"

namespace brood::data {

std::unique_ptr<Source> open_idx_source(const DatasetSpec& spec, const Places& places);

}  // namespace brood::data
