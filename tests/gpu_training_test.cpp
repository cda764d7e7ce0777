// Goal: a trial on a device is the CPU's trial, and fusion is invisible. Method: streams, schedules
// and images are compared bit by bit with the CPU's, metrics of whole trainings closely; trials
// alone, fused, in other slots and with changing company must have the same bits.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/exact_math.h"
#include "engine/rng.h"
#include "tests/gpu_fixture.h"
#include "tests/gpu_networks.h"
#include "trainers/cnn/augment.h"
#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/random.h"
#include "trainers/cnn/network.h"
#include "trainers/cnn/schedule.h"

namespace brood::cnn::cuda {
namespace {

using emulator::Order;

TEST(DeviceRandom, HasTheWordsOfTheEnginesStreams) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Rng wanted = Rng(seed * 0x123456789abcdefU, seed << 33U, Purpose::augment);
    Stream got(seed * 0x123456789abcdefU, seed << 33U, 8);
    for (int part = 0; part < 3; ++part) {
      for (int i = 0; i < 5; ++i) EXPECT_EQ(got.bits(), wanted.bits());
      EXPECT_EQ(got.uniform(), wanted.uniform());
      EXPECT_EQ(got.below(1000 + seed), wanted.below(1000 + seed));
      EXPECT_EQ(got.normal(), wanted.normal());
      wanted = wanted.split(static_cast<std::uint32_t>(seed));
      got = got.split(static_cast<std::uint32_t>(seed));
    }
    const double x = wanted.uniform() * 40 - 20;
    EXPECT_EQ(exact::exp(x), brood::exact::exp(x));
    EXPECT_EQ(exact::log(x * x), brood::exact::log(x * x));
    EXPECT_EQ(exact::pow(x * x, x), brood::exact::pow(x * x, x));
  }
}

NetworkSpec small_net() {
  NetworkSpec spec;
  spec.batch_size = 8;
  spec.epochs = 2;
  spec.optimizer.learning_rate = 0.05;
  LayerSpec drop = layer(LayerKind::dropout);
  drop.rate = 0.25;
  spec.layers = {with(layer(LayerKind::conv, 6, 3), Activation::relu, true),
                 layer(LayerKind::max_pool, 0, 2, 2, false),
                 drop,
                 with(layer(LayerKind::conv, 5, 3), Activation::gelu),
                 layer(LayerKind::global_avg_pool),
                 with(layer(LayerKind::dense, 9), Activation::relu)};
  return spec;
}

const DataShape kShape{8, 7, 2, 4, 21, 5, 11};

AugmentSpec change(AugmentSpec::Kind kind, double value) {
  AugmentSpec out;
  out.kind = kind;
  out.probability = value;
  out.pixels = static_cast<int>(value);
  out.alpha = value;
  return out;
}

// Every optimizer, schedule and kind of augmentation; all of one class: two moments and an average.
std::vector<NetworkSpec> every_option() {
  std::vector<NetworkSpec> out(5, small_net());
  using Kind = OptimizerSpec::Kind;
  for (NetworkSpec& spec : out) spec.optimizer.ema = 0.9;
  out[0].optimizer.kind = Kind::adam;
  out[0].optimizer.learning_rate = 0.01;
  out[0].optimizer.weight_decay = 0.01;
  out[0].schedule.kind = ScheduleSpec::Kind::cosine;
  out[0].schedule.warmup_epochs = 0.5;
  out[0].augment = {change(AugmentSpec::Kind::flip, 0.5), change(AugmentSpec::Kind::translate, 2),
                    change(AugmentSpec::Kind::cutout, 3)};
  out[1].optimizer.kind = Kind::adamw;
  out[1].optimizer.learning_rate = 0.02;
  out[1].optimizer.weight_decay = 0.1;
  out[1].schedule.kind = ScheduleSpec::Kind::one_cycle;
  out[1].augment = {change(AugmentSpec::Kind::mixup, 0.4), change(AugmentSpec::Kind::flip, 0.3)};
  out[1].label_smoothing = 0.1;
  out[2].optimizer.kind = Kind::rmsprop;
  out[2].optimizer.learning_rate = 0.003;
  out[2].optimizer.momentum = 0.8;
  out[2].schedule.kind = ScheduleSpec::Kind::step;
  out[2].schedule.every_epochs = 0.7;
  out[2].augment = {change(AugmentSpec::Kind::mixup, 1.7)};
  out[3].optimizer.kind = Kind::adam;
  out[3].optimizer.learning_rate = 0.005;
  out[3].optimizer.clip_norm = 0.4;
  out[3].label_smoothing = 0.2;
  out[4].optimizer.kind = Kind::adamw;
  out[4].optimizer.learning_rate = 0.004;
  out[4].layers[2].rate = 0.6;
  return out;
}

