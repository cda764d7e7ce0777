// Goal: what `brood data describe` says of a data set is true. Method: small data sets whose
// numbers are known by hand, and fair draws, which must not be called drift.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/rng.h"
#include "trainers/data/dataset_statistics.h"

namespace brood::data {
namespace {

using testing::ElementsAre;

struct Made {
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint16_t> labels;

  PartView view(const std::string& name) const {
    PartView out{name, pixels.data(), labels.data(), std::vector<std::uint32_t>(labels.size())};
    std::iota(out.samples.begin(), out.samples.end(), 0U);
    return out;
  }
};

TEST(DatasetStatistics, CountsClassesAndTheirBalance) {
  const Made made = {std::vector<std::uint8_t>(7, 0), {0, 0, 0, 0, 1, 1, 3}};
  const PartStatistics part = statistics_of(made.view("train"), {1, 1, 1}, 4);
  EXPECT_EQ(part.count, 7);
  EXPECT_THAT(part.class_counts, ElementsAre(4, 2, 0, 1));
  EXPECT_EQ(part.largest_class, 0);
  EXPECT_EQ(part.smallest_class, 3);
  EXPECT_EQ(part.empty_classes, 1);
  EXPECT_DOUBLE_EQ(part.imbalance, 4.0);
  EXPECT_NEAR(
      part.entropy,
      -(4 / 7.0 * std::log2(4 / 7.0) + 2 / 7.0 * std::log2(2 / 7.0) + 1 / 7.0 * std::log2(1 / 7.0)),
      1e-12);
}

TEST(DatasetStatistics, MeasuresEachChannelOfTheChosenSamples) {
  // Two pixels of two channels each; the middle image is left out.
  const Made made = {{0, 10, 255, 10, 99, 99, 99, 99, 0, 10, 0, 10}, {0, 1, 1}};
  PartView view = made.view("train");
  view.samples = {0, 2};
  const PartStatistics part = statistics_of(view, {1, 2, 2}, 2);
  ASSERT_EQ(part.channels.size(), 2U);
  EXPECT_DOUBLE_EQ(part.channels[0].mean, 0.25);
  EXPECT_DOUBLE_EQ(part.channels[0].deviation, std::sqrt(3.0) / 4);
  EXPECT_DOUBLE_EQ(part.channels[0].image_mean_deviation, 0.25);
  EXPECT_DOUBLE_EQ(part.channels[0].most, 1.0);
  EXPECT_DOUBLE_EQ(part.channels[1].mean, 10 / 255.0);
  EXPECT_DOUBLE_EQ(part.channels[1].deviation, 0.0);
  EXPECT_EQ(part.blank, 1);
}

Made draw(int count, int classes, double light, std::uint64_t seed) {
  Made made;
  Rng rng(seed, 0, Purpose::simulate);
  for (int i = 0; i < count; ++i) {
    made.labels.push_back(
        static_cast<std::uint16_t>(rng.below(static_cast<std::uint64_t>(classes))));
    const double of_image = light + 0.1 * rng.normal();
    for (int p = 0; p < 9; ++p)
      made.pixels.push_back(static_cast<std::uint8_t>(
          std::clamp(255.0 * (of_image + 0.1 * rng.normal()), 0.0, 255.0)));
  }
  return made;
}

TEST(DatasetDrift, FairDrawsOfAnySizeAreNone) {
  int called = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed)
    for (const int count : {20, 200, 2000}) {
      const Made a = draw(count, 10, 0.5, seed), b = draw(count / 4, 10, 0.5, seed + 1000);
      const Drift drift = drift_between(statistics_of(a.view("a"), {3, 3, 1}, 10),
                                        statistics_of(b.view("b"), {3, 3, 1}, 10));
      called += drift.classes_drift || drift.light_drifts ? 1 : 0;
    }
  EXPECT_LE(called, 1) << "of 120";
}

TEST(DatasetDrift, SeesOtherClassesAndOtherLight) {
  const Made a = draw(2000, 10, 0.5, 1);
  Made b = draw(500, 10, 0.55, 2);
  for (std::size_t i = 0; i < 60; ++i) b.labels[i] = 3;
  const Drift drift = drift_between(statistics_of(a.view("a"), {3, 3, 1}, 10),
                                    statistics_of(b.view("b"), {3, 3, 1}, 10));
  EXPECT_TRUE(drift.classes_drift);
  EXPECT_TRUE(drift.light_drifts);
  EXPECT_NEAR(drift.mean_shift[0], 0.05 / std::sqrt(0.02), 0.08);
}

TEST(DatasetDrift, OfDisjointClassesIsOne) {
  const Made a = {{0, 0}, {0, 0}}, b = {{0, 0}, {1, 1}};
  EXPECT_DOUBLE_EQ(drift_between(statistics_of(a.view("a"), {1, 1, 1}, 2),
                                 statistics_of(b.view("b"), {1, 1, 1}, 2))
                       .class_distance,
                   1.0);
}

TEST(DatasetDuplicates, AreCountedWithinAndAcrossParts) {
  // Images of one pixel; the letter is the pixel.
  const Made train = {{'a', 'b', 'a', 'c', 'a'}, {0, 1, 0, 2, 0}};
  const Made test = {{'c', 'd', 'b', 'd', 'b'}, {2, 0, 0, 0, 0}};
  const Duplicates found = find_duplicates({train.view("train"), test.view("test")}, {1, 1, 1}, 10);
  EXPECT_EQ(found.counts[0][0], 2) << "two more of a";
  EXPECT_EQ(found.counts[1][1], 2) << "one more of b, one of d";
  EXPECT_EQ(found.counts[0][1], 3) << "c, b, b";
  EXPECT_EQ(found.groups, 4);
  EXPECT_EQ(found.contradictions, 1) << "b is 1 and 0";
  ASSERT_EQ(found.contradicting.size(), 1U);
  EXPECT_EQ(found.contradicting[0].size(), 3U);
  EXPECT_EQ(found.contradicting[0][0].sample, 1U);
  EXPECT_EQ(found.agreeing.size(), 3U);
}

TEST(DatasetDuplicates, DifferInASingleByte) {
  for (const int size : {1, 7, 8, 9, 64}) {
    Made made;
    for (int i = 0; i <= size; ++i) {
      for (int p = 0; p < size; ++p) made.pixels.push_back(p == i ? 1 : 0);
      made.labels.push_back(0);
    }
    EXPECT_EQ(find_duplicates({made.view("train")}, {1, size, 1}, 1).groups, 0) << size;
    made.pixels.insert(made.pixels.end(), static_cast<std::size_t>(size), 0);
    made.labels.push_back(0);
    EXPECT_EQ(find_duplicates({made.view("train")}, {1, size, 1}, 1).groups, 1) << size;
  }
}

}  // namespace
}  // namespace brood::data
