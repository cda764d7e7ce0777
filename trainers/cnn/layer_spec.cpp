#include "trainers/cnn/layer_spec.h"

#include <algorithm>

#include "engine/json_library.h"
#include "engine/suggest.h"
#include "trainers/data/object_reader.h"

namespace brood::cnn {

namespace {

using data::brief;
using data::join;
using data::ObjectReader;

constexpr int kSideMax = 255;  // of a kernel; pools are bounded by what a byte can index
constexpr int kPoolSideMax = 15;
constexpr int kColumnsMax = 65536;
constexpr int kNestingMax = 20;

// In the order of LayerKind.
const std::vector<std::string> kLayerNames = {
    "conv",           "depthwise_conv", "max_pool", "avg_pool",   "global_avg_pool",
    "batch_norm",     "dropout",        "dense",    "activation", "flatten",
    "squeeze_excite", "residual",       "branches"};
// In the order of Activation.
const std::vector<std::string> kActivations = {"none", "relu", "leaky_relu",
                                               "gelu", "silu", "tanh"};

Activation activation_of(const std::string& name) {
  return static_cast<Activation>(std::find(kActivations.begin(), kActivations.end(), name) -
                                 kActivations.begin());
}

void read_window(ObjectReader& reader, LayerSpec& layer) {
  std::tie(layer.height, layer.width) = reader.sides("kernel", std::nullopt, kSideMax);
  std::tie(layer.stride_height, layer.stride_width) =
      reader.sides("stride", std::pair{1, 1}, kSideMax);
  std::tie(layer.dilation_height, layer.dilation_width) =
      reader.sides("dilation", std::pair{1, 1}, kSideMax);
  layer.same = reader.word("padding", "same", {"same", "valid"}) == "same";
}

void read_pool(ObjectReader& reader, LayerSpec& layer) {
  std::tie(layer.height, layer.width) = reader.sides("size", std::nullopt, kPoolSideMax);
  std::tie(layer.stride_height, layer.stride_width) =
      reader.sides("stride", std::pair{layer.height, layer.width}, kSideMax);
  layer.same = reader.word("padding", "valid", {"same", "valid"}) == "same";
}

// "none" only where an activation may be left out.
void read_activation(ObjectReader& reader, LayerSpec& layer) {
  layer.activation = activation_of(
      reader.word("name", std::nullopt, {kActivations.begin() + 1, kActivations.end()}));
  if (layer.activation == Activation::leaky_relu)
    layer.slope = reader.real("slope", layer.slope, 0.0, 1.0);
  else
    reader.refuse("slope", "has an effect with leaky_relu only; remove it");
}

LayerSpec read_layer(LayerKind kind, ObjectReader& reader) {
  LayerSpec layer;
  layer.kind = kind;
  layer.pointer = reader.pointer();
  switch (kind) {
    case LayerKind::conv:
      layer.columns = static_cast<int>(reader.whole("filters", std::nullopt, 1, kColumnsMax));
      read_window(reader, layer);
      break;
    case LayerKind::depthwise_conv:
      read_window(reader, layer);
      reader.refuse("filters",
                    "has no effect: a depthwise convolution keeps its channels; remove "
                    "it, and let a conv with kernel 1 follow");
      break;
    case LayerKind::max_pool:
    case LayerKind::avg_pool:
      read_pool(reader, layer);
      break;
    case LayerKind::dropout:
      layer.rate = reader.real("rate", std::nullopt, 0.0, 1.0, false, true);
      break;
    case LayerKind::dense:
      layer.columns = static_cast<int>(reader.whole("units", std::nullopt, 1, kColumnsMax));
      break;
    case LayerKind::activation:
      read_activation(reader, layer);
      break;
    case LayerKind::squeeze_excite:
      layer.ratio = static_cast<int>(reader.whole("ratio", layer.ratio, 1, kColumnsMax));
      break;
    case LayerKind::global_avg_pool:
    case LayerKind::batch_norm:
    case LayerKind::flatten:
    case LayerKind::residual:
    case LayerKind::branches:
      break;
  }
  if (kind == LayerKind::conv || kind == LayerKind::depthwise_conv || kind == LayerKind::dense) {
    layer.activation = activation_of(reader.word("activation", "none", kActivations));
    layer.batch_norm = reader.flag("batch_norm", false);
  }
  return layer;
}

bool flattens(LayerKind kind) { return kind == LayerKind::dense || kind == LayerKind::flatten; }

// Batch norm, dropout and activations work on vectors as well.
bool needs_image(LayerKind kind) {
  return !flattens(kind) && kind != LayerKind::batch_norm && kind != LayerKind::dropout &&
         kind != LayerKind::activation;
}

class ListReader {
 public:
  explicit ListReader(std::vector<Problem>& problems) : problems_(problems) {}