// What Network makes of the same batches; epoch by epoch the sums of losses.
struct CpuTrial {
  CpuTrial(const NetworkSpec& of, const MadeUpData& made_up, std::uint64_t trial_seed)
      : spec(of),
        data(made_up),
        seed(trial_seed),
        images(view_of(made_up)),
        network(make_plan(spec, data.shape), spec.optimizer, *available_kernels().back(),
                spec.label_smoothing),
        augmenter(spec.augment, images, seed) {
    network.initialise(seed);
  }

  static Dataset view_of(const MadeUpData& data) {
    Dataset out;
    out.height = data.shape.height;
    out.width = data.shape.width;
    out.channels = data.shape.channels;
    out.classes = data.shape.classes;
    out.train = {static_cast<std::int64_t>(data.labels.size()), data.pixels, data.labels};
    return out;
  }

  double train_epoch(int epoch) {
    double sum = 0.0;
    const auto order =
        shuffled(data.shape.train, Rng(seed, static_cast<std::uint64_t>(epoch), Purpose::shuffle));
    const std::uint64_t key = Rng(seed, 0, Purpose::dropout).bits();
    const auto size = static_cast<std::size_t>(network.plan().batch_size);
    for (std::size_t first = 0; first < order.size(); first += size) {
      std::vector<std::uint16_t> labels, partners;
      std::vector<double> shares;
      for (std::size_t i = first; i < std::min(order.size(), first + size); ++i) {
        const std::uint32_t sample = data.train[order[i]];
        const Augmenter::Sample image = augmenter.image(epoch, sample, data.train);
        const auto place = static_cast<int>(labels.size());
        labels.push_back(data.labels[sample]);
        partners.push_back(data.labels[image.partner]);
        shares.push_back(image.share);
        image.other ? network.set_mixed_image(place, image.pixels, image.other, image.share)
                    : network.set_image(place, image.pixels);
      }
      const Mixing mixing{partners, shares};
      sum += network
                 .train(labels, key, static_cast<std::uint64_t>(batch),
                        augmenter.mixes() ? &mixing : nullptr)
                 .loss;
      network.update(learning_rate(spec, network.plan().steps_per_epoch(), batch), batch + 1);
      ++batch;
    }
    return sum;
  }

  BatchResult evaluate() {
    network.use_average(true);
    std::vector<std::uint16_t> labels;
    for (const std::uint32_t sample : data.validation) {
      network.set_image(static_cast<int>(labels.size()), images.pixels(images.train, sample));
      labels.push_back(data.labels[sample]);
    }
    const BatchResult result = network.evaluate(labels);
    network.use_average(false);
    return result;
  }

  NetworkSpec spec;
  const MadeUpData& data;
  std::uint64_t seed;
  Dataset images;
  Network network;
  Augmenter augmenter;
  std::int64_t batch = 0;
};

void write_orders(FusedTrials& trials, const std::vector<std::int32_t>& active) {
  for (const std::int32_t slot : active) {
    const SlotState& s = trials.state(slot);
    if (s.step % s.steps_per_epoch == 0)
      trials.write_order(slot, s.step / s.steps_per_epoch + 1, true);
  }
}

