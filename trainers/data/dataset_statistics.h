// What a data set is like, in numbers: its classes, its light, how its parts differ, and which
// images it holds more than once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace brood::data {

struct ImageShape {
  int height = 0, width = 0, channels = 0;
  std::size_t bytes() const {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
           static_cast<std::size_t>(channels);
  }
};

// Some of the images of a file: a training part without its validation images, for example.
struct PartView {
  std::string name;
  const std::uint8_t* pixels = nullptr;  // (any, height, width, channels)
  const std::uint16_t* labels = nullptr;
  std::vector<std::uint32_t> samples;  // which of them

  const std::uint8_t* picture(std::size_t i, const ImageShape& size) const {
    return pixels + samples[i] * size.bytes();
  }
  int label(std::size_t i) const { return labels[samples[i]]; }
};

struct ChannelStatistics {  // of pixels that lie in 0 to 1
  double mean = 0.0, deviation = 0.0;
  double least = 0.0, most = 0.0;
  double image_mean_deviation = 0.0;  // of the images' own means, about the mean
};

struct PartStatistics {
  std::string name;
  std::int64_t count = 0;
  std::vector<std::int64_t> class_counts;
  int largest_class = 0, smallest_class = 0;  // of those that are there at all
  int empty_classes = 0;
  double imbalance = 1.0;  // the largest class over the smallest that is there
  double entropy = 0.0;    // of the classes, in bits
  std::int64_t blank = 0;  // images of one colour
  std::vector<ChannelStatistics> channels;
};

PartStatistics statistics_of(const PartView& part, const ImageShape& size, int classes);

// How far two parts of a data set are from draws of one source. A difference is called drift when
// about one in a thousand fair draws of these sizes differs as much, and when it is large enough to
// matter: 0.02 of the images in other classes, a tenth of a pixel's deviation in light.
struct Drift {
  std::string from, to;
  double class_distance = 0.0;     // share of images that would have to change class, 0 to 1
  double class_chance = 0.0;       // what fair draws have on average
  std::vector<double> mean_shift;  // of each channel's mean, in standard deviations of `from`
  double largest_shift = 0.0;      // without its sign
  double shift_chance = 0.0;       // of the channel of largest_shift
  bool classes_drift = false, light_drifts = false;
};

Drift drift_between(const PartStatistics& from, const PartStatistics& to);

struct PictureAt {
  int part = 0;
  std::uint32_t sample = 0;
  int label = 0;
};

struct Duplicates {
  // [p][p]: images of part p that equal an earlier one of p; [p][q], p < q: images of q that are in
  // p too; 0 elsewhere.
  std::vector<std::vector<std::int64_t>> counts;
  std::int64_t groups = 0;                                      // of two or more equal images
  std::int64_t contradictions = 0;                              // groups with more than one label
  std::vector<std::vector<PictureAt>> contradicting, agreeing;  // the first groups of each kind
};

// By the pixels alone, byte for byte: equal hashes are compared.
Duplicates find_duplicates(const std::vector<PartView>& parts, const ImageShape& size,
                           std::size_t shown_groups);

}  // namespace brood::data
