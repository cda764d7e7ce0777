// Goal: products on tensor cores are right. Method: a convolution between two others, or a dense
// layer, runs in the emulator; its output and both gradients are computed again in double from the
// very numbers that it read. Only the rounding of what is stored in bf16 may differ.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "tests/gpu_fixture.h"
#include "tests/gpu_networks.h"
#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/device.h"

namespace brood::cnn::cuda {
namespace {

using emulator::Order;

std::size_t z(std::int64_t value) { return static_cast<std::size_t>(value); }

// The values of a batch without the lanes that are no channels, which must be zero.
std::vector<double> stored(FusedTrials& trials, const Tensor& tensor, int samples) {
  const auto* from = reinterpret_cast<const Bf16*>(trials.floats(0, tensor.offset));
  std::vector<double> out;
  for (int pixel = 0; pixel < samples * tensor.height * tensor.width; ++pixel)
    for (int c = 0; c < tensor.pitch; ++c) {
      const double value = static_cast<double>(to_float(from[pixel * tensor.pitch + c]));
      if (c < tensor.channels)
        out.push_back(value);
      else
        EXPECT_EQ(value, 0.0);
    }
  return out;
}

// A layer's products in double.
struct Naive {
  Step step;  // of a dense layer: with the kernel as large as the image
  Shape in, out;
  int samples;

