#include "trainers/data/synthetic.h"

#include <algorithm>

#include "engine/params.h"
#include "engine/rng.h"

namespace brood::data {

namespace {

constexpr int kSquares = 4;  // a side

Contents contents_of(const SyntheticSpec& spec) {
  Contents out{spec.size, spec.size, spec.channels, {}, spec.train, spec.test, true};
  for (int i = 0; i < spec.classes; ++i) out.class_names.push_back(std::to_string(i));
  return out;
}

Decoded make_part(const SyntheticSpec& spec, const std::vector<double>& patterns, int count,
                  Rng rng) {
  Decoded out;
  for (int n = 0; n < count; ++n) {
    const int label = n % spec.classes;
    out.labels.push_back(static_cast<std::uint16_t>(label));
    const int down = static_cast<int>(rng.below(3)) - 1, right = static_cast<int>(rng.below(3)) - 1;
    for (int y = 0; y < spec.size; ++y) {
      for (int x = 0; x < spec.size; ++x) {
        const int row = std::clamp(y + down, 0, spec.size - 1) * kSquares / spec.size;
        const int column = std::clamp(x + right, 0, spec.size - 1) * kSquares / spec.size;
        for (int c = 0; c < spec.channels; ++c) {
          const double light =
              patterns[static_cast<std::size_t>(
                  ((label * kSquares + row) * kSquares + column) * spec.channels + c)] +
              spec.noise * rng.normal();
          out.pixels.push_back(static_cast<std::uint8_t>(std::clamp(light * 255.0, 0.0, 255.0)));
        }
      }
    }
  }
  return out;
}

class Synthetic final : public Source {
 public:
  explicit Synthetic(const SyntheticSpec& spec) : spec_(spec) {}
  std::vector<std::string> files() const override { return {}; }
  std::string options() const override {
    std::string text = "synthetic 1";
    for (const int number : {spec_.classes, spec_.size, spec_.channels, spec_.train, spec_.test})
      text += " " + std::to_string(number);
    return text + " " + to_text(Value(spec_.noise));
  }
  Contents contents() override { return contents_of(spec_); }
  void read(Sink& sink) override {
    const Dataset data = make_synthetic(spec_);
    sink.put(Part::train, 0, data.train.pixels, data.train.labels);
    sink.put(Part::test, 0, data.test.pixels, data.test.labels);
  }

 private:
  const SyntheticSpec spec_;
};

}  // namespace

void read_synthetic(ObjectReader& reader, DatasetSpec& spec) {
  SyntheticSpec& data = spec.synthetic;
  data.classes = static_cast<int>(reader.whole("classes", data.classes, 2, 1000));
  data.size = static_cast<int>(reader.whole("size", data.size, 4, 256));
  data.channels = static_cast<int>(reader.whole("channels", data.channels, 1, 16));
  data.train = static_cast<int>(reader.whole("train", data.train, 1, 1'000'000));
  data.test = static_cast<int>(reader.whole("test", data.test, 1, 1'000'000));
  data.noise = reader.real("noise", data.noise, 0.0, 10.0);
}

std::unique_ptr<Source> open_synthetic(const DatasetSpec& spec, const Places&) {
  return std::make_unique<Synthetic>(spec.synthetic);
}

Dataset make_synthetic(const SyntheticSpec& spec) {
  const Rng all(0, 0, Purpose::synthetic);
  std::vector<double> patterns;
  Rng draw = all.split(0);
  for (int i = 0; i < spec.classes * kSquares * kSquares * spec.channels; ++i)
    patterns.push_back(0.2 + 0.6 * draw.uniform());
  Decoded train = make_part(spec, patterns, spec.train, all.split(1));
  Decoded test = make_part(spec, patterns, spec.test, all.split(2));
  return in_memory(contents_of(spec), std::move(train), std::move(test));
}

}  // namespace brood::data
