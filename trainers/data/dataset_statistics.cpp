#include "trainers/data/dataset_statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <tuple>

namespace brood::data {

namespace {

using Histogram = std::array<std::int64_t, 256>;

constexpr double kWhite = 255.0;
constexpr double kClassesMatter = 0.02, kLightMatters = 0.1;
constexpr double kRareNormal = 3.1;  // one of a thousand, to one side
constexpr double kRareMean = 4.1;    // the same to both sides, over the mean size

ChannelStatistics statistics_of(const Histogram& histogram, double image_mean_squares,
                                std::int64_t images) {
  ChannelStatistics out;
  std::int64_t count = 0, sum = 0;
  out.least = kWhite;
  for (int value = 0; value < 256; ++value) {
    const std::int64_t n = histogram[static_cast<std::size_t>(value)];
    if (n == 0) continue;
    count += n;
    sum += n * value;
    out.least = std::min<double>(out.least, value);
    out.most = std::max<double>(out.most, value);
  }
  if (count == 0) return {};
  const double mean = static_cast<double>(sum) / static_cast<double>(count);
  double squares = 0.0;
  for (int value = 0; value < 256; ++value)
    squares += static_cast<double>(histogram[static_cast<std::size_t>(value)]) * (value - mean) *
               (value - mean);
  out.mean = mean / kWhite;
  out.deviation = std::sqrt(squares / static_cast<double>(count)) / kWhite;
  const double of_images = image_mean_squares / static_cast<double>(images) - mean * mean;
  out.image_mean_deviation = std::sqrt(std::max(0.0, of_images)) / kWhite;
  out.least /= kWhite;
  out.most /= kWhite;
  return out;
}

void count_pixels(const PartView& part, const ImageShape& size, PartStatistics& out) {
  const auto channels = static_cast<std::size_t>(size.channels);
  const std::size_t bytes = size.bytes(), pixels = bytes / channels;
  // Runs of one value would wait for their own last count: neighbours count apart.
  std::vector<std::array<Histogram, 2>> histograms(channels);
  std::vector<double> squares(channels, 0.0);
  for (std::size_t i = 0; i < part.samples.size(); ++i) {
    const std::uint8_t* const picture = part.picture(i, size);
    // Every pixel equals the one before: the picture is blank.
    if (std::memcmp(picture, picture + channels, bytes - channels) == 0) ++out.blank;
    for (std::size_t c = 0; c < channels; ++c) {
      std::int64_t sum = 0;
      auto& [even, odd] = histograms[c];
      std::size_t at = c;
      for (; at + channels < bytes; at += 2 * channels) {
        const std::uint8_t a = picture[at], b = picture[at + channels];
        ++even[a];
        ++odd[b];
        sum += a + b;
      }
      if (at < bytes) {
        ++even[picture[at]];
        sum += picture[at];
      }
      const double mean = static_cast<double>(sum) / static_cast<double>(pixels);
      squares[c] += mean * mean;
    }
  }
  for (std::size_t c = 0; c < channels; ++c) {
    Histogram& all = histograms[c][0];
    for (std::size_t v = 0; v < all.size(); ++v) all[v] += histograms[c][1][v];
    out.channels.push_back(statistics_of(all, squares[c], out.count));
  }
}

double share(std::int64_t part, std::int64_t all) {
  return all > 0 ? static_cast<double>(part) / static_cast<double>(all) : 0.0;
}

// Mean size of a normal variable of this variance.
double mean_size(double variance) { return std::sqrt(2.0 / std::numbers::pi * variance); }

// Is this sum of squares too large for a fair draw? Wilson, Hilferty, "The distribution of
// chi-square", 1931.
bool rare_chi_square(double sum, int degrees) {
  if (degrees < 1) return false;
  const double spread = 2.0 / (9.0 * degrees);
  return (std::cbrt(sum / degrees) - (1.0 - spread)) / std::sqrt(spread) > kRareNormal;
}

std::uint64_t hash_of(const std::uint8_t* data, std::size_t size) {
  std::uint64_t hash = size;
  const auto mix = [&](std::uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 32;
  };
  std::size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data + at, 8);
    mix(word);
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, data + at, size - at);
  mix(rest);
  return hash;
}

struct Hashed {
  std::uint64_t hash = 0;
  PictureAt at;
  const std::uint8_t* picture = nullptr;
};

std::vector<Hashed> hashed(const std::vector<PartView>& parts, const ImageShape& size) {
  std::vector<Hashed> out;
  for (std::size_t p = 0; p < parts.size(); ++p)
    for (std::size_t i = 0; i < parts[p].samples.size(); ++i) {
      const std::uint8_t* const picture = parts[p].picture(i, size);
      out.push_back({hash_of(picture, size.bytes()),
                     {static_cast<int>(p), parts[p].samples[i], parts[p].label(i)},
                     picture});
    }
  return out;
}