// Trials of one class beside the CPU's.
void expect_the_cpus_training(const std::vector<NetworkSpec>& specs) {
  const MadeUpData data(kShape, 4);
  const int count = static_cast<int>(specs.size());
  FusedTrials trials(specs[0], data, count);
  std::vector<std::int32_t> active;
  std::vector<std::unique_ptr<CpuTrial>> cpu;
  for (int slot = 0; slot < count; ++slot) {
    active.push_back(slot);
    const auto seed = static_cast<std::uint64_t>(100 + slot);
    cpu.push_back(std::make_unique<CpuTrial>(specs[static_cast<std::size_t>(slot)], data, seed));
    trials.admit(slot, specs[static_cast<std::size_t>(slot)], seed);
  }
  for (int epoch = 1; epoch <= 2; ++epoch) {
    for (int step = 0; step < 3; ++step) {
      write_orders(trials, active);
      trials.train(active, Order::permuted);
      for (const std::int32_t slot : active) {
        const SlotState& s = trials.state(slot);
        EXPECT_EQ(s.rate, learning_rate(specs[static_cast<std::size_t>(slot)], 3, s.step - 1));
      }
    }
    trials.run(trials.program.validate, active);
    for (int slot = 0; slot < count; ++slot) {
      SCOPED_TRACE("trial " + std::to_string(slot) + ", epoch " + std::to_string(epoch));
      CpuTrial& wanted = *cpu[static_cast<std::size_t>(slot)];
      const SlotState& got = trials.state(slot);
      EXPECT_NEAR(got.train.loss, wanted.train_epoch(epoch), 2e-3);
      EXPECT_EQ(got.train.samples, 21);
      const BatchResult evaluated = wanted.evaluate();
      EXPECT_NEAR(got.evaluated[0].loss, evaluated.loss, 2e-3);
      EXPECT_EQ(got.evaluated[0].samples, 5);
      EXPECT_EQ(got.nonfinite, 0);
      EXPECT_EQ(got.step, 3 * epoch);
    }
  }
}

TEST(DeviceTraining, FollowsTheCpusTrainingWithEveryOption) {
  expect_the_cpus_training(every_option());
}

TEST(DeviceTraining, FollowsTheCpusMomentum) {
  std::vector<NetworkSpec> specs(3, small_net());
  for (NetworkSpec& spec : specs) {
    spec.optimizer.kind = OptimizerSpec::Kind::sgd;
    spec.optimizer.learning_rate = 0.05;
    spec.optimizer.momentum = 0.9;
  }
  specs[1].optimizer.nesterov = true;
  specs[1].optimizer.weight_decay = 0.01;
  specs[2].optimizer.nesterov = true;
  specs[2].optimizer.momentum = 0.5;
  specs[2].optimizer.clip_norm = 0.3;
  expect_the_cpus_training(specs);
}

// The last block to come adds up what all have left, whichever it is.
TEST(DeviceTraining, ClipsTheNormOfMoreParametersThanABlockTakes) {
  const MadeUpData data(kShape, 3);
  NetworkSpec spec;
  spec.batch_size = 2;
  spec.layers = {layer(LayerKind::conv, 30, 5), layer(LayerKind::max_pool, 0, 4, 4),
                 layer(LayerKind::dense, 80)};
  spec.optimizer.clip_norm = 0.02;
  for (const Order order : {Order::forward, Order::reverse}) {
    FusedTrials trials(spec, data, 1);
    ASSERT_GT(trials.memory.parameter_count, 2 * kSquareChunk);
    trials.admit(0, spec, 5);
    trials.write_order(0, 1, false);
    trials.train({0}, order);
    double squares = 0.0;
    for (std::size_t p = 0; p < trials.plan.parameters.size(); ++p)
      for (const float value : trials.gradient(0, p))
        squares += static_cast<double>(value) * static_cast<double>(value);
    const double norm = std::sqrt(squares);
    ASSERT_GT(norm, 0.02);
    EXPECT_NEAR(static_cast<double>(trials.state(0).clip), 0.02 / (norm + 1e-6), 1e-6);
    EXPECT_EQ(trials.state(0).arrived, 0U);
  }
}

