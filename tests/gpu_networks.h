// Layers and random networks for the tests of the device's kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/rng.h"
#include "trainers/cnn/network_spec.h"

namespace brood::cnn {

inline LayerSpec layer(LayerKind kind, int columns = 0, int kernel = 1, int stride = 1,
                       bool same = true) {
  LayerSpec out;
  out.kind = kind;
  out.columns = columns;
  out.height = out.width = kernel;
  out.stride_height = out.stride_width = stride;
  out.same = same;
  return out;
}

inline LayerSpec with(LayerSpec layer, Activation activation, bool batch_norm = false) {
  layer.activation = activation;
  layer.batch_norm = batch_norm;
  return layer;
}

// Lists of layers that nest; with strides only where no branch would differ from another.
class RandomLayers {
 public:
  explicit RandomLayers(std::uint64_t seed) : rng_(seed, 7, Purpose::synthetic) {}

  int between(int low, int high) {
    return low + static_cast<int>(rng_.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool chance(double probability) { return rng_.chance(probability); }

  std::vector<LayerSpec> list(int most, int depth = 0, bool strides = true) {
    std::vector<LayerSpec> out;
    for (int i = between(1, most); i > 0; --i) out.push_back(one(depth, strides));
    return out;
  }

 private:
  LayerSpec one(int depth, bool strides) {
    const auto activation = static_cast<Activation>(between(0, 5));
    switch (between(depth < 2 ? -2 : 0, 7)) {
      case -2: {
        LayerSpec out = with(layer(LayerKind::residual), activation);
        out.bodies = {list(2, depth + 1, strides)};
        return out;
      }
      case -1: {
        LayerSpec out = layer(LayerKind::branches);
        out.bodies = {list(2, depth + 1, false),
                      chance(0.3) ? std::vector<LayerSpec>() : list(2, depth + 1, false)};
        return out;
      }
      case 0: {
        LayerSpec out = layer(LayerKind::squeeze_excite);
        out.ratio = between(1, 5);
        return out;
      }
      case 1:
        return with(layer(LayerKind::activation),
                    activation == Activation::none ? Activation::gelu : activation);
      case 2:
        return windowed(layer(LayerKind::depthwise_conv), activation, strides);
      case 3: {
        LayerSpec out = layer(chance(0.5) ? LayerKind::max_pool : LayerKind::avg_pool, 0,
                              between(1, 3), strides ? between(1, 2) : 1);
        out.width = between(1, 3);
        return out;
      }
      case 4: {
        LayerSpec out = layer(LayerKind::dropout);
        out.rate = 0.1 * between(1, 7);
        return out;
      }
      default:
        return windowed(layer(LayerKind::conv, between(1, 40)), activation, strides);
    }
  }

  LayerSpec windowed(LayerSpec out, Activation activation, bool strides) {
    out.height = between(1, 4);
    out.width = between(1, 4);
    out.dilation_height = between(1, 3);
    out.dilation_width = between(1, 2);
    if (strides && chance(0.4)) out.stride_height = out.stride_width = between(1, 3);
    out.activation = activation;
    out.batch_norm = chance(0.2);
    return out;
  }

  Rng rng_;
};

}  // namespace brood::cnn
