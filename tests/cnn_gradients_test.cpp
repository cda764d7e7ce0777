// Goal: forward values and gradients are right. Method: a naive double-precision reference is
// checked against finite differences; every kernel set of this machine is then checked against the
// reference over random networks with odd sizes, channels 1..40, strides and paddings.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/rng.h"
#include "tests/cnn_reference.h"
#include "trainers/cnn/network.h"
#include "trainers/cnn/winograd.h"

namespace brood::cnn {
namespace {

struct Case {
  NetworkSpec spec;
  DataShape data;
  int batch = 3;
};

LayerSpec layer(LayerKind kind, int columns = 0, int kernel = 1, int stride = 1, bool same = true) {
  LayerSpec out;
  out.kind = kind;
  out.columns = columns;
  out.height = out.width = kernel;
  out.stride_height = out.stride_width = stride;
  out.same = same;
  return out;
}

// Bytes of images, and the numbers that set_image makes of them.
std::vector<std::uint8_t> pixels_of(const Case& c, std::uint64_t seed) {
  Rng rng(seed, 1, Purpose::synthetic);
  std::vector<std::uint8_t> out(
      static_cast<std::size_t>(c.batch * c.data.height * c.data.width * c.data.channels));
  for (std::uint8_t& value : out) value = static_cast<std::uint8_t>(rng.below(256));
  return out;
}

std::vector<double> scaled(const std::vector<std::uint8_t>& pixels) {
  std::vector<double> out;
  for (const std::uint8_t value : pixels)
    out.push_back((static_cast<float>(value) / 255.0F - 0.5F) / 0.5F);
  return out;
}

std::vector<int> labels_of(const Case& c) {
  std::vector<int> labels;
  for (int n = 0; n < c.batch; ++n) labels.push_back((n * 7 + 1) % c.data.classes);
  return labels;
}

// bound: of a gradient's distance. share: of the largest gradient, below which one counts as
// vanishing.
void expect_reference(const Case& c, const Kernels& kernels, std::uint64_t seed,
                      const std::string& what, double bound = 2e-5, double share = 0.0) {
  SCOPED_TRACE(what);
  const Plan plan = make_plan(c.spec, c.data);
  ASSERT_EQ(plan.infeasible, "");
  Reference reference(plan);
  fill(reference, seed);
  Network network(plan, c.spec.optimizer, kernels);
  network.initialise(0);
  for (std::size_t p = 0; p < plan.parameters.size(); ++p)
    network.set_parameter(static_cast<int>(p),
                          {reference.parameters[p].begin(), reference.parameters[p].end()});
  const auto pixels = pixels_of(c, seed);
  const std::vector<int> labels = labels_of(c);
  const std::vector<std::uint16_t> short_labels(labels.begin(), labels.end());
  // Twice: what the first batch leaves in the memory must not show in the second.
  for (std::uint64_t batch = 0; batch < 2; ++batch) {
    for (int n = 0; n < c.batch; ++n)
      network.set_image(n, pixels.data() + pixels.size() / static_cast<std::size_t>(c.batch) *
                                               static_cast<std::size_t>(n));
    const double wanted = reference.forward(scaled(pixels), labels, true, 77, batch);
    reference.backward();
    const BatchResult got = network.train(short_labels, 77, batch);
    EXPECT_NEAR(got.loss / c.batch, wanted, 1e-5 * std::max(1.0, wanted));
    double floor = 1e-4;
    for (const auto& gradient : reference.gradients)
      floor = std::max(floor, share * norm_of(gradient));
    for (std::size_t p = 0; p < plan.parameters.size(); ++p)
      EXPECT_LT(distance(network.gradient(static_cast<int>(p)), reference.gradients[p], floor),
                bound)
          << plan.parameters[p].name;
  }
  const double evaluated = reference.forward(scaled(pixels), labels, false, 0, 0);
  EXPECT_NEAR(network.evaluate(short_labels).loss / c.batch, evaluated,
              1e-4 * std::max(1.0, evaluated));
}

Case random_case(std::uint64_t seed) {
  Rng rng(seed, 2, Purpose::synthetic);
  const auto between = [&rng](int low, int high) {
    return low + static_cast<int>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
  };
  Case c;
  c.batch = between(1, 4);
  c.spec.batch_size = c.batch + between(0, 1);
  c.data = {between(5, 11), between(5, 11), between(1, 4), between(2, 12), 100, 0, 0};
  const int layers = between(1, 3);
  for (int i = 0; i < layers; ++i) {
    LayerSpec conv = layer(LayerKind::conv, between(1, 40));
    conv.height = between(1, 5);
    conv.width = between(1, 5);
    conv.stride_height = between(1, 3);
    conv.stride_width = between(1, 2);
    conv.same = i > 0 || rng.chance(0.5);
    if (rng.chance(0.5)) conv.activation = Activation::relu;
    conv.batch_norm = rng.chance(0.3) && c.batch > 1;
    c.spec.layers.push_back(conv);
    if (rng.chance(0.4)) {
      LayerSpec pool = layer(rng.chance(0.6) ? LayerKind::max_pool : LayerKind::avg_pool, 0,
                             between(1, 3), between(1, 3), true);
      pool.width = between(1, 3);
      c.spec.layers.push_back(pool);
    }
    if (rng.chance(0.3)) {
      c.spec.layers.push_back(layer(LayerKind::dropout));
      c.spec.layers.back().rate = 0.4;
    }
  }
  if (rng.chance(0.3)) c.spec.layers.push_back(layer(LayerKind::global_avg_pool));
  if (rng.chance(0.5)) {
    c.spec.layers.push_back(layer(LayerKind::dense, between(1, 40)));
    if (rng.chance(0.5)) c.spec.layers.back().activation = Activation::relu;
  }
  return c;
}

// Stacks of convolutions that take the Winograd path: sizes that no tile divides, channels beside
// the panels' widths, both paddings.
Case winograd_case(std::uint64_t seed) {
  Rng rng(seed, 3, Purpose::synthetic);
  const auto between = [&rng](int low, int high) {
    return low + static_cast<int>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
  };
  Case c;
  c.batch = between(1, 3);
  c.spec.batch_size = c.batch + between(0, 1);
  c.data = {between(11, 17), between(11, 17), rng.chance(0.3) ? 16 : between(1, 4), 5, 100, 0, 0};
  for (int i = between(2, 3); i > 0; --i) {
    LayerSpec conv =
        layer(LayerKind::conv, between(rng.chance(0.3) ? 6 : 16, 70), rng.chance(0.5) ? 3 : 5, 1);
    conv.same = i > 1 || rng.chance(0.6);
    if (rng.chance(0.5)) conv.activation = Activation::relu;
    // After no padding a constant before a batch norm has no effect, nor a gradient to compare.
    conv.batch_norm = conv.same && rng.chance(0.3);
    c.spec.layers.push_back(conv);
  }
  return c;
}

// Every kind of layer, without kinks next to the point where the differences are taken.
Case every_layer() {
  Case c;
  c.batch = 4;
  c.spec.batch_size = 4;
  c.data = {7, 6, 2, 3, 100, 0, 0};
  c.spec.layers = {layer(LayerKind::conv, 3, 3, 1),     layer(LayerKind::batch_norm),
                   layer(LayerKind::activation),        layer(LayerKind::max_pool, 0, 2, 1, false),
                   layer(LayerKind::conv, 4, 3, 2),     layer(LayerKind::dropout),
                   layer(LayerKind::avg_pool, 0, 2, 1), layer(LayerKind::conv, 5, 2, 1, false),
                   layer(LayerKind::global_avg_pool),   layer(LayerKind::flatten),
                   layer(LayerKind::dense, 6)};
  // A bias right before a batch norm would have no gradient to compare.
  c.spec.layers[0].activation = c.spec.layers[2].activation = Activation::relu;
  c.spec.layers[5].rate = 0.3;
  c.spec.layers[7].activation = Activation::relu;
  c.spec.layers[7].batch_norm = true;
  c.spec.layers[10].activation = Activation::relu;
  return c;
}

void expect_differences(const Case& c) {
  const Plan plan = make_plan(c.spec, c.data);
  Reference reference(plan);
  fill(reference, 5);
  const auto images = scaled(pixels_of(c, 5));
  const auto labels = labels_of(c);
  reference.forward(images, labels, true, 9, 1);
  reference.backward();
  const auto gradients = reference.gradients;
  constexpr double kStep = 1e-6;
  for (std::size_t p = 0; p < gradients.size(); ++p) {
    for (std::size_t i = 0; i < gradients[p].size(); ++i) {
      double& value = reference.parameters[p][i];
      const double kept = value;
      value = kept + kStep;
      const double above = reference.forward(images, labels, true, 9, 1);
      value = kept - kStep;
      const double below = reference.forward(images, labels, true, 9, 1);
      value = kept;
      EXPECT_NEAR((above - below) / (2 * kStep), gradients[p][i], 1e-7)
          << plan.parameters[p].name << " " << i;
    }
  }
}

LayerSpec conv(int filters, int kernel, Activation activation, bool batch_norm = false) {
  LayerSpec out = layer(LayerKind::conv, filters, kernel);
  out.activation = activation;
  out.batch_norm = batch_norm;
  return out;
}

LayerSpec depthwise(int kernel, Activation activation) {
  LayerSpec out = layer(LayerKind::depthwise_conv, 0, kernel);
  out.activation = activation;
  return out;
}

LayerSpec squeeze_excite(int ratio) {
  LayerSpec out = layer(LayerKind::squeeze_excite);
  out.ratio = ratio;
  return out;
}

LayerSpec composed(LayerKind kind, std::vector<std::vector<LayerSpec>> bodies,
                   Activation activation = Activation::none) {
  LayerSpec out;
  out.kind = kind;
  out.bodies = std::move(bodies);
  out.activation = activation;
  return out;
}

// Every composer, nested, with and without a projection, and what is not in every_layer().
Case every_composer() {
  Case c;
  c.batch = 4;
  c.spec.batch_size = 4;
  c.data = {7, 6, 2, 3, 100, 0, 0};
  LayerSpec strided = conv(5, 3, Activation::gelu);
  strided.stride_height = 2;
  LayerSpec dilated = conv(4, 3, Activation::leaky_relu);
  dilated.dilation_height = 2;
  dilated.slope = 0.2;
  LayerSpec wide = depthwise(3, Activation::tanh);
  wide.dilation_width = 2;
  wide.batch_norm = true;
  const LayerSpec inner = composed(LayerKind::residual, {{wide, dilated}}, Activation::tanh);
  c.spec.layers = {
      composed(LayerKind::residual, {{conv(3, 3, Activation::silu, true), strided}},
               Activation::relu),
      composed(LayerKind::branches,
               {{inner, squeeze_excite(2)}, {}, {layer(LayerKind::avg_pool, 0, 3, 1)}}),
      composed(LayerKind::residual, {{squeeze_excite(4), depthwise(2, Activation::relu)}})};
  return c;
}

TEST(CnnReference, AgreesWithFiniteDifferencesOnComposers) { expect_differences(every_composer()); }

TEST(CnnReference, AgreesWithFiniteDifferences) { expect_differences(every_layer()); }

class EveryKernelSet : public testing::TestWithParam<const Kernels*> {};

TEST_P(EveryKernelSet, AgreesWithTheReferenceOnEveryComposer) {
  expect_reference(every_composer(), *GetParam(), 6, "every composer");
}

// Lists of layers that nest; with strides only where no branch would differ from another.
class RandomLayers {
 public:
  explicit RandomLayers(std::uint64_t seed) : rng_(seed, 3, Purpose::synthetic) {}

