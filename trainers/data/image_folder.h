// JPEG and PNG files in a folder for each class.
#pragma once

#include <memory>

#include "trainers/data/object_reader.h"
#include "trainers/data/source.h"

namespace brood::data {

void read_image_folder(ObjectReader& reader, DatasetSpec& spec);

std::unique_ptr<Source> open_image_folder(const DatasetSpec& spec, const Places& places);

}  // namespace brood::data
