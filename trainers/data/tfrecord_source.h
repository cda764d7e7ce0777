// TFRecord files of tf.train.Example, each with an image and its label.
#pragma once

#include <memory>

#include "trainers/data/object_reader.h"
#include "trainers/data/source.h"

namespace brood::data {

void read_tfrecord(ObjectReader& reader, DatasetSpec& spec);

std::unique_ptr<Source> open_tfrecord(const DatasetSpec& spec, const Places& places);

}  // namespace brood::data
