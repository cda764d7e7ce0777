#include "trainers/cnn/cuda/device_images.h"

#include <sstream>

namespace brood::cnn::cuda {

namespace {

// The test part counts only where it is measured.
Split split_of(const TrainingInput& input) {
  Split split = make_split(input.spec, shape_of(*input.data), input.experiment_seed);
  if (!input.spec.evaluate_test) split.test.clear();
  return split;
}

}  // namespace

std::string DeviceImages::key_of(const TrainingInput& input) {
  const NetworkSpec& s = input.spec;
  std::ostringstream out;
  out << input.data.get() << ' ' << input.experiment_seed << ' ' << s.validation_count << ' '
      << std::hexfloat << s.validation_fraction << ' ' << s.limit_train << ' ' << s.limit_test
      << ' ' << s.evaluate_test;
  return out.str();
}

DeviceImages::DeviceImages(const TrainingInput& input, Arena& arena)
    : data_(input.data), split_(split_of(input)), arena_(arena) {}

DeviceImages::~DeviceImages() {
  for (const std::int64_t offset : taken_) arena_.give(offset);
}

std::int64_t DeviceImages::bytes(const NetworkSpec& spec, const data::Contents& data,
                                 const DataShape& parts) {
  std::int64_t out = 0;
  const auto take = [&out](std::int64_t bytes) {
    out += (bytes + Arena::kUnit - 1) / Arena::kUnit * Arena::kUnit;
  };
  const auto part = [&](std::int64_t images) {
    take(images * data.image_bytes());
    take(images * static_cast<std::int64_t>(sizeof(std::uint16_t)));
  };
  part(data.train);
  if (spec.evaluate_test && parts.test > 0) part(data.test);
  for (const std::int64_t count :
       {parts.train, parts.validation, spec.evaluate_test ? parts.test : 0})
    take(count * static_cast<std::int64_t>(sizeof(std::uint32_t)));
  return out;
}

bool DeviceImages::add(Runtime& runtime, const void* from, std::size_t bytes,
                       const unsigned char*& to) {
  if (bytes == 0) return true;
  const auto offset = arena_.take(static_cast<std::int64_t>(bytes));
  if (!offset) return false;
  taken_.push_back(*offset);
  runtime.write(arena_.at(*offset), from, static_cast<std::int64_t>(bytes));
  to = arena_.at(*offset);
  return true;
}

std::unique_ptr<DeviceImages> DeviceImages::load(const TrainingInput& input, Runtime& runtime,
                                                 Arena& arena) {
  std::unique_ptr<DeviceImages> out(new DeviceImages(input, arena));
  const auto images = [&](const Images& from, DevicePart& part) {
    const unsigned char *pixels = nullptr, *labels = nullptr;
    if (!out->add(runtime, from.pixels.data(), from.pixels.size_bytes(), pixels) ||
        !out->add(runtime, from.labels.data(), from.labels.size_bytes(), labels))
      return false;
    part.pixels = pixels;
    part.labels = reinterpret_cast<const std::uint16_t*>(labels);
    return true;
  };
  const auto samples = [&](const std::vector<std::uint32_t>& from, DevicePart& part) {
    const unsigned char* list = nullptr;
    part.count = static_cast<std::int64_t>(from.size());
    if (!out->add(runtime, from.data(), from.size() * sizeof(from[0]), list)) return false;
    part.samples = reinterpret_cast<const std::uint32_t*>(list);
    return true;
  };
  DeviceData& view = out->view_;
  if (!images(input.data->train, view.train)) return nullptr;
  view.validation = view.train;
  if (!out->split_.test.empty() && !images(input.data->test, view.test)) return nullptr;
  if (!samples(out->split_.train, view.train) ||
      !samples(out->split_.validation, view.validation) || !samples(out->split_.test, view.test))
    return nullptr;
  return out;
}

}  // namespace brood::cnn::cuda