  int between(int low, int high) {
    return low + static_cast<int>(rng_.below(static_cast<std::uint64_t>(high - low + 1)));
  }

  std::vector<LayerSpec> list(int most, int depth, bool strides) {
    std::vector<LayerSpec> out;
    for (int i = between(1, most); i > 0; --i) out.push_back(one(depth, strides));
    return out;
  }

 private:
  LayerSpec one(int depth, bool strides) {
    const auto activation = static_cast<Activation>(between(0, 5));
    switch (between(depth < 2 ? -2 : 0, 4)) {
      case -2:
        return composed(LayerKind::residual, {list(2, depth + 1, strides)}, activation);
      case -1:
        return composed(LayerKind::branches,
                        {list(2, depth + 1, false),
                         rng_.chance(0.3) ? std::vector<LayerSpec>() : list(2, depth + 1, false)});
      case 0:
        return squeeze_excite(between(1, 5));
      case 1: {
        LayerSpec out = layer(LayerKind::activation);
        out.activation = activation == Activation::none ? Activation::gelu : activation;
        return out;
      }
      case 2:
        return windowed(layer(LayerKind::depthwise_conv), activation, strides);
      default:
        return windowed(layer(LayerKind::conv, between(3, 20)), activation, strides);
    }
  }

  LayerSpec windowed(LayerSpec out, Activation activation, bool strides) {
    out.height = between(1, 4);
    out.width = between(1, 4);
    out.dilation_height = between(1, 3);
    out.dilation_width = between(1, 2);
    if (strides && rng_.chance(0.4)) out.stride_height = out.stride_width = between(1, 3);
    out.activation = activation;
    out.batch_norm = rng_.chance(0.2);
    return out;
  }

