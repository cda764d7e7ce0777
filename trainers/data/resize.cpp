#include "trainers/data/resize.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/error.h"

namespace brood::data {

namespace {

constexpr int kBits =
    32 - 8 - 2;  // after the point of a coefficient; room for 8 bits and overshoot

// What each output of a line is made of: `count` inputs from `first` with their weights.
struct Weights {
  struct Sum {
    int first = 0, count = 0;
  };
  std::vector<Sum> sums;
  std::vector<std::int32_t> weights;  // `most` a sum
  int most = 0;
};

Weights weights_of(int start, int length, int out, int limit) {
  const double scale = static_cast<double>(length) / out;
  const double support = std::max(scale, 1.0);  // half the triangle's base
  Weights result;
  result.most = static_cast<int>(std::ceil(support)) * 2 + 1;
  result.weights.resize(static_cast<std::size_t>(out) * static_cast<std::size_t>(result.most));
  std::vector<double> parts(static_cast<std::size_t>(result.most));
  for (int i = 0; i < out; ++i) {
    const double center = start + (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int count = std::min(limit, static_cast<int>(center + support + 0.5)) - first;
    double sum = 0.0;
    for (int k = 0; k < count; ++k) {
      const double distance = std::abs((k + first - center + 0.5) * (1.0 / support));
      parts[static_cast<std::size_t>(k)] = distance < 1.0 ? 1.0 - distance : 0.0;
      sum += parts[static_cast<std::size_t>(k)];
    }
    std::int32_t* to = result.weights.data() + std::int64_t{i} * result.most;
    for (int k = 0; k < count; ++k) {
      const double part = parts[static_cast<std::size_t>(k)];
      *to++ = static_cast<std::int32_t>(0.5 + (sum != 0.0 ? part / sum : part) * (1 << kBits));
    }
    result.sums.push_back({first, count});
  }
  return result;
}

// One output of all channels: inputs are `step` bytes apart.
void add_up(const std::uint8_t* from, std::int64_t step, const std::int32_t* weights, int count,
            int channels, std::uint8_t* to) {
  for (int c = 0; c < channels; ++c) {
    std::int32_t sum = 1 << (kBits - 1);
    for (int k = 0; k < count; ++k) sum += from[k * step + c] * weights[k];
    to[c] = static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255));
  }
}

}  // namespace

Box box_of(const Picture& picture, int height, int width, Fit fit) {
  Box out{0, 0, picture.height, picture.width};
  if (fit == Fit::squash) return out;
  // Cut what is too long for the shape, compared in whole numbers.
  const std::int64_t across = std::int64_t{picture.width} * height;
  const std::int64_t down = std::int64_t{picture.height} * width;
  if (across > down)
    out.width = static_cast<int>(std::max<std::int64_t>(1, (down + height / 2) / height));
  else
    out.height = static_cast<int>(std::max<std::int64_t>(1, (across + width / 2) / width));
  out.left = (picture.width - out.width) / 2;
  out.top = (picture.height - out.height) / 2;
  return out;
}

Picture resized(const Picture& picture, const Box& box, int height, int width) {
  const std::int64_t row = std::int64_t{1} * picture.width * picture.channels;
  const Weights across = weights_of(box.left, box.width, width, picture.width);
  const Weights down = weights_of(box.top, box.height, height, picture.height);
  // Lines first, only those that are needed below.
  const int top = down.sums.front().first;
  const int bottom = down.sums.back().first + down.sums.back().count;
  const int channels = picture.channels;
  const std::int64_t narrow = std::int64_t{1} * width * channels;
  std::vector<std::uint8_t> lines;
  const std::uint8_t* from = picture.pixels.data() + top * row;
  if (width != picture.width || box.width != picture.width) {
    lines.resize(static_cast<std::size_t>((bottom - top) * narrow));
    for (int y = 0; y < bottom - top; ++y)
      for (int x = 0; x < width; ++x) {
        const auto [first, count] = across.sums[static_cast<std::size_t>(x)];
        add_up(from + y * row + std::int64_t{first} * channels, channels,
               across.weights.data() + std::int64_t{x} * across.most, count, channels,
               lines.data() + y * narrow + std::int64_t{x} * channels);
      }
    from = lines.data();
  }
  Picture out{height, width, channels, {}};
  out.pixels.resize(static_cast<std::size_t>(height * narrow));
  if (height == picture.height && box.height == picture.height) {
    std::copy_n(from, out.pixels.size(), out.pixels.data());
    return out;
  }
  for (int y = 0; y < height; ++y) {
    const auto [first, count] = down.sums[static_cast<std::size_t>(y)];
    for (int x = 0; x < width; ++x)
      add_up(from + (first - top) * narrow + std::int64_t{x} * channels, narrow,
             down.weights.data() + std::int64_t{y} * down.most, count, channels,
             out.pixels.data() + y * narrow + std::int64_t{x} * channels);
  }
  return out;
}

Picture with_channels(Picture picture, int channels) {
  if (picture.channels == channels) return picture;
  std::vector<std::uint8_t> out;
  out.reserve(picture.pixels.size() / static_cast<std::size_t>(picture.channels) *
              static_cast<std::size_t>(channels));
  if (channels == 3) {
    for (const std::uint8_t grey : picture.pixels) out.insert(out.end(), 3, grey);
  } else {
    for (std::size_t i = 0; i + 2 < picture.pixels.size(); i += 3)
      out.push_back(
          static_cast<std::uint8_t>((picture.pixels[i] * 19595U + picture.pixels[i + 1] * 38470U +
                                     picture.pixels[i + 2] * 7471U + 0x8000U) >>
                                    16U));
  }
  picture.pixels = std::move(out);
  picture.channels = channels;
  return picture;
}

std::vector<std::uint8_t> picture_bytes(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) throw UserError(path + ": cannot be read (" + error.message() + ")");
  if (size > kPictureBytesMax)
    throw UserError(path + ": has " + std::to_string(size) + " bytes; at most " +
                    std::to_string(kPictureBytesMax) + " are supported for a picture");
  std::ifstream in(path, std::ios::binary);
  std::vector<std::uint8_t> out(size);
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(size));
  if (!in && size > 0) throw UserError(path + ": cannot be read (" + std::strerror(errno) + ")");
  return out;
}

Picture fitted(Picture picture, int height, int width, int channels, Fit fit) {
  picture = with_channels(std::move(picture), channels);
  if (height == 0 || (picture.height == height && picture.width == width)) return picture;
  return resized(picture, box_of(picture, height, width, fit), height, width);
}

Picture read_picture(const std::string& path, int height, int width, int channels, Fit fit) {
  return fitted(decode_picture(picture_bytes(path), path), height, width, channels, fit);
}

}  // namespace brood::data
