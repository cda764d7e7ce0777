// A contact sheet: some pictures of each class in a row, on one picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/bitmap.h"
#include "trainers/data/dataset_statistics.h"

namespace brood {

struct SheetRow {
  std::string name, note;                     // drawn left of the pictures, on two lines
  std::vector<const std::uint8_t*> pictures;  // each (height, width, channels)
};

// Small pictures are enlarged by whole factors, large ones reduced. One channel is grey, three or
// four are red, green, blue; of any other number the first is shown.
Bitmap contact_sheet(const data::ImageShape& size, const std::vector<SheetRow>& rows);

}  // namespace brood