  Rng rng_;
};

// A batch norm hides the factor of what lies before it: where that is all there is, as in a
// projection of one channel, a gradient vanishes but for rounding.
TEST_P(EveryKernelSet, AgreesWithTheReferenceOverRandomComposedNetworks) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    RandomLayers random(seed);
    Case c;
    c.batch = random.between(3, 5);
    c.spec.batch_size = c.batch;
    c.data = {random.between(6, 11),
              random.between(6, 11),
              random.between(1, 4),
              random.between(2, 12),
              100,
              0,
              0};
    c.spec.layers = random.list(3, 0, true);
    expect_reference(c, *GetParam(), seed, "composed, seed " + std::to_string(seed), 2e-5, 0.01);
  }
}

TEST_P(EveryKernelSet, AgreesWithTheReferenceOnEveryLayer) {
  expect_reference(every_layer(), *GetParam(), 5, "every layer");
}

TEST_P(EveryKernelSet, AgreesWithTheReferenceOverRandomNetworks) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed)
    expect_reference(random_case(seed), *GetParam(), seed, "seed " + std::to_string(seed));
}

// Winograd loses about a digit: bound 1e-4, where direct kernels hold 2e-5. With a ReLU, an input
// within the error of zero can fall on the other side: a share of the gradient of about one over
// the root of the number of pixels and channels.
TEST_P(EveryKernelSet, AgreesWithTheReferenceByWinograd) {
  int taken = 0;
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    const Case c = winograd_case(seed);
    const Plan plan = make_plan(c.spec, c.data);
    for (const Step& step : plan.steps)
      taken += step.op == Step::Op::conv &&
               uses_winograd(step, plan.tensors[static_cast<std::size_t>(step.inputs.front())],
                             plan.tensors[static_cast<std::size_t>(step.output)]);
    const bool relu =
        std::any_of(c.spec.layers.begin(), c.spec.layers.end(),
                    [](const LayerSpec& conv) { return conv.activation == Activation::relu; });
    expect_reference(c, *GetParam(), seed, "seed " + std::to_string(seed), relu ? 0.04 : 1e-4);
  }
  EXPECT_GT(taken, 24);
}

