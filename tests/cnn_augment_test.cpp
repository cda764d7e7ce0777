// Goal: a changed image is the change it claims to be, and depends on (seed, epoch, sample) alone.
// Method: small images of distinct bytes, each change looked at pixel by pixel over many draws.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "trainers/cnn/augment.h"

namespace brood::cnn {
namespace {

using Pixels = std::vector<std::uint8_t>;

constexpr int kHeight = 5, kWidth = 6, kChannels = 2, kSamples = 8;

// No byte is black or grey, so that what a change puts in is seen.
Dataset images() {
  data::Decoded train;
  for (int i = 0; i < kSamples * kHeight * kWidth * kChannels; ++i)
    train.pixels.push_back(static_cast<std::uint8_t>(1 + i * 37 % 127));
  train.labels.resize(kSamples, 0);
  return data::in_memory({kHeight, kWidth, kChannels, {"a", "b"}, kSamples, 0, true},
                         std::move(train), {});
}

AugmentSpec change(AugmentSpec::Kind kind, int pixels = 0) {
  AugmentSpec out;
  out.kind = kind;
  out.pixels = pixels;
  return out;
}

Pixels copy(const std::uint8_t* pixels) { return {pixels, pixels + kHeight * kWidth * kChannels}; }

std::uint8_t at(const Pixels& image, int y, int x, int c) {
  return image[static_cast<std::size_t>((y * kWidth + x) * kChannels + c)];
}

// Calls visit(before, after) for many images of many epochs.
template <class Visit>
void each(const std::vector<AugmentSpec>& changes, Visit visit) {
  const Dataset data = images();
  Augmenter augmenter(changes, data, 3);
  for (int epoch = 1; epoch <= 40; ++epoch)
    for (std::uint32_t sample = 0; sample < kSamples; ++sample)
      visit(copy(data.pixels(data.train, sample)),
            copy(augmenter.image(epoch, sample, {0}).pixels));
}

TEST(CnnAugment, FlipsHalfOfTheImages) {
  int flipped = 0;
  each({change(AugmentSpec::Kind::flip)}, [&](const Pixels& before, const Pixels& after) {
    if (before == after) return;
    ++flipped;
    for (int y = 0; y < kHeight; ++y)
      for (int x = 0; x < kWidth; ++x)
        for (int c = 0; c < kChannels; ++c)
          ASSERT_EQ(at(after, y, x, c), at(before, y, kWidth - 1 - x, c));
  });
  EXPECT_NEAR(flipped, 160, 45);  // five standard deviations
}

TEST(CnnAugment, TranslatesByUpToThePixelsInEachDirection) {
  std::set<std::pair<int, int>> seen;
  each({change(AugmentSpec::Kind::translate, 2)}, [&](const Pixels& before, const Pixels& after) {
    int found = 0;
    for (int down = -2; down <= 2; ++down) {
      for (int right = -2; right <= 2; ++right) {
        bool same = true;
        for (int y = 0; y < kHeight; ++y)
          for (int x = 0; x < kWidth; ++x) {
            const int row = y - down, column = x - right;
            const bool inside = row >= 0 && row < kHeight && column >= 0 && column < kWidth;
            for (int c = 0; c < kChannels; ++c)
              same = same && at(after, y, x, c) == (inside ? at(before, row, column, c) : 0);
          }
        if (!same) continue;
        ++found;
        seen.insert({down, right});
      }
    }
    ASSERT_EQ(found, 1);
  });
  EXPECT_EQ(seen.size(), 25U);
}

TEST(CnnAugment, CutsOneSquareThatMayHangOverTheEdge) {
  std::set<int> sizes;
  each({change(AugmentSpec::Kind::cutout, 3)}, [&](const Pixels& before, const Pixels& after) {
    int top = kHeight, left = kWidth, bottom = -1, right = -1, count = 0;
    for (int y = 0; y < kHeight; ++y)
      for (int x = 0; x < kWidth; ++x) {
        if (at(after, y, x, 0) != 128) {
          ASSERT_EQ(at(after, y, x, 0), at(before, y, x, 0));
          ASSERT_EQ(at(after, y, x, 1), at(before, y, x, 1));
          continue;
        }
        ASSERT_EQ(at(after, y, x, 1), 128);
        top = std::min(top, y);
        left = std::min(left, x);
        bottom = std::max(bottom, y);
        right = std::max(right, x);
        ++count;
      }
    ASSERT_EQ(count, (bottom - top + 1) * (right - left + 1));
    ASSERT_LE(std::max(bottom - top, right - left), 2);
    sizes.insert(count);
  });
  EXPECT_EQ(sizes, (std::set<int>{4, 6, 9}));
}

TEST(CnnAugment, DependsOnSeedEpochAndSampleAlone) {
  const Dataset data = images();
  const std::vector<AugmentSpec> changes = {change(AugmentSpec::Kind::flip),
                                            change(AugmentSpec::Kind::translate, 3)};
  Augmenter one(changes, data, 3), two(changes, data, 3), other(changes, data, 4);
  for (std::uint32_t sample = 0; sample < kSamples; ++sample) one.image(7, sample, {0});
  int differ_by_epoch = 0, differ_by_seed = 0;
  for (std::uint32_t sample = kSamples; sample-- > 0;) {
    const Pixels image = copy(one.image(8, sample, {0}).pixels);
    EXPECT_EQ(image, copy(two.image(8, sample, {0}).pixels));
    differ_by_epoch += image != copy(one.image(9, sample, {0}).pixels);
    differ_by_seed += image != copy(other.image(8, sample, {0}).pixels);
  }
  EXPECT_GT(differ_by_epoch, 4);
  EXPECT_GT(differ_by_seed, 4);
}

TEST(CnnAugment, MixesWithAnotherImageOfThePoolAsItIsInThisEpoch) {
  const Dataset data = images();
  AugmentSpec mixup = change(AugmentSpec::Kind::mixup);
  mixup.alpha = 0.4;
  const std::vector<std::uint32_t> pool = {1, 5};
  Augmenter mixer({change(AugmentSpec::Kind::translate, 2), mixup}, data, 3);
  Augmenter plain({change(AugmentSpec::Kind::translate, 2)}, data, 3);
  std::set<std::uint32_t> partners;
  for (int epoch = 1; epoch <= 20; ++epoch) {
    const Augmenter::Sample mixed = mixer.image(epoch, 2, pool);
    partners.insert(mixed.partner);
    EXPECT_GE(mixed.share, 0.5);
    EXPECT_LE(mixed.share, 1.0);
    EXPECT_EQ(copy(mixed.pixels), copy(plain.image(epoch, 2, pool).pixels));
    EXPECT_EQ(copy(mixed.other), copy(plain.image(epoch, mixed.partner, pool).pixels));
  }
  EXPECT_EQ(partners, (std::set<std::uint32_t>{1, 5}));
}

TEST(CnnAugment, ChangesNothingWhenSwitchedOff) {
  const Dataset data = images();
  Augmenter augmenter({change(AugmentSpec::Kind::translate, 0), change(AugmentSpec::Kind::cutout),
                       change(AugmentSpec::Kind::mixup)},
                      data, 3);
  EXPECT_FALSE(augmenter.mixes());
  EXPECT_EQ(augmenter.image(1, 4, {0}).pixels, data.pixels(data.train, 4));
}

// Mean 1/2, variance 1 / (4 (2 alpha + 1)).
TEST(CnnAugment, DrawsSharesFromTheBetaDistribution) {
  for (const double alpha : {0.1, 0.4, 1.0, 3.0}) {
    Rng rng(5, 0, Purpose::augment);
    constexpr int kDraws = 20000;
    double sum = 0.0, squares = 0.0;
    for (int i = 0; i < kDraws; ++i) {
      const double share = symmetric_beta(alpha, rng);
      ASSERT_GE(share, 0.0);
      ASSERT_LE(share, 1.0);
      sum += share;
      squares += (share - 0.5) * (share - 0.5);
    }
    EXPECT_NEAR(sum / kDraws, 0.5, 0.02) << alpha;
    EXPECT_NEAR(squares / kDraws, 1 / (4 * (2 * alpha + 1)), 0.01) << alpha;
  }
}

}  // namespace
}  // namespace brood::cnn
