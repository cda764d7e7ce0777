#include "trainers/cnn/network_spec.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/suggest.h"
#include "trainers/cnn/object_reader.h"

namespace brood::cnn {

namespace {

constexpr int kSideMax = 255;  // of a kernel; pools are bounded by what a byte can index
constexpr int kPoolSideMax = 15;
constexpr int kColumnsMax = 65536;
constexpr std::int64_t kCountMax = 1'000'000'000;
const char* const kLater = "comes with a later version of brood; remove it";

const std::vector<std::string> kLayerNames = {
    "conv",    "max_pool", "avg_pool",   "global_avg_pool", "batch_norm",
    "dropout", "dense",    "activation", "flatten"};
const std::vector<std::string> kLaterLayers = {"residual", "branches", "depthwise_conv",
                                               "squeeze_excite"};
const std::vector<std::string> kLaterActivations = {"leaky_relu", "gelu", "silu", "tanh"};

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// "none" only where an activation may be left out.
bool read_relu(ObjectReader& reader, const std::string& key, bool required) {
  const Json* found = reader.find(key);
  if (found && found->is_string() && contains(kLaterActivations, found->get<std::string>())) {
    reader.problem(key, brief(*found) + " " + kLater + ", or use \"relu\"");
    return true;
  }
  if (required) return reader.word(key, std::nullopt, {"relu"}) == "relu";
  return reader.word(key, "none", {"relu", "none"}) == "relu";
}

LayerSpec read_layer(LayerKind kind, ObjectReader& reader) {
  LayerSpec layer;
  layer.kind = kind;
  layer.pointer = reader.pointer();
  switch (kind) {
    case LayerKind::conv:
      layer.columns = static_cast<int>(reader.whole("filters", std::nullopt, 1, kColumnsMax));
      std::tie(layer.height, layer.width) = reader.sides("kernel", std::nullopt, kSideMax);
      std::tie(layer.stride_height, layer.stride_width) =
          reader.sides("stride", std::pair{1, 1}, kSideMax);
      layer.same = reader.word("padding", "same", {"same", "valid"}) == "same";
      break;
    case LayerKind::max_pool:
    case LayerKind::avg_pool:
      std::tie(layer.height, layer.width) = reader.sides("size", std::nullopt, kPoolSideMax);
      std::tie(layer.stride_height, layer.stride_width) =
          reader.sides("stride", std::pair{layer.height, layer.width}, kSideMax);
      layer.same = reader.word("padding", "valid", {"same", "valid"}) == "same";
      break;
    case LayerKind::dropout:
      layer.rate = reader.real("rate", std::nullopt, 0.0, 1.0, false, true);
      break;
    case LayerKind::dense:
      layer.columns = static_cast<int>(reader.whole("units", std::nullopt, 1, kColumnsMax));
      break;
    case LayerKind::activation:
      layer.relu = read_relu(reader, "name", true);
      break;
    case LayerKind::global_avg_pool:
    case LayerKind::batch_norm:
    case LayerKind::flatten:
      break;
  }
  if (kind == LayerKind::conv || kind == LayerKind::dense) {
    layer.relu = read_relu(reader, "activation", false);
    layer.batch_norm = reader.flag("batch_norm", false);
    for (const char* key : {"dilation", "groups"})
      reader.refuse(key, std::string(kLater) + " (every conv is dense and undilated now)");
  }
  return layer;
}

void read_layers(const Json& list, const std::string& pointer, std::vector<Problem>& problems,
                 std::vector<LayerSpec>& layers) {
  if (!list.is_array()) {
    problems.push_back({pointer, "must be a list of layers (is " + brief(list) + ")"});
    return;
  }
  bool flat = false;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Json& element = list[i];
    const std::string place = join(pointer, i);
    if (!element.is_object() || element.size() != 1) {
      problems.push_back({place,
                          "must be an object with one key, the kind of layer, for example "
                          "{\"max_pool\": {\"size\": 2}} (is " +
                              brief(element) + ")"});
      continue;
    }
    const std::string name = element.begin().key();
    const auto found = std::find(kLayerNames.begin(), kLayerNames.end(), name);
    if (found == kLayerNames.end()) {
      problems.push_back(
          {join(place, name), contains(kLaterLayers, name)
                                  ? kLater
                                  : "is not a kind of layer" + did_you_mean(name, kLayerNames)});
      continue;
    }
    if (!element.begin()->is_object()) {
      problems.push_back({join(place, name), "must be an object of settings, {} for none (is " +
                                                 brief(*element.begin()) + ")"});
      continue;
    }
    ObjectReader reader(*element.begin(), join(place, name), problems);
    layers.push_back(read_layer(static_cast<LayerKind>(found - kLayerNames.begin()), reader));
    reader.finish();
    const LayerKind kind = layers.back().kind;
    if (flat && (kind == LayerKind::conv || kind == LayerKind::max_pool ||
                 kind == LayerKind::avg_pool || kind == LayerKind::global_avg_pool))
      reader.problem("",
                     "cannot follow a dense or flatten layer: there is no image left; move it "
                     "before");
    flat = flat || kind == LayerKind::dense || kind == LayerKind::flatten;
  }
}

OptimizerSpec read_optimizer(const Json& json, const std::string& pointer,
                             std::vector<Problem>& problems) {
  OptimizerSpec out;
  if (!json.is_object()) {
    problems.push_back({pointer,
                        "must be an object, for example {\"name\": \"adam\", "
                        "\"learning_rate\": 0.001} (is " +
                            brief(json) + ")"});
    return out;
  }
  ObjectReader reader(json, pointer, problems);
  const bool known = json.contains("name") && json["name"].is_string() &&
                     contains({"sgd", "adam", "adamw"}, json["name"].get<std::string>());
  const std::string name = reader.word("name", std::nullopt, {"sgd", "adam", "adamw"});
  out.learning_rate = reader.real("learning_rate", std::nullopt, 0.0, 1000.0, true);
  out.weight_decay = reader.real("weight_decay", name == "adamw" ? 0.01 : 0.0, 0.0, 1000.0);
  if (!known) {  // which keys have an effect is not known either
    for (const char* key : {"momentum", "nesterov", "beta1", "beta2", "epsilon"}) reader.find(key);
  } else if (name == "sgd") {
    out.momentum = reader.real("momentum", 0.0, 0.0, 1.0, false, true);
    out.nesterov = reader.flag("nesterov", false);
    if (out.nesterov && out.momentum == 0.0)
      reader.problem("nesterov", "has no effect without momentum; add one, or remove it");
    for (const char* key : {"beta1", "beta2", "epsilon"})
      reader.refuse(key, "has no effect with sgd; remove it, or use adam");
  } else {
    out.kind = name == "adam" ? OptimizerSpec::Kind::adam : OptimizerSpec::Kind::adamw;
    out.beta1 = reader.real("beta1", 0.9, 0.0, 1.0, false, true);
    out.beta2 = reader.real("beta2", 0.999, 0.0, 1.0, false, true);
    out.epsilon = reader.real("epsilon", 1e-8, 0.0, 1.0, true);
    for (const char* key : {"momentum", "nesterov"})
      reader.refuse(key, "has no effect with " + name +
                             "; remove it, make its parameter depend on the optimizer with "
                             "\"when\", or use sgd");
  }
  reader.finish();
  return out;
}

ScheduleSpec read_schedule(const Json& json, const std::string& pointer, int epochs,
                           std::vector<Problem>& problems) {
  ScheduleSpec out;
  if (!json.is_object()) {
    problems.push_back({pointer, "must be an object, for example {\"name\": \"cosine\"} (is " +
                                     brief(json) + ")"});
    return out;
  }
  ObjectReader reader(json, pointer, problems);
  if (reader.word("name", std::nullopt, {"constant", "cosine"}) == "cosine")
    out.kind = ScheduleSpec::Kind::cosine;
  out.warmup_epochs = reader.real("warmup_epochs", 0.0, 0.0, epochs);
  reader.finish();
  return out;
}

DatasetSpec read_dataset(const Json& json, const std::string& pointer,
                         std::vector<Problem>& problems) {
  DatasetSpec out;
  const std::vector<std::string> names = {"fashion_mnist", "idx", "synthetic"};
  if (json.is_string()) {
    const auto name = json.get<std::string>();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      problems.push_back({pointer, "must be one of fashion_mnist, idx, synthetic (is \"" + name +
                                       "\")" + did_you_mean(name, names)});
    else
      out.kind = static_cast<DatasetSpec::Kind>(found - names.begin());
    return out;
  }
  if (!json.is_object() || json.size() != 1 || json.begin().key() != "synthetic" ||
      !json.begin()->is_object()) {
    problems.push_back({pointer,
                        "must be \"fashion_mnist\", \"idx\" (the folder data_dir with the "
                        "four files of MNIST), \"synthetic\", or {\"synthetic\": "
                        "{...}} (is " +
                            brief(json) + ")"});
    return out;
  }
  out.kind = DatasetSpec::Kind::synthetic;
  ObjectReader reader(*json.begin(), join(pointer, "synthetic"), problems);
  SyntheticSpec& data = out.synthetic;
  data.classes = static_cast<int>(reader.whole("classes", data.classes, 2, 1000));
  data.size = static_cast<int>(reader.whole("size", data.size, 4, 256));
  data.channels = static_cast<int>(reader.whole("channels", data.channels, 1, 16));
  data.train = static_cast<int>(reader.whole("train", data.train, 1, 1'000'000));
  data.test = static_cast<int>(reader.whole("test", data.test, 1, 1'000'000));
  data.noise = reader.real("noise", data.noise, 0.0, 10.0);
  reader.finish();
  return out;
}

void read_validation(ObjectReader& reader, NetworkSpec& spec) {
  const Json* found = reader.find("validation");
  if (!found) return;
  const double value = found->is_number() ? found->get<double>() : -1.0;
  if (found->is_number_integer() && value >= 0 && value < static_cast<double>(kCountMax)) {
    spec.validation_count = static_cast<std::int64_t>(value);
    spec.validation_fraction = 0.0;
  } else if (found->is_number_float() && value >= 0.0 && value < 1.0) {
    spec.validation_fraction = value;
  } else {
    reader.problem("validation",
                   "must be a share of the training samples from 0.0, below 1.0, or "
                   "a whole number of them (is " +
                       brief(*found) + ")");
  }
}

}  // namespace