// Gradients that share memory, one of them read by several steps, with halos of whole tiles.
TEST_P(EveryKernelSet, AgreesWithTheReferenceByWinogradInsideComposers) {
  Case c;
  c.batch = 3;
  c.spec.batch_size = 4;
  c.data = {13, 15, 2, 3, 100, 0, 0};
  LayerSpec dilated = conv(24, 3, Activation::silu);
  dilated.dilation_height = dilated.dilation_width = 2;
  c.spec.layers = {
      conv(20, 3, Activation::gelu),
      composed(LayerKind::residual,
               {{conv(20, 3, Activation::tanh, true), conv(20, 5, Activation::none)}},
               Activation::silu),
      composed(LayerKind::branches, {{conv(18, 3, Activation::silu)}, {dilated}, {}}),
      composed(LayerKind::residual, {{conv(32, 5, Activation::gelu), squeeze_excite(4)}})};
  expect_reference(c, *GetParam(), 8, "composers", 1e-4);
}

TEST_P(EveryKernelSet, TakesNoWinogradWhereTheConfigSaysDirect) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    Case c = winograd_case(seed);
    c.spec.direct_kernels = true;
    expect_reference(c, *GetParam(), seed, "seed " + std::to_string(seed));
  }
}

TEST_P(EveryKernelSet, AgreesWithTheReferenceOnAWholeNet) {
  Case c;
  c.batch = 2;
  c.spec.batch_size = 2;
  c.data = {14, 14, 1, 10, 100, 0, 0};
  c.spec.layers = {layer(LayerKind::conv, 6, 5),
                   layer(LayerKind::max_pool, 0, 2, 2, false),
                   layer(LayerKind::conv, 16, 5, 1, false),
                   layer(LayerKind::max_pool, 0, 2, 1, false),
                   layer(LayerKind::dense, 30),
                   layer(LayerKind::dense, 21)};
  for (const std::size_t i : {0U, 2U, 4U, 5U}) c.spec.layers[i].activation = Activation::relu;
  expect_reference(c, *GetParam(), 3, "lenet");
}