  // Calls visit(x, weight, y) with the index of every product's factors and sum.
  template <class Visit>
  void each(Visit visit) const {
    for (int n = 0; n < samples; ++n)
      for (int p = 0; p < out.height * out.width; ++p)
        for (int t = 0; t < step.kernel_height * step.kernel_width; ++t) {
          const int row = p / out.width * step.stride_height +
                          t / step.kernel_width * step.dilation_height - step.pad_top;
          const int column = p % out.width * step.stride_width +
                             t % step.kernel_width * step.dilation_width - step.pad_left;
          if (row < 0 || row >= in.height || column < 0 || column >= in.width) continue;
          for (int i = 0; i < in.channels; ++i)
            for (int o = 0; o < out.channels; ++o)
              visit(z(((n * in.height + row) * in.width + column) * in.channels + i),
                    z((t * in.channels + i) * out.channels + o),
                    z((n * out.height * out.width + p) * out.channels + o));
        }
  }
};

void expect_close(const std::vector<double>& got, const std::vector<double>& wanted, double share,
                  const char* what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  double largest = 0.0;
  for (const double value : wanted) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < wanted.size(); ++i)
    ASSERT_NEAR(got[i], wanted[i], share * std::abs(wanted[i]) + 1e-5 * largest)
        << what << " " << i;
}

// The launches up to the one that leaves a tensor's gradient, and the sums of chunks.
std::vector<Launch> until_gradient_of(const FusedTrials& trials, int tensor, const Step& step) {
  std::vector<Launch> out;
  for (const Launch& launch : trials.program.train) {
    out.push_back(launch);
    if (!launch.what.starts_with(step.pointer + ":")) continue;
    if (launch.kernel < KernelId::tensor_forward_16 || launch.kernel > KernelId::halo_64_32)
      continue;
    TensorArguments a{};  // what the arguments of both kinds begin with
    std::memcpy(&a, launch.arguments.data(), sizeof(a));
    if (a.to.offset != trials.memory.slopes[z(tensor)].offset) continue;
    for (const Launch& other : trials.program.train)
      if (other.kernel == KernelId::sum_partials) out.push_back(other);
    return out;
  }
  ADD_FAILURE() << "no launch for " << step.pointer;
  return out;
}

// Of a network whose step 1 is the one to look at; two steps of training, the second with fewer
// samples.
void expect_exact_products(NetworkSpec spec, DataShape shape, std::uint64_t seed) {
  for (std::size_t i = 0; i < spec.layers.size(); ++i)
    spec.layers[i].pointer = "/layers/" + std::to_string(i);
  const MadeUpData data(shape, seed);
  FusedTrials trials(spec, data, 1, Precision::bf16);
  ASSERT_EQ(trials.plan.infeasible, "");
  trials.admit(0, spec, seed);
  trials.write_order(0, 1, false);
  for (int round = 0; round < 2; ++round) {
    Naive naive{trials.plan.steps[1], {}, {}, 0};
    const Step& step = trials.plan.steps[1];
    const int x_tensor = step.inputs.front(), y_tensor = step.output;
    naive.in = trials.plan.tensors[z(x_tensor)];
    naive.out = trials.plan.tensors[z(y_tensor)];
    if (step.op == Step::Op::dense) {
      naive.step.kernel_height = naive.in.height;
      naive.step.kernel_width = naive.in.width;
    }
    const auto order = static_cast<Order>((seed + static_cast<unsigned>(round)) % 3);
    trials.run(until_gradient_of(trials, x_tensor, step), {0}, order);
    naive.samples = trials.state(0).samples;
    const auto x = stored(trials, trials.memory.values[z(x_tensor)], naive.samples);
    const auto y = stored(trials, trials.memory.values[z(y_tensor)], naive.samples);
    const auto dx = stored(trials, trials.memory.slopes[z(x_tensor)], naive.samples);
    const auto dy = stored(trials, trials.memory.slopes[z(y_tensor)], naive.samples);
    std::vector<double> weight;
    for (const float value : trials.parameter(0, z(step.weight)))
      weight.push_back(static_cast<double>(to_float(from_float<Bf16>(value))));
    const std::vector<float> bias = trials.parameter(0, z(step.bias));
    std::vector<double> sum(y.size()), x_slope(x.size()), w_slope(weight.size());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = bias[i % bias.size()];
    naive.each([&](std::size_t i, std::size_t w, std::size_t o) {
      sum[o] += x[i] * weight[w];
      x_slope[i] += dy[o] * weight[w];
      w_slope[w] += x[i] * dy[o];
    });
    if (step.relu)
      for (double& value : sum) value = std::max(value, 0.0);
    const std::vector<float> gradient = trials.gradient(0, z(step.weight));
    const double bf16 = 1.0 / 256;
    expect_close(y, sum, bf16, "output");
    expect_close(dx, x_slope, bf16, "input gradient");
    // Tensor cores cut sums off where the emulator rounds them: up to half a thousand times here.
    expect_close({gradient.begin(), gradient.end()}, w_slope, 6e-5, "weight gradient");
    ++trials.state(0).step;  // the launches left out end the step
  }
}

TEST(TensorCores, MultiplyConvolutionsOfAnyShape) {
  for (std::uint64_t seed = 1; seed <= 14; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomLayers random(seed);
    NetworkSpec spec;
    spec.batch_size = random.between(2, 5);
    spec.initialization = Initialization::pytorch;  // biases too
    spec.layers = {layer(LayerKind::conv, random.between(1, random.chance(0.5) ? 20 : 70), 1),
                   layer(LayerKind::conv, random.between(1, random.chance(0.5) ? 20 : 70))};
    LayerSpec& conv = spec.layers[1];
    conv.height = random.between(1, 5);
    conv.width = random.between(1, 4);
    conv.stride_height = random.between(1, 3);
    conv.stride_width = random.between(1, 2);
    conv.dilation_height = random.between(1, 2);
    conv.dilation_width = random.between(1, 3);
    conv.same = random.chance(0.7);
    if (random.chance(0.5)) conv.activation = Activation::relu;
    const int low = conv.same ? 5 : 9;
    expect_exact_products(
        spec,
        {random.between(low, 12), random.between(low, 12), 2, 3, 2 * spec.batch_size - 1, 1, 0},
        seed);
  }
}

// Of kernels with 3x3 taps between 16, 32 or 64 channels, in bands of rows or of whole images.
TEST(TensorCores, MultiplyThroughHalos) {
  std::set<KernelId> seen;
  constexpr int kChannels[][2] = {{16, 16}, {16, 32}, {32, 64}, {64, 16}};
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomLayers random(seed);
    NetworkSpec spec;
    spec.initialization = Initialization::pytorch;
    const auto& [in, out] = kChannels[seed / 2];
    spec.layers = {layer(LayerKind::conv, random.between(in - 7, in), 1),
                   layer(LayerKind::conv, random.between(out - 7, out), 3)};
    if (random.chance(0.5)) spec.layers[1].activation = Activation::relu;
    const bool wide = seed % 2 == 0;
    spec.batch_size = wide ? 2 : random.between(3, 12);
    const DataShape shape{wide ? random.between(9, 14) : random.between(2, 5),
                          wide ? random.between(14, 20) : random.between(2, 6),
                          1,
                          3,
                          2 * spec.batch_size - 1,
                          1,
                          0};
    expect_exact_products(spec, shape, seed);
    const MadeUpData data(shape, seed);
    const FusedTrials trials(spec, data, 1, Precision::bf16);
    for (const Launch& launch : trials.program.train)
      if (launch.kernel >= KernelId::halo_16_16 && launch.kernel <= KernelId::halo_gradient_32_32)
        seen.insert(launch.kernel);
  }
  EXPECT_EQ(seen.size(), 10U);
}