// Sums over samples that no batch divides, and classes' tallies.
TEST(DeviceTraining, EvaluatesAPartInSeveralBatches) {
  const MadeUpData data(kShape, 5);
  const NetworkSpec spec = small_net();
  FusedTrials trials(spec, data, 1);
  trials.admit(0, spec, 7);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(trials.state(0).position[1], 0);
    for (int batch = 0; batch < 2; ++batch) trials.run(trials.program.test, {0});
    EXPECT_EQ(trials.state(0).evaluated[1].samples, 11);
    const auto* tallies = reinterpret_cast<const std::int64_t*>(
        trials.floats(0, trials.memory.class_tallies + 4 * 2 * 8));
    std::int64_t samples = 0, correct = 0;
    for (int c = 0; c < 4; ++c) {
      samples += tallies[2 * c];
      correct += tallies[2 * c + 1];
    }
    EXPECT_EQ(samples, 11);
    EXPECT_EQ(correct, trials.state(0).evaluated[1].correct);
  }
}

TEST(DeviceTraining, GathersTheImagesThatTheCpuMakes) {
  const MadeUpData data(kShape, 6);
  const Dataset images = CpuTrial::view_of(data);
  const std::vector<NetworkSpec> specs = every_option();
  FusedTrials trials(specs[0], data, 1);
  for (const NetworkSpec& spec : specs) {
    trials.admit(0, spec, 31);
    trials.write_order(0, 1, false);
    trials.run({trials.program.train.begin(), trials.program.train.begin() + 2}, {0});
    Augmenter augmenter(spec.augment, images, 31);
    const float* got = trials.floats(0, trials.memory.values[0].offset);
    for (std::uint32_t sample = 0; sample < 8; ++sample) {
      const Augmenter::Sample wanted = augmenter.image(1, sample, data.train);
      const auto scaled = [](std::uint8_t v) {
        return (static_cast<float>(v) / 255.0F - 0.5F) / 0.5F;
      };
      for (int i = 0; i < 8 * 7 * 2; ++i, ++got) {
        float value = scaled(wanted.pixels[i]);
        if (wanted.other)
          value = static_cast<float>(wanted.share) * value +
                  static_cast<float>(1.0 - wanted.share) * scaled(wanted.other[i]);
        ASSERT_EQ(*got, value) << sample << " " << i;
      }
    }
  }
}

// Norms of which products sum, convolutions that make a norm's values, sums past which a gradient
// goes.
std::vector<LayerSpec> layers_with_norms() {
  const auto conv = [](int filters, Activation activation) {
    return with(layer(LayerKind::conv, filters, 3), activation, true);
  };
  LayerSpec same = layer(LayerKind::residual);
  same.bodies = {{conv(30, Activation::relu), conv(12, Activation::none)}};
  same.activation = Activation::relu;
  return {conv(16, Activation::relu),
          conv(12, Activation::relu),
          layer(LayerKind::max_pool, 0, 2, 2, false),
          same,
          same,
          conv(9, Activation::relu),
          layer(LayerKind::global_avg_pool)};
}