// A batch norm with a convolution before it and a pool behind it is computed with both:
// convolutions of every kind, with parts of a batch that do not divide it, and norms without one of
// the two.
TEST_P(EveryKernelSet, AgreesWithTheReferenceOnABatchNormBetweenAConvolutionAndAPool) {
  for (std::uint64_t seed = 1; seed <= 16; ++seed) {
    Rng rng(seed, 5, Purpose::synthetic);
    const auto between = [&rng](int low, int high) {
      return low + static_cast<int>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
    };
    Case c;
    c.batch = between(2, 7);
    c.spec.batch_size = c.batch + between(0, 1);
    c.data = {2 * between(4, 7), 2 * between(4, 7), between(1, 3), between(2, 12), 100, 0, 0};
    for (int i = 0; i < 2; ++i) {
      c.spec.layers.push_back(conv(between(5, 40), 3, Activation::none, true));
      if (rng.chance(0.3)) c.spec.layers.back().height = 2;
      if (rng.chance(0.7)) c.spec.layers.back().activation = Activation::relu;
      if (rng.chance(0.2)) c.spec.layers.back().activation = Activation::tanh;
      c.spec.layers.push_back(
          layer(rng.chance(0.8) ? LayerKind::max_pool : LayerKind::avg_pool, 0, 2, 2, false));
    }
    c.spec.direct_kernels = rng.chance(0.5);
    // Winograd's error may move an input to the other side of a ReLU.
    expect_reference(c, *GetParam(), seed, "seed " + std::to_string(seed),
                     c.spec.direct_kernels ? 5e-5 : 0.04);
  }
}