  std::vector<LayerSpec> list(const Json& list, const std::string& pointer, int depth) {
    std::vector<LayerSpec> layers;
    if (!list.is_array()) {
      problem(pointer, "must be a list of layers (is " + brief(list) + ")");
      return layers;
    }
    if (depth > kNestingMax) {
      problem(pointer, "is nested more than " + std::to_string(kNestingMax) + " deep");
      return layers;
    }
    bool flat = false;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::size_t before = layers.size();
      element(list[i], join(pointer, i), depth, layers);
      if (layers.size() == before) continue;
      const LayerSpec& layer = layers.back();
      if (depth > 0 && flattens(layer.kind))
        problem(layer.pointer,
                "cannot be inside a residual or a branch: there would be no image left; move it "
                "after");
      else if (flat && needs_image(layer.kind))
        problem(layer.pointer,
                "cannot follow a dense or flatten layer: there is no image left; move it before");
      flat = flat || flattens(layer.kind);
    }
    return layers;
  }

 private:
  void problem(const std::string& pointer, const std::string& message) {
    problems_.push_back({pointer, message});
  }

  void element(const Json& json, const std::string& place, int depth,
               std::vector<LayerSpec>& layers) {
    if (!json.is_object() || json.size() != 1)
      return problem(place,
                     "must be an object with one key, the kind of layer, for example "
                     "{\"max_pool\": {\"size\": 2}} (is " +
                         brief(json) + ")");
    const std::string name = json.begin().key();
    const Json& settings = *json.begin();
    const std::string pointer = join(place, name);
    const auto found = std::find(kLayerNames.begin(), kLayerNames.end(), name);
    if (found == kLayerNames.end())
      return problem(pointer, "is not a kind of layer" + did_you_mean(name, kLayerNames));
    const auto kind = static_cast<LayerKind>(found - kLayerNames.begin());
    if (kind == LayerKind::residual) {
      layers.push_back(residual(settings, pointer, depth));
    } else if (kind == LayerKind::branches) {
      layers.push_back(branches(settings, pointer, depth));
    } else if (!settings.is_object()) {
      problem(pointer, "must be an object of settings, {} for none (is " + brief(settings) + ")");
    } else {
      ObjectReader reader(settings, pointer, problems_);
      layers.push_back(read_layer(kind, reader));
      reader.finish();
    }
  }

  // A list is the body; an object has more to say.
  LayerSpec residual(const Json& json, const std::string& pointer, int depth) {
    LayerSpec layer;
    layer.kind = LayerKind::residual;
    layer.pointer = pointer;
    layer.activation = Activation::relu;
    const Json* body = &json;
    std::string place = pointer;
    if (json.is_object()) {
      ObjectReader reader(json, pointer, problems_);
      body = reader.require("body", "[{\"conv\": {\"filters\": 16, \"kernel\": 3}}]");
      place = join(pointer, "body");
      layer.activation = activation_of(reader.word("activation", "relu", kActivations));
      reader.finish();
      if (!body) return layer;
    }
    if (body->is_array() && body->empty())
      problem(place, "must have at least one layer: there is nothing to add to the input");
    layer.bodies.push_back(list(*body, place, depth + 1));
    return layer;
  }

  LayerSpec branches(const Json& json, const std::string& pointer, int depth) {
    LayerSpec layer;
    layer.kind = LayerKind::branches;
    layer.pointer = pointer;
    if (!json.is_array() || json.size() < 2) {
      problem(pointer, "must be a list of two or more lists of layers (is " + brief(json) + ")");
      return layer;
    }
    bool passes = false;
    for (std::size_t i = 0; i < json.size(); ++i) {
      const std::string place = join(pointer, i);
      if (json[i].is_array() && json[i].empty()) {
        if (passes) problem(place, "is a second empty branch: both would be the input; remove it");
        passes = true;
      }
      layer.bodies.push_back(list(json[i], place, depth + 1));
    }
    return layer;
  }

  std::vector<Problem>& problems_;
};

}  // namespace

std::vector<LayerSpec> read_layers(const Json& list, const std::string& pointer,
                                   std::vector<Problem>& problems) {
  return ListReader(problems).list(list, pointer, 0);
}

const std::vector<std::string>& layer_names() { return kLayerNames; }
const std::vector<std::string>& activation_names() { return kActivations; }

}  // namespace brood::cnn