NetworkSpec parse_network(const std::string& resolved_trainer_json,
                          std::vector<Problem>& problems) {
  NetworkSpec spec;
  const Json json = parse_json(resolved_trainer_json);
  if (!json.is_object()) {
    problems.push_back({"", "must be an object (is " + brief(json) + ")"});
    return spec;
  }
  ObjectReader reader(json, "", problems);
  reader.word("name", "cnn", {"cnn"});
  if (const Json* found = reader.require("dataset", "\"fashion_mnist\""))
    spec.dataset = read_dataset(*found, "/dataset", problems);
  read_validation(reader, spec);
  spec.epochs = static_cast<int>(reader.whole("epochs", std::nullopt, 1, 1'000'000));
  spec.batch_size = static_cast<int>(reader.whole("batch_size", 64, 1, 65536));
  spec.limit_train = reader.whole("limit_train", 0, 1, kCountMax);
  spec.limit_test = reader.whole("limit_test", 0, 1, kCountMax);
  spec.evaluate_test = reader.flag("evaluate_test", false);
  if (spec.limit_test > 0 && !spec.evaluate_test)
    reader.problem("limit_test", "has no effect without \"evaluate_test\": true; remove it");
  if (reader.word("initialization", "he", {"he", "pytorch"}) == "pytorch")
    spec.initialization = Initialization::pytorch;
  spec.direct_kernels = reader.word("kernels", "auto", {"auto", "direct"}) == "direct";
  if (const Json* found =
          reader.require("optimizer", "{\"name\": \"adam\", \"learning_rate\": 0.001}"))
    spec.optimizer = read_optimizer(*found, "/optimizer", problems);
  if (const Json* found = reader.find("schedule"))
    spec.schedule = read_schedule(*found, "/schedule", spec.epochs, problems);
  if (const Json* found = reader.require("layers", "[{\"dense\": {\"units\": 128}}]"))
    read_layers(*found, "/layers", problems, spec.layers);
  for (const char* key : {"augment", "label_smoothing", "gradient_clip", "ema"})
    reader.refuse(key, kLater);
  reader.finish();
  return spec;
}

}  // namespace brood::cnn