// With the ReLU as a layer of its own nothing is computed together, and every value is the same.
TEST_P(EveryKernelSet, ComputesANormTogetherWithTheConvolutionBehindItToTheSameBits) {
  for (const int kernel : {3, 2}) {  // by Winograd and direct
    Case together;
    together.batch = together.spec.batch_size = 9;  // in two parts and more
    together.data = {12, 12, 3, 5, 100, 0, 0};
    together.spec.layers = {conv(20, 3, Activation::relu, true), conv(24, kernel, Activation::relu),
                            layer(LayerKind::global_avg_pool)};
    Case apart = together;
    apart.spec.layers[0].activation = Activation::none;
    apart.spec.layers.insert(apart.spec.layers.begin() + 1, layer(LayerKind::activation));
    apart.spec.layers[1].activation = Activation::relu;
    const auto trained = [](const Case& c) {
      auto network =
          std::make_unique<Network>(make_plan(c.spec, c.data), c.spec.optimizer, *GetParam());
      network->initialise(1);
      const auto pixels = pixels_of(c, 1);
      for (int n = 0; n < c.batch; ++n) network->set_image(n, pixels.data() + n * 12 * 12 * 3);
      const std::vector<int> labels = labels_of(c);
      const std::vector<std::uint16_t> all(labels.begin(), labels.end());
      for (const std::size_t count : {9U, 7U}) network->train({all.data(), count}, 0, 0);
      return network;
    };
    const auto one = trained(together), other = trained(apart);
    EXPECT_LT(one->memory().floats, other->memory().floats);
    ASSERT_EQ(one->plan().parameters.size(), other->plan().parameters.size());
    for (std::size_t p = 0; p < one->plan().parameters.size(); ++p)
      EXPECT_EQ(one->gradient(static_cast<int>(p)), other->gradient(static_cast<int>(p)));
    EXPECT_EQ(one->logits(6), other->logits(6));
  }
}

// Wide dense layers list the gradients that are not zero: behind a dropout few are, without one it
// depends on the batch.
TEST_P(EveryKernelSet, AgreesWithTheReferenceOnDenseLayersWithManyZeros) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    Rng rng(seed, 4, Purpose::synthetic);
    const auto between = [&rng](int low, int high) {
      return low + static_cast<int>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
    };
    Case c;
    c.batch = between(1, 7);
    c.spec.batch_size = c.batch + between(0, 1);
    c.data = {between(6, 9), between(6, 9), between(1, 3), between(2, 12), 100, 0, 0};
    c.spec.layers = {layer(LayerKind::conv, between(9, 40), 3, 2), layer(LayerKind::max_pool)};
    for (int i = 0; i < 3; ++i) {
      c.spec.layers.push_back(layer(LayerKind::dense, between(64, 150)));
      if (rng.chance(0.7)) c.spec.layers.back().activation = Activation::relu;
      c.spec.layers.push_back(layer(LayerKind::dropout));
      c.spec.layers.back().rate = 0.3 + 0.1 * between(0, 6);
    }
    expect_reference(c, *GetParam(), seed, "seed " + std::to_string(seed));
  }
}

// The gradient of a convolution's output has a halo; a dense layer writes between.
TEST_P(EveryKernelSet, AgreesWithTheReferenceOnADenseLayerAfterAConvolution) {
  Case c;
  c.data = {7, 9, 2, 4, 100, 0, 0};
  c.spec.layers = {layer(LayerKind::conv, 8, 3), layer(LayerKind::conv, 16, 3),
                   layer(LayerKind::dense, 9)};
  expect_reference(c, *GetParam(), 6, "dense");
}

// A dense layer that is split into several chunks of inputs, on an image of its own.
TEST_P(EveryKernelSet, AgreesWithTheReferenceOnAWideDenseLayer) {
  Case c;
  c.data = {15, 14, 3, 4, 100, 0, 0};
  c.spec.layers = {layer(LayerKind::dense, 37), layer(LayerKind::dense, 8)};
  c.spec.layers[0].activation = Activation::relu;
  expect_reference(c, *GetParam(), 4, "dense");
}

std::string set_name(const testing::TestParamInfo<const Kernels*>& set) { return set.param->name; }
INSTANTIATE_TEST_SUITE_P(Cnn, EveryKernelSet, testing::ValuesIn(available_kernels()), set_name);

}  // namespace
}  // namespace brood::cnn
