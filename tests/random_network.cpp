#include "tests/random_network.h"

#include <cmath>
#include <vector>

namespace brood::cnn {

namespace {

class Drawer {
 public:
  explicit Drawer(Rng& rng) : rng_(rng) {}

  // keep: the size of the image stays as it is.
  std::string list(int least, int most, int depth, bool keep) {
    std::string out;
    for (int n = whole(least, most); n > 0; --n)
      out += (out.empty() ? "" : ", ") + layer(depth, keep);
    return "[" + out + "]";
  }

  int whole(int min, int max) {
    return min + static_cast<int>(rng_.below(static_cast<std::uint64_t>(max - min + 1)));
  }

  std::string activation() {
    static const std::vector<std::string> names = {"none", "relu", "leaky_relu",
                                                   "gelu", "silu", "tanh"};
    return names[rng_.below(names.size())];
  }

  std::string dense() {
    return R"({"dense": {"units": )" + std::to_string(whole(1, 20)) + rest() + "}}";
  }

 private:
  std::string key(const std::string& name, int value) {
    return ", \"" + name + "\": " + std::to_string(value);
  }

  std::string sides(const std::string& name, int min, int max) {
    return "\"" + name + "\": [" + std::to_string(whole(min, max)) + ", " +
           std::to_string(whole(min, max)) + "]";
  }

  // What convolutions and dense layers share.
  std::string rest() {
    return R"(, "activation": ")" + activation() + R"(", "batch_norm": )" +
           (rng_.chance(0.4) ? "true" : "false");
  }

  std::string window(bool keep) {
    std::string out = sides("kernel", 1, 5);
    if (!keep && rng_.chance(0.4)) out += ", " + sides("stride", 1, 3);
    if (rng_.chance(0.3)) out += ", " + sides("dilation", 1, 2);
    return out + (keep || rng_.chance(0.7) ? "" : R"(, "padding": "valid")") + rest();
  }

  std::string pool(bool keep) {
    if (keep) return sides("size", 1, 4) + R"(, "stride": 1, "padding": "same")";
    return sides("size", 1, 3) + (rng_.chance(0.5) ? ", " + sides("stride", 1, 3) : "") +
           (rng_.chance(0.5) ? R"(, "padding": "same")" : "");
  }

  std::string layer(int depth, bool keep) {
    switch (whole(0, depth > 0 ? 10 : 8)) {
      case 0:
      case 1:
        return R"({"conv": {"filters": )" + std::to_string(whole(1, 20)) + ", " + window(keep) +
               "}}";
      case 2:
        return R"({"depthwise_conv": {)" + window(keep) + "}}";
      case 3:
        return R"({"max_pool": {)" + pool(keep) + "}}";
      case 4:
        return R"({"avg_pool": {)" + pool(keep) + "}}";
      case 5:
        return R"({"batch_norm": {}})";
      case 6:
        return R"({"dropout": {"rate": 0.3}})";
      case 7:
        return R"({"activation": {"name": "leaky_relu", "slope": 0.2}})";
      case 8:
        return R"({"squeeze_excite": {"ratio": )" + std::to_string(whole(1, 4)) + "}}";
      case 9:
        return R"({"residual": {"body": )" + list(1, 3, depth - 1, keep) + R"(, "activation": ")" +
               activation() + "\"}}";
      default:
        return R"({"branches": [)" + list(0, 2, depth - 1, true) + ", " +
               list(1, 2, depth - 1, true) + "]}";
    }
  }

  Rng& rng_;
};

std::vector<float> drawn(Rng& rng, std::int64_t count, double min, double max) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i)
    out.push_back(static_cast<float>(min + (max - min) * rng.uniform()));
  return out;
}

NamedArray array_of(Rng& rng, const Parameter& parameter) {
  const std::int64_t count = parameter.inputs * parameter.columns;
  const double bound = std::sqrt(6.0 / static_cast<double>(parameter.fan_in));
  const bool positive = parameter.start == Parameter::Start::one;  // scales and variances
  return {parameter.name, parameter.shape,
          parameter.weight ? drawn(rng, count, -bound, bound)
                           : drawn(rng, count, positive ? 0.5 : -0.3, positive ? 1.5 : 0.3)};
}

}  // namespace

std::string random_block(Rng& rng, int size, int channels, int classes) {
  Drawer draw(rng);
  std::string layers = draw.list(1, 5, 2, false);
  layers.pop_back();
  if (rng.chance(0.3)) layers += R"(, {"global_avg_pool": {}})";
  if (rng.chance(0.6))
    layers += ", " + draw.dense() + R"(, {"dropout": {"rate": 0.5}}, {"batch_norm": {}})";
  return R"({"name": "cnn", "dataset": {"synthetic": {"size": )" + std::to_string(size) +
         R"(, "channels": )" + std::to_string(channels) + R"(, "classes": )" +
         std::to_string(classes) + R"(, "train": 60, "test": 20}}, "epochs": 1, "batch_size": 8,
         "kernels": ")" +
         (rng.chance(0.5) ? "auto" : "direct") +
         R"(", "optimizer": {"name": "sgd", "learning_rate": 0.01}, "layers": )" + layers + "]}";
}

Model random_model(Rng& rng) {
  Drawer draw(rng);
  const int size = draw.whole(4, 17), channels = draw.whole(1, 4), classes = draw.whole(2, 11);
  std::vector<Problem> problems;
  Model out;
  out.spec = parse_network(random_block(rng, size, channels, classes), problems);
  CHECK(problems.empty(), problems.front().pointer + ": " + problems.front().message);
  out.description.trainer = out.spec.block;
  out.description.data = {size, size, channels, classes, 54, 6, 20};
  out.description.numeric_class = "cpu/baseline/fp32/3";
  for (int i = 0; i < classes; ++i)
    out.description.classes.push_back("class \"" + std::to_string(i) + "\"");
  out.plan = make_plan(out.spec, out.description.data);
  for (const Parameter& p : out.plan.parameters) out.parameters.push_back(array_of(rng, p));
  for (const Parameter& p : out.plan.states) out.states.push_back(array_of(rng, p));
  out.epochs = 1;
  return out;
}

}  // namespace brood::cnn
