// Images of a made-up task: each class a pattern of light and dark squares, moved by up to a pixel,
// with noise. A small network learns it in a few epochs.
#pragma once

#include <memory>

#include "trainers/data/dataset.h"
#include "trainers/data/object_reader.h"
#include "trainers/data/source.h"

namespace brood::data {

void read_synthetic(ObjectReader& reader, DatasetSpec& spec);

std::unique_ptr<Source> open_synthetic(const DatasetSpec& spec, const Places& places);

Dataset make_synthetic(const SyntheticSpec& spec);

}  // namespace brood::data
