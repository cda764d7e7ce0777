// Goal: a device's forward values and gradients are right for every layer. Method: random networks
// run in the emulator, in several orders of its threads, beside the naive double reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/cnn_reference.h"
#include "tests/gpu_fixture.h"
#include "tests/gpu_networks.h"

namespace brood::cnn::cuda {
namespace {

using emulator::Order;

struct Case {
  NetworkSpec spec;
  DataShape data;
};

// The images [first, first + count) as numbers, and their labels.
std::vector<double> images_of(const MadeUpData& data, std::int64_t first, std::int64_t count) {
  const std::int64_t bytes = data.shape.height * data.shape.width * data.shape.channels;
  std::vector<double> out;
  for (std::int64_t i = first * bytes; i < (first + count) * bytes; ++i)
    out.push_back((static_cast<float>(data.pixels[static_cast<std::size_t>(i)]) / 255.0F - 0.5F) /
                  0.5F);
  return out;
}

std::vector<int> labels_of(const MadeUpData& data, std::int64_t first, std::int64_t count) {
  return {data.labels.begin() + first, data.labels.begin() + first + count};
}

// Two steps, of which the second has fewer samples, then an evaluation. The learning rate is 0.
void expect_reference(const Case& c, std::uint64_t seed, Order order, double bound,
                      Precision precision = Precision::fp32) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const MadeUpData data(c.data, seed);
  FusedTrials trials(c.spec, data, 1, precision);
  const double loss_bound = precision == Precision::fp32 ? 1e-5 : 0.02;
  ASSERT_EQ(trials.plan.infeasible, "");
  ASSERT_EQ(refused_for_device(c.spec, trials.plan), "");
  Reference reference(trials.plan);
  fill(reference, seed);
  trials.admit(0, c.spec, seed);
  trials.state(0).dropout_key = 77;
  for (std::size_t p = 0; p < reference.parameters.size(); ++p)
    trials.set_parameter(0, p, reference.parameters[p]);
  trials.write_order(0, 1, false);
  std::int64_t first = 0;
  double sum = 0.0;
  for (std::uint64_t batch = 0; batch < 2; ++batch) {
    const std::int64_t count = std::min<std::int64_t>(c.data.train - first, c.spec.batch_size);
    const double wanted = reference.forward(images_of(data, first, count),
                                            labels_of(data, first, count), true, 77, batch);
    reference.backward();
    trials.train({0}, order);
    sum += wanted * static_cast<double>(count);
    EXPECT_NEAR(trials.state(0).train.loss, sum, loss_bound * std::max(1.0, sum));
    double largest = 1e-2;
    for (const auto& gradient : reference.gradients) largest = std::max(largest, norm_of(gradient));
    for (std::size_t p = 0; p < reference.parameters.size(); ++p)
      EXPECT_LT(distance(trials.gradient(0, p), reference.gradients[p], 0.01 * largest), bound)
          << trials.plan.parameters[p].name;
    first += count;
  }
  EXPECT_EQ(trials.state(0).train.samples, c.data.train);
  const double wanted =
      reference.forward(images_of(data, c.data.train, c.data.validation),
                        labels_of(data, c.data.train, c.data.validation), false, 0, 0);
  trials.run(trials.program.validate, {0}, order);
  EXPECT_NEAR(trials.state(0).evaluated[0].loss / static_cast<double>(c.data.validation), wanted,
              10 * loss_bound * std::max(1.0, wanted));
}

Case random_case(std::uint64_t seed) {
  RandomLayers random(seed);
  Case c;
  c.spec.batch_size = random.between(3, 5);
  c.data = {random.between(6, 11),
            random.between(6, 11),
            random.between(1, 4),
            random.between(2, 12),
            2 * c.spec.batch_size - 1,
            3,
            0};
  c.spec.layers = random.list(3);
  return c;
}

TEST(DeviceGradients, AgreeWithTheReferenceOverRandomNetworks) {
  for (std::uint64_t seed = 1; seed <= 24; ++seed)
    expect_reference(random_case(seed), seed, static_cast<Order>(seed % 3), 3e-5);
}

// Every kind of step in bf16, without ReLUs and maxima, whose sides rounding may change: about
// three digits of what each step stores.
TEST(DeviceGradients, AgreeWithTheReferenceInBf16) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    Case c;
    c.spec.batch_size = 6;
    c.data = {7, 6, 2, 3, 11, 3, 0};
    LayerSpec body = layer(LayerKind::residual), sides = layer(LayerKind::branches);
    body.bodies = {{with(layer(LayerKind::conv, 12, 3), Activation::silu, seed % 2 == 0)}};
    body.activation = Activation::tanh;
    LayerSpec gate = layer(LayerKind::squeeze_excite), drop = layer(LayerKind::dropout);
    gate.ratio = 1;
    drop.rate = 0.2;
    sides.bodies = {{with(layer(LayerKind::depthwise_conv, 0, 3), Activation::gelu)},
                    {layer(LayerKind::avg_pool, 0, 3)},
                    {}};
    c.spec.layers = {with(layer(LayerKind::conv, 12, 3), Activation::gelu, true), body, drop, sides,
                     with(layer(LayerKind::dense, 9), Activation::tanh)};
    if (seed > 3) c.spec.layers.insert(c.spec.layers.begin() + 1, gate);
    expect_reference(c, seed, static_cast<Order>(seed % 3), 0.05, Precision::bf16);
  }
}