// A batch of several chunks of images, then one of a single chunk.
TEST(TensorCores, AddUpTheWeightGradientsOfChunks) {
  for (const int kernel : {3, 2}) {
    NetworkSpec spec;
    spec.initialization = Initialization::pytorch;
    spec.batch_size = 70;
    spec.layers = {layer(LayerKind::conv, 3, 1), layer(LayerKind::conv, 5, kernel)};
    ASSERT_LT(images_per_chunk(8 * 8), 70);
    expect_exact_products(spec, {8, 8, 1, 3, 80, 1, 0}, 1);
  }
}

// Layers of any shape, more of them than one launch has entries: what lies packed is the weights.
TEST(TensorCores, ReadTheWeightsOfEveryLayerInBothOrders) {
  RandomLayers random(3);
  NetworkSpec spec;
  spec.batch_size = 1;
  spec.layers = {layer(LayerKind::conv, 40, 2)};
  while (spec.layers.size() < kTableMax)
    spec.layers.push_back(layer(LayerKind::conv, random.between(1, 7), random.between(1, 2)));
  spec.layers.push_back(layer(LayerKind::dense, 70));
  const DataShape shape{2, 3, 1, 3, 1, 1, 0};
  const MadeUpData data(shape, 1);
  FusedTrials trials(spec, data, 1, Precision::bf16);
  ASSERT_EQ(trials.plan.infeasible, "");
  trials.admit(0, spec, 9);
  std::vector<Launch> packing;
  for (const Launch& launch : trials.program.train)
    if (launch.kernel == KernelId::pack_weights) packing.push_back(launch);
  EXPECT_EQ(packing.size(), 2U);
  trials.run(packing, {0}, Order::permuted);
  for (std::size_t i = 0; i < trials.plan.steps.size(); ++i) {
    const Step& step = trials.plan.steps[i];
    const Tensor& x = trials.memory.values[z(step.inputs.front())];
    const Tensor& y = trials.memory.values[z(step.output)];
    if (step.weight < 0) continue;
    SCOPED_TRACE("step " + std::to_string(i));
    const std::vector<float> weight = trials.parameter(0, z(step.weight));
    const bool dense = step.op == Step::Op::dense;
    const int taps = dense ? x.height * x.width : step.kernel_height * step.kernel_width;
    const auto* forward = reinterpret_cast<const Bf16*>(trials.floats(0, trials.memory.packed[i]));
    const std::int64_t place = trials.memory.packed_gradient[i];
    const auto* gradient = reinterpret_cast<const Bf16*>(trials.floats(0, place));
    for (int t = 0; t < taps; ++t)
      for (int in = 0; in < x.pitch; ++in)
        for (int out = 0; out < y.pitch; ++out) {
          const bool exists = in < x.channels && out < y.channels;
          const float wanted = exists ? weight[z((t * x.channels + in) * y.channels + out)] : 0.0F;
          const auto bits = from_float<Bf16>(wanted).bits;
          if (out < y.channels) {
            ASSERT_EQ(forward[(out * taps + t) * x.pitch + in].bits, bits);
          }
          if (place < 0 || (!dense && in >= x.channels)) continue;
          const int row = dense ? t * x.pitch + in : in * taps + t;
          ASSERT_EQ(gradient[row * y.pitch + out].bits, bits);
        }
  }
}

TEST(TensorCores, MultiplyDenseLayers) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomLayers random(seed);
    NetworkSpec spec;
    spec.batch_size = random.between(2, 9);
    spec.initialization = Initialization::pytorch;
    spec.layers = {layer(LayerKind::conv, random.between(1, 20), 1),
                   layer(LayerKind::dense, random.between(1, 80))};
    if (random.chance(0.5)) spec.layers[1].activation = Activation::relu;
    expect_exact_products(
        spec, {random.between(2, 6), random.between(2, 6), 1, 3, 2 * spec.batch_size - 1, 1, 0},
        seed);
  }
}

