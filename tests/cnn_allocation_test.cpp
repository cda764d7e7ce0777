// Goal: training allocates nothing but at the ends of epochs: what a trial needs is laid out before
// its first step. Method: this program counts the calls of operator new, first on a known one, then
// over the slices of a long epoch with every option, and over steps and evaluations of networks
// with each kind of layer and each optimizer, on every kernel set.
#include <gtest/gtest.h>

#include "engine/json_library.h"
#include "tests/counting_new.h"
#include "trainers/cnn/network.h"
#include "trainers/cnn/training.h"

namespace brood::cnn {
namespace {

template <class Work>
std::int64_t allocations_of(Work work) {
  const std::int64_t before = allocation_count();
  work();
  return allocation_count() - before;
}

const char* const kLayers = R"([
  {"conv": {"filters": 16, "kernel": 3, "batch_norm": true, "activation": "relu"}},
  {"residual": [{"conv": {"filters": 16, "kernel": 3, "activation": "silu"}},
                {"conv": {"filters": 24, "kernel": 5, "stride": 2, "batch_norm": true}}]},
  {"branches": [[{"conv": {"filters": 5, "kernel": 3, "dilation": 2, "activation": "tanh"}}],
                [{"avg_pool": {"size": 3, "stride": 1, "padding": "same"}}], []]},
  {"depthwise_conv": {"kernel": 3, "activation": "gelu"}}, {"squeeze_excite": {"ratio": 4}},
  {"conv": {"filters": 20, "kernel": 5, "activation": "relu"}}, {"max_pool": {"size": 2}},
  {"batch_norm": {}}, {"activation": {"name": "leaky_relu"}}, {"dropout": {"rate": 0.2}},
  {"dense": {"units": 300, "activation": "relu"}}, {"dense": {"units": 12}}])";

Json block_with(const Json& optimizer, int train) {
  return {{"dataset", {{"synthetic", {{"classes", 4}, {"size", 16}, {"train", train}}}}},
          {"validation", 0.3},
          {"epochs", 2},
          {"batch_size", 16},
          {"evaluate_test", true},
          {"optimizer", optimizer},
          {"label_smoothing", 0.1},
          {"ema", 0.99},
          {"schedule", {{"name", "cosine"}, {"warmup_epochs", 0.5}}},
          {"report", {"class_accuracy", "cost"}},
          {"augment",
           {{{"flip", Json::object()}},
            {{"translate", {{"pixels", 1}}}},
            {{"cutout", {{"size", 3}}}},
            {{"mixup", {{"alpha", 0.3}}}}}},
          {"layers", Json::parse(kLayers)}};
}

NetworkSpec spec_of(const Json& block) {
  std::vector<Problem> problems;
  NetworkSpec spec = parse_network(block.dump(), problems);
  for (const Problem& p : problems) ADD_FAILURE() << p.pointer << ": " << p.message;
  return spec;
}

const Json kSgd = {{"name", "sgd"}, {"learning_rate", 0.01}, {"momentum", 0.9}, {"clip_norm", 1.0}};

TEST(Allocations, AreCounted) {
  std::vector<int> kept;
  EXPECT_EQ(allocations_of([&] { kept.resize(100); }), 1);
  EXPECT_EQ(kept.size(), 100U);
}

class EveryKernelSet : public testing::TestWithParam<const Kernels*> {};

TEST_P(EveryKernelSet, AllocatesNothingInAStep) {
  for (const Json& optimizer :
       {kSgd, Json{{"name", "adam"}, {"learning_rate", 0.001}},
        Json{{"name", "rmsprop"}, {"learning_rate", 0.001}, {"momentum", 0.5}}}) {
    const NetworkSpec spec = spec_of(block_with(optimizer, 64));
    Network network(make_plan(spec, {16, 16, 1, 4, 45, 19, 0}), spec.optimizer, *GetParam(),
                    spec.label_smoothing);
    network.initialise(1);
    const std::vector<std::uint8_t> pixels(16 * 16, 77);
    const std::vector<std::uint16_t> labels(16, 2);
    const std::int64_t made = allocations_of([&] {
      for (int step = 1; step <= 3; ++step) {
        for (int n = 0; n < 16; ++n) network.set_image(n, pixels.data());
        network.use_average(false);
        network.train(labels, 1, static_cast<std::uint64_t>(step));
        network.update(0.01, step);
        network.use_average(true);
        network.evaluate(labels);
      }
    });
    EXPECT_EQ(made, 0) << optimizer;
  }
}

TEST_P(EveryKernelSet, AllocatesNothingInsideAnEpoch) {
  TrainingInput input;
  input.spec = spec_of(block_with(kSgd, 6000));
  input.data = load_dataset(input.spec.dataset, "");
  input.kernels = GetParam();
  const auto training = make_training(std::move(input), {});
  int slices = 0;
  while (slices < 5) {
    bool reported = false;
    const std::int64_t made = allocations_of([&] { reported = training->step().has_value(); });
    ASSERT_FALSE(reported) << "the epoch is too short for this test";
    EXPECT_EQ(made, 0) << "slice " << slices;
    ++slices;
  }
}

std::string set_name(const testing::TestParamInfo<const Kernels*>& set) { return set.param->name; }
INSTANTIATE_TEST_SUITE_P(Cnn, EveryKernelSet, testing::ValuesIn(available_kernels()), set_name);

}  // namespace
}  // namespace brood::cnn
