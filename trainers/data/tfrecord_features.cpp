#include "trainers/data/tfrecord_features.h"

#include <array>

#include "engine/error.h"

namespace brood::data {

namespace {

// As TensorFlow's own scripts write them (models/research/slim/datasets), then what tutorials do.
constexpr std::array kImage = {"image/encoded", "image_raw", "image", "image/raw"};
constexpr std::array kLabel = {"image/class/label", "label", "class"};
constexpr std::array kClassName = {"image/class/text"};
constexpr std::array kHeight = {"image/height", "height"};
constexpr std::array kWidth = {"image/width", "width"};
constexpr std::array kChannels = {"image/channels", "image/depth", "depth", "channels"};

template <class List>
std::string first_of(const List& usual, const Example& example) {
  for (const char* const name : usual)
    if (example.find(name) != nullptr) return name;
  return "";
}

template <class List>
std::string chosen(const std::string& wanted, const char* key, const List& usual,
                   const Example& example, const std::string& place) {
  if (!wanted.empty()) {
    if (example.find(wanted) == nullptr)
      throw UserError(place + ": has no feature \"" + wanted + "\", which \"" + key +
                      "\" names; it has " + example.contents());
    return wanted;
  }
  const std::string found = first_of(usual, example);
  if (found.empty()) {
    std::string names;
    for (const char* const name : usual) names += std::string(names.empty() ? "" : ", ") + name;
    throw UserError(place + ": has none of the usual features " + names + "; say in \"" + key +
                    "\" which it is, of " + example.contents());
  }
  return found;
}

const Feature& feature_of(const Example& example, const std::string& name,
                          const std::string& place) {
  const Feature* const found = example.find(name);
  if (found == nullptr)
    throw UserError(place + ": has no feature \"" + name + "\", as the first record has; it has " +
                    example.contents());
  return *found;
}

// One whole number.
std::int64_t number_of(const Example& example, const std::string& name, const std::string& place) {
  const Feature& feature = feature_of(example, name, place);
  if (feature.integers.size() != 1)
    throw UserError(place + ": feature \"" + name + "\" is no whole number; it has " +
                    example.contents());
  return feature.integers.front();
}

bool is_file(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 3 && ((bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF) ||
                               (bytes[0] == 0x89 && bytes[1] == 'P' && bytes[2] == 'N'));
}

}  // namespace

RecordFeatures::RecordFeatures(const TfRecordSpec& spec, const Example& first,
                               const std::string& place)
    : spec_(spec),
      image_(chosen(spec.image, "image", kImage, first, place)),
      label_(chosen(spec.label, "label", kLabel, first, place)),
      height_(first_of(kHeight, first)),
      width_(first_of(kWidth, first)),
      channels_(first_of(kChannels, first)) {
  class_name_ = spec.class_name.empty()
                    ? first_of(kClassName, first)
                    : chosen(spec.class_name, "class_name", kClassName, first, place);
  using Pixels = TfRecordSpec::Pixels;
  raw_ = spec.pixels == Pixels::raw ||
         (spec.pixels == Pixels::automatic && !is_file(image(first, place)));
}

std::span<const std::uint8_t> RecordFeatures::image(const Example& example,
                                                    const std::string& place) const {
  const Feature& feature = feature_of(example, image_, place);
  if (feature.bytes.size() != 1)
    throw UserError(place + ": feature \"" + image_ +
                    "\" is not one text of bytes, as a JPEG, a PNG or pixels are; it has " +
                    example.contents());
  return feature.bytes.front();
}

// Pixels say nothing of their shape: other features do, or the settings.
RecordFeatures::Shape RecordFeatures::raw_shape(const Example& example,
                                                const std::string& place) const {
  const auto side = [&](const std::string& name, int fallback) {
    return name.empty() ? fallback : number_of(example, name, place);
  };
  const std::int64_t height = side(height_, spec_.height), width = side(width_, spec_.width);
  const auto size = static_cast<std::int64_t>(image(example, place).size());
  if (height == 0 || width == 0)
    throw UserError(place + ": \"" + image_ +
                    "\" holds neither a JPEG nor a PNG; if it holds pixels, no feature gives their "
                    "height and width: set \"size\"");
  check_picture_size(height, width, place);
  std::int64_t channels = side(channels_, spec_.channels);
  if (channels == 0) channels = size / (height * width);
  const std::string shape =
      std::to_string(height) + "x" + std::to_string(width) + "x" + std::to_string(channels);
  if (channels != 1 && channels != 3)
    throw UserError(place + ": \"" + image_ + "\" has " + std::to_string(size) +
                    " bytes, pixels of " + shape +
                    "; only 1 or 3 channels of 8 bits are supported");
  if (size == 4 * height * width * channels)
    throw UserError(place + ": \"" + image_ + "\" has 4 bytes for each value of " + shape +
                    " pixels; write them as uint8, real numbers are not supported");
  if (size != height * width * channels)
    throw UserError(place + ": \"" + image_ + "\" has " + std::to_string(size) +
                    " bytes, but pixels of " + shape + " have " +
                    std::to_string(height * width * channels));
  return {static_cast<int>(height), static_cast<int>(width), static_cast<int>(channels)};
}

RecordFeatures::Shape RecordFeatures::shape(const Example& example,
                                            const std::string& place) const {
  if (raw_) return raw_shape(example, place);
  const PictureSize size = picture_size(image(example, place), place + ": \"" + image_ + "\"");
  return {size.height, size.width, 0};
}

Picture RecordFeatures::picture(const Example& example, const std::string& place) const {
  const auto bytes = image(example, place);
  if (!raw_) return decode_picture(bytes, place + ": \"" + image_ + "\"");
  const Shape shape = raw_shape(example, place);
  return {shape.height, shape.width, shape.channels, {bytes.begin(), bytes.end()}};
}

RecordLabel RecordFeatures::label(const Example& example, const std::string& place) const {
  const Feature& feature = feature_of(example, label_, place);
  if (feature.integers.size() == 1) return {feature.integers.front(), {}};
  if (feature.bytes.size() != 1 || feature.bytes.front().empty())
    throw UserError(place + ": feature \"" + label_ +
                    "\" is neither one whole number nor one name; it has " + example.contents());
  const auto text = feature.bytes.front();
  return {std::nullopt, {reinterpret_cast<const char*>(text.data()), text.size()}};
}

std::string_view RecordFeatures::class_name(const Example& example,
                                            const std::string& place) const {
  if (class_name_.empty()) return {};
  const Feature& feature = feature_of(example, class_name_, place);
  if (feature.bytes.size() != 1)
    throw UserError(place + ": feature \"" + class_name_ + "\" is not one name; it has " +
                    example.contents());
  const auto text = feature.bytes.front();
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

}  // namespace brood::data