// --- batch norms whose sums products take ---

// What norm_prepare and norm_slopes leave, a number for each channel.
struct NormNumbers {
  std::vector<double> mean, inverse, scale_slope, shift_slope;
};

// The gradient of maxima, each at its own place of x.
std::vector<double> at_maxima(FusedTrials& trials, const Step& pool, const std::vector<double>& dy,
                              int samples) {
  const Tensor& from = trials.memory.values[z(pool.inputs.front())];
  const Tensor& to = trials.memory.values[z(pool.output)];
  const auto* places = reinterpret_cast<const unsigned char*>(
      trials.floats(0, trials.memory.saved[z(&pool - trials.plan.steps.data())]));
  std::vector<double> out(z(std::int64_t{1} * samples * from.height * from.width * from.channels));
  std::size_t next = 0;
  for (int n = 0; n < samples; ++n)
    for (int y = 0; y < to.height; ++y)
      for (int x = 0; x < to.width; ++x)
        for (int c = 0; c < to.channels; ++c, ++next) {
          const int place = places[((n * to.height + y) * to.width + x) * to.pitch + c];
          const int row = 2 * y + place / 2, column = 2 * x + place % 2;
          out[z(((n * from.height + row) * from.width + column) * from.channels + c)] = dy[next];
        }
  return out;
}

// From what lies in the slot after a step, in double. slopes: of the norm's pair, or of its values.
NormNumbers numbers_of(FusedTrials& trials, const Step& norm, int pair, int samples) {
  const DeviceMemory& m = trials.memory;
  const Tensor& x_tensor = m.values[z(norm.inputs.front())];
  const int behind = pair < 0 ? norm.output : trials.plan.steps[z(pair)].output;
  const std::vector<double> x = stored(trials, x_tensor, samples);
  std::vector<double> dy = stored(trials, m.slopes[z(behind)], samples);
  if (pair >= 0 && trials.plan.steps[z(pair)].op == Step::Op::max_pool)
    dy = at_maxima(trials, trials.plan.steps[z(pair)], dy, samples);
  std::vector<double> mask(dy.size(), 1.0);
  if (pair >= 0 && trials.plan.steps[z(pair)].relu)
    mask = stored(trials, m.values[z(behind)], samples);
  const auto channels = z(x_tensor.channels);
  const std::vector<float> scale = trials.parameter(0, z(norm.weight));
  const std::vector<float> shift = trials.parameter(0, z(norm.bias));
  NormNumbers out;
  for (std::size_t c = 0; c < channels; ++c) {
    const double count = static_cast<double>(x.size() / channels);
    double mean = 0.0, variance = 0.0, products = 0.0, slopes = 0.0;
    for (std::size_t i = c; i < x.size(); i += channels) mean += x[i] / count;
    for (std::size_t i = c; i < x.size(); i += channels)
      variance += (x[i] - mean) * (x[i] - mean) / count;
    const double inverse = 1.0 / std::sqrt(variance + 1e-5);
    for (std::size_t i = c; i < x.size(); i += channels) {
      const double value = (x[i] - mean) * inverse;
      if (!(mask[i] > 0.0) || (norm.relu && !(value * scale[c] + shift[c] > 0.0))) continue;
      slopes += dy[i];
      products += dy[i] * value;
    }
    out.mean.push_back(mean);
    out.inverse.push_back(inverse);
    out.scale_slope.push_back(products);
    out.shift_slope.push_back(slopes);
  }
  return out;
}

// The launches up to the one that puts a norm's slopes together.
std::vector<Launch> until_slopes_of(const FusedTrials& trials, const Step& norm) {
  std::vector<Launch> out;
  for (const Launch& launch : trials.program.train) {
    out.push_back(launch);
    if (launch.kernel == KernelId::norm_slopes && launch.what.starts_with(norm.pointer + ":"))
      return out;
  }
  ADD_FAILURE() << "no launch for " << norm.pointer;
  return out;
}