// A trial of six steps and two evaluations in a slot, with `others` in other slots that join and
// leave on the way. layers: those of small_net(), where there are none.
std::vector<unsigned char> bits_of_trial(int slot, const std::vector<std::int32_t>& others,
                                         Order order, Precision precision,
                                         const std::vector<LayerSpec>& layers = {}) {
  const MadeUpData data(kShape, 8);
  std::vector<NetworkSpec> specs = every_option();
  for (NetworkSpec& spec : specs)
    if (!layers.empty()) spec.layers = layers;
  FusedTrials trials(specs[1], data, 7, precision);
  trials.admit(slot, specs[1], 55);
  std::vector<std::int32_t> active = {slot};
  for (int step = 0; step < 6; ++step) {
    if (!others.empty() && step < 4) {
      const std::int32_t other = others[static_cast<std::size_t>(step) % others.size()];
      trials.admit(other, specs[static_cast<std::size_t>(step)], 900 + static_cast<unsigned>(step));
      active.insert(active.begin() + (step % 2), other);
      if (step == 2) active.push_back(-1);
    }
    if (step == 4 && !others.empty()) active.erase(active.begin());
    if (std::find(active.begin(), active.end(), slot) == active.end()) active = {slot};
    std::vector<std::int32_t> real;
    for (const std::int32_t s : active)
      if (s >= 0) real.push_back(s);
    write_orders(trials, real);
    trials.train(active, order);
    if (step % 3 == 2) trials.run(trials.program.validate, active, order);
  }
  for (int s = 0; s < 7; ++s)
    if (s != slot && std::find(others.begin(), others.end(), s) == others.end()) {
      EXPECT_TRUE(trials.untouched(s)) << "slot " << s;
    }
  return trials.kept(slot);
}

void expect_invisible_fusion(Precision precision) {
  const auto alone = bits_of_trial(0, {}, Order::forward, precision);
  EXPECT_EQ(bits_of_trial(0, {}, Order::reverse, precision), alone);
  EXPECT_EQ(bits_of_trial(5, {}, Order::permuted, precision), alone);
  EXPECT_EQ(bits_of_trial(3, {0, 1, 5, 6}, Order::forward, precision), alone);
  EXPECT_EQ(bits_of_trial(6, {2, 4, 0, 1}, Order::permuted, precision), alone);
}

TEST(DeviceFusion, IsInvisible) { expect_invisible_fusion(Precision::fp32); }
TEST(DeviceFusion, IsInvisibleInBf16) { expect_invisible_fusion(Precision::bf16); }

TEST(DeviceFusion, IsInvisibleWhereNormsAreComputedByTheirNeighbours) {
  const std::vector<LayerSpec> layers = layers_with_norms();
  const auto alone = bits_of_trial(0, {}, Order::forward, Precision::bf16, layers);
  EXPECT_EQ(bits_of_trial(3, {0}, Order::permuted, Precision::bf16, layers), alone);
  const MadeUpData data(kShape, 8);
  NetworkSpec spec = every_option()[1];
  spec.layers = layers;
  const FusedTrials trials(spec, data, 1, Precision::bf16);
  int sums = 0, readers = 0, skips = 0;
  for (std::size_t i = 0; i < trials.plan.steps.size(); ++i) {
    const NormFusion& norm = trials.memory.norms[i];
    sums += (norm.statistics >= 0) + (norm.slopes >= 0);
    readers += norm.at_readers;
    skips += trials.memory.skips[i] >= 0;
  }
  EXPECT_EQ(sums, 13);  // of seven norms; what reads the last one's values is no product
  EXPECT_EQ(readers, 3);
  EXPECT_EQ(skips, 2);
}

TEST(DeviceFusion, LeavesTheWeightsOfATrialWhoseLossIsNotANumber) {
  const MadeUpData data(kShape, 9);
  const NetworkSpec spec = small_net();
  FusedTrials trials(spec, data, 2);
  trials.admit(0, spec, 1);
  trials.admit(1, spec, 2);
  std::vector<double> broken(trials.parameter(0, 0).size(), 0.5);
  broken[3] = std::numeric_limits<double>::quiet_NaN();
  trials.set_parameter(0, 0, broken);
  const std::vector<float> before = trials.parameter(0, 4), other = trials.parameter(1, 4);
  write_orders(trials, {0, 1});
  trials.train({0, 1});
  EXPECT_EQ(trials.state(0).nonfinite, 1);
  EXPECT_TRUE(std::isnan(trials.state(0).train.loss));
  EXPECT_EQ(trials.parameter(0, 4), before);
  EXPECT_EQ(trials.state(1).nonfinite, 0);
  EXPECT_NE(trials.parameter(1, 4), other);
}

}  // namespace
}  // namespace brood::cnn::cuda