// Norms with pools behind them, of even and odd sizes, with and without a ReLU; one whose values
// are read twice; sums with one norm before them, with two, with one that has a ReLU of its own.
NetworkSpec paired_spec(std::uint64_t seed) {
  NetworkSpec out;
  out.batch_size = 6;
  const auto conv = [](int filters, Activation activation) {
    return with(layer(LayerKind::conv, filters, 3), activation, true);
  };
  const Activation some = seed % 2 ? Activation::relu : Activation::none;
  const LayerSpec pool = layer(LayerKind::max_pool, 0, 2, 2, false);
  LayerSpec sides = layer(LayerKind::branches), same = layer(LayerKind::residual);
  sides.bodies = {{pool}, {pool}};
  same.activation = Activation::relu;
  same.bodies = {{conv(4, Activation::relu), conv(5, Activation::none)}};
  LayerSpec wider = same;
  wider.activation = Activation::none;
  wider.bodies = {{conv(12, some)}};
  out.layers = {conv(5, some),
                pool,
                same,
                wider,
                sides,
                conv(9, Activation::relu),
                layer(LayerKind::max_pool, 0, 2, 2, true)};
  return out;
}

TEST(DeviceGradients, ANormAndWhatIsBehindItAreOneToTheBitsOfTwo) {
  for (const std::uint64_t seed : {2, 3}) {
    Case c{paired_spec(seed), {seed % 3 ? 13 : 8, 11, 2, 3, 11, 3, 0}};
    expect_reference(c, seed, static_cast<Order>(seed % 3), 3e-5);
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      const MadeUpData data(c.data, seed);
      c.spec.optimizer.learning_rate = 0.1;
      const Fusion whole{true, true, true, false}, apart{false, true, true, false};
      FusedTrials one(c.spec, data, 1, precision, whole), two(c.spec, data, 1, precision, apart);
      EXPECT_LT(one.program.train.size(), two.program.train.size());
      EXPECT_LT(one.memory.slot_bytes, two.memory.slot_bytes);
      for (FusedTrials* trials : {&one, &two}) {
        trials->admit(0, c.spec, seed);
        trials->write_order(0, 1, true);
        for (int batch = 0; batch < 2; ++batch) trials->train({0}, Order::reverse);
        trials->run(trials->program.validate, {0});
      }
      EXPECT_EQ(one.kept(0), two.kept(0)) << "seed " << seed;
    }
    c.spec.optimizer.learning_rate = 0.0;
  }
}