// The sums of every norm of a network, over two steps; the second has fewer samples. Returns how
// many were taken by products.
int expect_exact_norms(const NetworkSpec& spec, const DataShape& shape, std::uint64_t seed) {
  const MadeUpData data(shape, seed);
  int taken = 0;
  FusedTrials first(spec, data, 1, Precision::bf16);
  for (std::size_t i = 0; i < first.plan.steps.size(); ++i) {
    if (first.plan.steps[i].op != Step::Op::batch_norm) continue;
    FusedTrials trials(spec, data, 1, Precision::bf16);
    const Step& norm = trials.plan.steps[i];
    SCOPED_TRACE(norm.pointer);
    const NormFusion& sums = trials.memory.norms[i];
    taken += (sums.statistics >= 0) + (sums.slopes >= 0);
    trials.admit(0, spec, seed);
    // Values far from zero: a difference of large sums would be wrong.
    const Parameter& weight = trials.plan.parameters[z(trials.plan.steps[i - 1].weight)];
    std::vector<double> near_one(z(weight.inputs * weight.columns));
    for (std::size_t w = 0; w < near_one.size(); ++w)
      near_one[w] = 1.0 + 0.01 * static_cast<double>((w * 37 + seed) % 19);
    trials.set_parameter(0, z(norm.weight - 1), near_one);
    trials.write_order(0, 1, false);
    for (int round = 0; round < 2; ++round) {
      trials.run(until_slopes_of(trials, norm), {0},
                 static_cast<Order>((seed + static_cast<unsigned>(round)) % 3));
      const int channels = trials.memory.values[z(norm.output)].channels;
      const float* saved = trials.floats(0, trials.memory.saved[i]);
      const auto array = [&](NormArray which) {
        const float* from = saved + norm_place(which, channels);
        return std::vector<double>(from, from + channels);
      };
      const NormNumbers wanted =
          numbers_of(trials, norm, trials.memory.paired[i], trials.state(0).samples);
      expect_close(array(NormArray::mean), wanted.mean, 1e-6, "mean");
      expect_close(array(NormArray::inverse), wanted.inverse, 1e-5, "inverse");
      const std::vector<float> scale = trials.gradient(0, z(norm.weight));
      const std::vector<float> shift = trials.gradient(0, z(norm.bias));
      expect_close({shift.begin(), shift.end()}, wanted.shift_slope, 1e-4, "shift");
      expect_close({scale.begin(), scale.end()}, wanted.scale_slope, 1e-3, "scale");
      ++trials.state(0).step;  // the launches left out end the step
    }
  }
  return taken;
}

TEST(TensorCores, SumForTheNormsAroundThem) {
  const auto conv = [](int filters, int kernel, Activation activation, int stride = 1) {
    return with(layer(LayerKind::conv, filters, kernel, stride), activation, true);
  };
  int taken = 0;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    NetworkSpec spec;
    spec.batch_size = 4;
    spec.initialization = Initialization::pytorch;
    LayerSpec block = layer(LayerKind::residual);
    block.activation = seed == 2 ? Activation::none : Activation::relu;
    const int wide = seed == 1 ? 13 : 30;  // of halo kernels, of several tiles a block
    block.bodies = {{conv(wide, 3, Activation::relu), conv(wide, 3, Activation::none)}};
    spec.layers = {conv(wide, 2, Activation::relu), block,
                   conv(seed == 3 ? 40 : 15, 3, Activation::relu, seed == 2 ? 2 : 1),
                   conv(9, 2, Activation::none), conv(7, 1, Activation::relu)};
    const LayerSpec pool = layer(LayerKind::max_pool, 0, 2, 2, false);
    if (seed > 1) spec.layers.insert(spec.layers.begin() + 3, pool);
    if (seed > 2) spec.layers.insert(spec.layers.begin() + 1, pool);
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
      spec.layers[i].pointer = "/layers/" + std::to_string(i);
      for (auto& body : spec.layers[i].bodies)
        for (std::size_t j = 0; j < body.size(); ++j)
          body[j].pointer = spec.layers[i].pointer + "/body/" + std::to_string(j);
    }
    const int size = seed == 2 ? 14 : 6;
    taken += expect_exact_norms(spec, {size, size + 1, 2, 3, 7, 1, 0}, seed);
  }
  EXPECT_GT(taken, 30);
}

}  // namespace
}  // namespace brood::cnn::cuda
