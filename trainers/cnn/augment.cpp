// Sources: DeVries, Taylor, "Improved regularization of convolutional neural networks with cutout",
// 2017; Zhang, Cisse, Dauphin, Lopez-Paz, "mixup", ICLR 2018; Marsaglia, Tsang, "A simple method
// for generating gamma variables", ACM TOMS 2000.
#include "trainers/cnn/augment.h"

#include <algorithm>
#include <cmath>

#include "engine/exact_math.h"

namespace brood::cnn {

namespace {

constexpr std::uint8_t kBlack = 0;   // beyond the edge of a moved image
constexpr std::uint8_t kGrey = 128;  // in a hole: what the network sees as (almost) zero

double gamma_draw(double alpha, Rng& rng) {
  if (alpha < 1.0) {
    const double larger = gamma_draw(alpha + 1.0, rng);
    return larger * exact::pow(rng.uniform(), 1.0 / alpha);
  }
  const double d = alpha - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = rng.normal(), root = 1.0 + c * x;
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (exact::log(rng.uniform()) < 0.5 * x * x + d - d * v + d * exact::log(v)) return d * v;
  }
}

}  // namespace

double symmetric_beta(double alpha, Rng& rng) {
  const double one = gamma_draw(alpha, rng), two = gamma_draw(alpha, rng);
  return one + two > 0.0 ? one / (one + two) : 1.0;
}

Augmenter::Augmenter(const std::vector<AugmentSpec>& changes, const Dataset& data,
                     std::uint64_t seed)
    : data_(data), seed_(seed) {
  for (const AugmentSpec& change : changes) {
    if (change.kind == AugmentSpec::Kind::mixup)
      alpha_ = change.alpha;
    else if (change.kind == AugmentSpec::Kind::flip || change.pixels > 0)
      changes_.push_back(change);
  }
  const auto bytes = static_cast<std::size_t>(data.height * data.width * data.channels);
  own_.resize(bytes);
  other_.resize(bytes);
  spare_.resize(bytes);
}

Augmenter::Sample Augmenter::image(int epoch, std::uint32_t sample,
                                   const std::vector<std::uint32_t>& pool) {
  const Rng all(seed_, static_cast<std::uint64_t>(epoch), Purpose::augment);
  Rng rng = all.split(sample);
  Sample out{changed(sample, rng, own_)};
  if (!mixes()) return out;
  out.partner = pool[static_cast<std::size_t>(rng.below(pool.size()))];
  const double share = symmetric_beta(alpha_, rng);
  out.share = std::max(share, 1.0 - share);
  Rng partners = all.split(out.partner);
  out.other = changed(out.partner, partners, other_);
  return out;
}

const std::uint8_t* Augmenter::changed(std::uint32_t sample, Rng& rng,
                                       std::vector<std::uint8_t>& buffer) {
  const std::uint8_t* pixels = data_.pixels(data_.train, sample);
  if (changes_.empty()) return pixels;
  std::copy_n(pixels, buffer.size(), buffer.data());
  const auto below = [&rng](int n) {
    return static_cast<int>(rng.below(static_cast<std::uint64_t>(n)));
  };
  for (const AugmentSpec& change : changes_) {
    switch (change.kind) {
      case AugmentSpec::Kind::flip:
        if (rng.chance(change.probability)) flip(buffer.data());
        break;
      case AugmentSpec::Kind::translate: {
        const int down = below(2 * change.pixels + 1) - change.pixels;
        const int right = below(2 * change.pixels + 1) - change.pixels;
        translate(buffer.data(), down, right);
        break;
      }
      case AugmentSpec::Kind::cutout: {
        const int row = below(data_.height), column = below(data_.width);
        cut(buffer.data(), row - change.pixels / 2, column - change.pixels / 2, change.pixels);
        break;
      }
      case AugmentSpec::Kind::mixup:
        break;
    }
  }
  return buffer.data();
}

void Augmenter::flip(std::uint8_t* pixels) const {
  for (int y = 0; y < data_.height; ++y, pixels += data_.width * data_.channels)
    for (int left = 0, right = data_.width - 1; left < right; ++left, --right)
      std::swap_ranges(pixels + left * data_.channels, pixels + (left + 1) * data_.channels,
                       pixels + right * data_.channels);
}

// As a crop of the image with a black border.
void Augmenter::translate(std::uint8_t* pixels, int down, int right) {
  std::fill(spare_.begin(), spare_.end(), kBlack);
  const int width = data_.width - std::abs(right);
  for (int y = std::max(0, down); y < data_.height + std::min(0, down); ++y)
    std::copy_n(pixels + ((y - down) * data_.width + std::max(0, -right)) * data_.channels,
                width * data_.channels,
                spare_.data() + (y * data_.width + std::max(0, right)) * data_.channels);
  std::copy(spare_.begin(), spare_.end(), pixels);
}

void Augmenter::cut(std::uint8_t* pixels, int row, int column, int size) const {
  const int left = std::max(0, column), right = std::min(data_.width, column + size);
  for (int y = std::max(0, row); y < std::min(data_.height, row + size); ++y)
    std::fill(pixels + (y * data_.width + left) * data_.channels,
              pixels + (y * data_.width + right) * data_.channels, kGrey);
}

}  // namespace brood::cnn