// Convolutions that read what a norm makes of its input, with bands of rows and with whole images
// in a tile, of 16, 32 and 64 channels, with and without a ReLU; one norm is read by two.
NetworkSpec spec_of_norms_that_are_read(std::uint64_t seed) {
  NetworkSpec out;
  out.batch_size = 3;
  const auto conv = [](int filters, Activation activation, int kernel = 3) {
    return with(layer(LayerKind::conv, filters, kernel), activation, true);
  };
  const Activation some = seed % 2 ? Activation::relu : Activation::none;
  LayerSpec same = layer(LayerKind::residual), sides = layer(LayerKind::branches);
  same.activation = Activation::relu;
  same.bodies = {{conv(29, Activation::relu), conv(16, Activation::none)}};
  sides.bodies = {{conv(6, some)}, {conv(8, Activation::tanh)}};
  out.layers = {
      conv(seed == 2 ? 14 : 57, some), conv(12, Activation::relu), same, conv(16, some), sides,
      conv(10, Activation::relu, 1)};
  return out;
}

TEST(DeviceGradients, ANormsValuesAreMadeWhereTheyAreReadToTheBitsOfStoredOnes) {
  for (const std::uint64_t seed : {2, 3}) {
    const DataShape shape{seed == 2 ? 17 : 6, 9, 2, 3, 5, 3, 0};
    NetworkSpec spec = spec_of_norms_that_are_read(seed);
    spec.optimizer.learning_rate = 0.1;
    const MadeUpData data(shape, seed);
    const Fusion stored{true, false, true, true};
    FusedTrials one(spec, data, 1, Precision::bf16), two(spec, data, 1, Precision::bf16, stored);
    // The statistics stay with a launch of their own, the values do not.
    EXPECT_EQ(one.program.train.size() + 3, two.program.train.size());
    EXPECT_LT(one.memory.slot_bytes, two.memory.slot_bytes);
    for (FusedTrials* trials : {&one, &two}) {
      trials->admit(0, spec, seed);
      trials->write_order(0, 1, true);
      for (int batch = 0; batch < 2; ++batch)
        trials->train({0}, batch ? Order::reverse : Order::permuted);
      trials->run(trials->program.validate, {0});
    }
    EXPECT_EQ(one.kept(0), two.kept(0)) << "seed " << seed;
  }
}

// Residuals of several kinds, one behind another: what goes past a body is added where the body's
// gradient is, from the sum's own.
TEST(DeviceGradients, ASumsGradientIsAddedToTheBitsOfACopy) {
  const auto conv = [](int filters, Activation activation) {
    return with(layer(LayerKind::conv, filters, 3), activation, true);
  };
  LayerSpec same = layer(LayerKind::residual), bare = same, deep = same;
  same.bodies = {{conv(14, Activation::relu), conv(14, Activation::none)}};
  same.activation = Activation::relu;
  bare.bodies = {{layer(LayerKind::conv, 14, 2)}};
  deep.bodies = {{layer(LayerKind::conv, 14, 1), same}};
  NetworkSpec spec;
  spec.batch_size = 4;
  spec.optimizer.learning_rate = 0.1;
  spec.layers = {conv(14, Activation::relu), same, same, bare, same, deep, same};
  const MadeUpData data({6, 7, 2, 3, 7, 3, 0}, 5);
  const Fusion copied{true, true, true, true, false};
  FusedTrials one(spec, data, 1, Precision::bf16), two(spec, data, 1, Precision::bf16, copied);
  EXPECT_EQ(one.program.train.size() + 5, two.program.train.size());
  for (FusedTrials* trials : {&one, &two}) {
    trials->admit(0, spec, 5);
    trials->write_order(0, 1, true);
    for (int batch = 0; batch < 2; ++batch) trials->train({0}, Order::reverse);
  }
  EXPECT_EQ(one.kept(0), two.kept(0));
}

// A batch of several chunks of images, whose sums are put together, then one of a single chunk.
TEST(DeviceGradients, AgreeWithTheReferenceOverSeveralChunks) {
  Case c;
  c.spec.batch_size = 70;
  c.data = {8, 8, 1, 3, 80, 3, 0};
  c.spec.layers = {with(layer(LayerKind::conv, 3, 3), Activation::relu, true),
                   with(layer(LayerKind::depthwise_conv, 0, 3), Activation::tanh),
                   layer(LayerKind::conv, 2, 1)};
  expect_reference(c, 1, Order::permuted, 3e-5);
}

}  // namespace
}  // namespace brood::cnn::cuda