// Equal images, in the order of parts and samples.
void note_group(const std::vector<PictureAt>& group, std::size_t shown, Duplicates& out) {
  ++out.groups;
  std::vector<std::int64_t> in_part(out.counts.size(), 0);
  for (const PictureAt& at : group) ++in_part[static_cast<std::size_t>(at.part)];
  for (std::size_t p = 0; p < in_part.size(); ++p) {
    if (in_part[p] == 0) continue;
    out.counts[p][p] += in_part[p] - 1;
    for (std::size_t q = p + 1; q < in_part.size(); ++q) out.counts[p][q] += in_part[q];
  }
  const bool agree = std::all_of(group.begin(), group.end(),
                                 [&](const PictureAt& at) { return at.label == group[0].label; });
  if (!agree) ++out.contradictions;
  auto& examples = agree ? out.agreeing : out.contradicting;
  if (examples.size() < shown) examples.push_back(group);
}

}  // namespace

PartStatistics statistics_of(const PartView& part, const ImageShape& size, int classes) {
  PartStatistics out;
  out.name = part.name;
  out.count = static_cast<std::int64_t>(part.samples.size());
  out.class_counts.assign(static_cast<std::size_t>(classes), 0);
  for (std::size_t i = 0; i < part.samples.size(); ++i)
    ++out.class_counts[static_cast<std::size_t>(part.label(i))];
  std::int64_t least = 0, most = 0;
  for (int k = 0; k < classes; ++k) {
    const std::int64_t n = out.class_counts[static_cast<std::size_t>(k)];
    if (n == 0) {
      ++out.empty_classes;
      continue;
    }
    if (n > most) out.largest_class = k;
    if (least == 0 || n < least) out.smallest_class = k;
    most = std::max(most, n);
    least = least == 0 ? n : std::min(least, n);
    out.entropy -= share(n, out.count) * std::log2(share(n, out.count));
  }
  if (least > 0) out.imbalance = static_cast<double>(most) / static_cast<double>(least);
  out.entropy = std::max(0.0, out.entropy);  // one class alone: -0
  count_pixels(part, size, out);
  return out;
}

Drift drift_between(const PartStatistics& from, const PartStatistics& to) {
  Drift out;
  out.from = from.name;
  out.to = to.name;
  if (from.count == 0 || to.count == 0) return out;
  const double spread = 1.0 / static_cast<double>(from.count) + 1.0 / static_cast<double>(to.count);
  double squares = 0.0;
  int degrees = -1;
  for (std::size_t k = 0; k < from.class_counts.size(); ++k) {
    const double a = share(from.class_counts[k], from.count);
    const double b = share(to.class_counts[k], to.count);
    const double both = share(from.class_counts[k] + to.class_counts[k], from.count + to.count);
    out.class_distance += 0.5 * std::abs(a - b);
    out.class_chance += 0.5 * mean_size(both * (1.0 - both) * spread);
    if (both == 0.0) continue;
    squares += (a - b) * (a - b) / (both * spread);
    ++degrees;
  }
  for (std::size_t c = 0; c < from.channels.size(); ++c) {
    const ChannelStatistics &a = from.channels[c], &b = to.channels[c];
    const double unit = std::max(a.deviation, 1e-6);
    const double shift = (b.mean - a.mean) / unit;
    out.mean_shift.push_back(shift);
    if (c > 0 && std::abs(shift) <= out.largest_shift) continue;
    const double deviation = std::max(a.image_mean_deviation, b.image_mean_deviation) / unit;
    out.largest_shift = std::abs(shift);
    out.shift_chance = mean_size(deviation * deviation * spread);
  }
  out.classes_drift = rare_chi_square(squares, degrees) && out.class_distance > kClassesMatter;
  out.light_drifts =
      out.largest_shift > kRareMean * out.shift_chance && out.largest_shift > kLightMatters;
  return out;
}

Duplicates find_duplicates(const std::vector<PartView>& parts, const ImageShape& size,
                           std::size_t shown_groups) {
  Duplicates out;
  out.counts.assign(parts.size(), std::vector<std::int64_t>(parts.size(), 0));
  std::vector<Hashed> all = hashed(parts, size);
  std::sort(all.begin(), all.end(), [](const Hashed& a, const Hashed& b) {
    return std::tie(a.hash, a.at.part, a.at.sample) < std::tie(b.hash, b.at.part, b.at.sample);
  });
  std::vector<std::vector<PictureAt>> groups;
  for (std::size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    while (end < all.size() && all[end].hash == all[begin].hash) ++end;
    if (end - begin < 2) continue;
    // Nearly always one group; a collision of hashes leaves several.
    std::vector<std::vector<Hashed>> equal;
    for (std::size_t i = begin; i < end; ++i) {
      const auto same = std::find_if(equal.begin(), equal.end(), [&](const auto& group) {
        return std::memcmp(group[0].picture, all[i].picture, size.bytes()) == 0;
      });
      if (same == equal.end())
        equal.push_back({all[i]});
      else
        same->push_back(all[i]);
    }
    for (const auto& group : equal) {
      if (group.size() < 2) continue;
      auto& places = groups.emplace_back();
      for (const Hashed& one : group) places.push_back(one.at);
    }
  }
  // Not in the order of hashes, which says nothing to people.
  std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    return std::tie(a[0].part, a[0].sample) < std::tie(b[0].part, b[0].sample);
  });
  for (const auto& group : groups) note_group(group, shown_groups, out);
  return out;
}

}  // namespace brood::data
