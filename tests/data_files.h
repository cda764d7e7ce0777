// A folder of its own for each test of the data layer, and small picture files to put into it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace brood::data {

using Bytes = std::vector<std::uint8_t>;

class DataFolder : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  // Makes the folders on the way. Returns the path.
  std::string write(const std::string& name, const Bytes& bytes) const;
  static Bytes contents(const std::string& path);

  std::filesystem::path folder_;
};

// The call throws a UserError with all the parts in its text.
void expect_refused(const std::function<void()>& call, const std::vector<std::string>& parts);

enum class Png { grey, grey_alpha, rgb, rgb_alpha, palette };

struct PngKind {
  Png colours = Png::rgb;
  int bits = 8;
  bool interlaced = false;
  int transparent = -1;  // a palette's entry, or a value of grey
};

// values: one a channel (16 bits: as they are), rows one after another; a palette's entry i is
// (i, 2i, 3i).
Bytes png_of(int height, int width, const PngKind& kind, const std::vector<int>& values);

enum class Jpeg { grey, ycc, rgb, cmyk, ycck };

// Quality 100, no subsampling. orientation 0: no EXIF block.
Bytes jpeg_of(int height, int width, Jpeg kind, const Bytes& values, int orientation = 0,
              bool progressive = false);

}  // namespace brood::data
