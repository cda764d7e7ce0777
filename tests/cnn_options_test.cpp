// Goal: what a trainer block can ask for beyond layers does what it says: activations, loss
// targets, clipping, averages, RMSProp, further metrics; and a trial with all of it at once gives
// the same bits again and continues from any cut. Method: formulas in double next to single steps;
// whole trials on the synthetic images; the genetic example through the planner.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "engine/json_library.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/cnn/cnn.h"
#include "trainers/cnn/light_kernels.h"
#include "trainers/cnn/network.h"
#include "trainers/cnn/training.h"

namespace brood::cnn {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const char* const kEverything = R"({
  "name": "cnn", "dataset": {"synthetic": {"classes": 4, "size": 9, "train": 300, "test": 40}},
  "validation": 0.4, "evaluate_test": true, "epochs": 4, "batch_size": 32,
  "optimizer": {"name": "rmsprop", "learning_rate": 0.003, "momentum": 0.5, "clip_norm": 1.0,
                "weight_decay": 0.0001},
  "schedule": {"name": "one_cycle"}, "label_smoothing": 0.1, "ema": 0.99,
  "report": ["class_accuracy", "cost"],
  "augment": [{"flip": {}}, {"translate": {"pixels": 1}}, {"cutout": {"size": 3}},
              {"mixup": {"alpha": 0.3}}],
  "layers": [
    {"residual": [{"conv": {"filters": 6, "kernel": 3, "batch_norm": true, "activation": "silu"}},
                  {"depthwise_conv": {"kernel": 3, "stride": 2, "activation": "gelu"}}]},
    {"branches": [[{"conv": {"filters": 5, "kernel": 3, "dilation": 2, "activation": "tanh"}}],
                  []]},
    {"squeeze_excite": {"ratio": 4}}, {"dropout": {"rate": 0.2}},
    {"dense": {"units": 12, "activation": "leaky_relu"}}]})";

TrainingInput input_of(const std::string& json, const Kernels& kernels) {
  std::vector<Problem> problems;
  TrainingInput input;
  input.spec = parse_network(json, problems);
  for (const Problem& p : problems) ADD_FAILURE() << p.pointer << ": " << p.message;
  input.data = load_dataset(input.spec.dataset, "");
  input.kernels = &kernels;
  return input;
}

std::string changed(const Json& patch) {
  Json json = Json::parse(kEverything);
  json.merge_patch(patch);
  return json.dump();
}

Report next(Training& training) {
  while (true)
    if (auto report = training.step()) return *report;
}

std::vector<Metric> exact(const Report& report) {
  std::vector<Metric> out;
  for (const Metric& metric : report.metrics)
    if (metric.exact) out.push_back(metric);
  return out;
}

double value(const Report& report, const std::string& name) {
  for (const Metric& metric : report.metrics)
    if (metric.name == name) return metric.value;
  ADD_FAILURE() << "no metric " << name;
  return 0.0;
}

class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() / ("brood_cnn_options_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

std::string content(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

class EveryKernelSet : public testing::TestWithParam<const Kernels*> {};

TEST_P(EveryKernelSet, GivesTheSameBitsTwiceAndOthersForAnotherSeed) {
  Assignment assignment;
  assignment.seed = 11;
  const auto one = make_training(input_of(kEverything, *GetParam()), assignment);
  const auto two = make_training(input_of(kEverything, *GetParam()), assignment);
  assignment.seed = 12;
  const auto other = make_training(input_of(kEverything, *GetParam()), assignment);
  for (int epoch = 1; epoch <= 2; ++epoch) {
    const auto metrics = exact(next(*one));
    EXPECT_EQ(metrics, exact(next(*two)));
    EXPECT_NE(metrics, exact(next(*other)));
  }
}

TEST_P(EveryKernelSet, ContinuesBetweenEpochsWithTheSameBits) {
  const Folder folder;
  Assignment assignment;
  assignment.seed = 5;
  const auto whole = make_training(input_of(kEverything, *GetParam()), assignment);
  std::vector<std::vector<Metric>> wanted;
  for (int epoch = 1; epoch <= 4; ++epoch) {
    wanted.push_back(exact(next(*whole)));
    if (epoch == 2) whole->save(folder.file("half"));
  }
  assignment.first_epoch = 3;
  assignment.resume_from = folder.file("half");
  const auto second = make_training(input_of(kEverything, *GetParam()), assignment);
  EXPECT_EQ(exact(next(*second)), wanted[2]);
  EXPECT_EQ(exact(next(*second)), wanted[3]);
  whole->save(folder.file("a"));
  second->save(folder.file("b"));
  EXPECT_EQ(content(folder.file("a")), content(folder.file("b")));
}

// Cut wherever the slices of an epoch end: in the training part and in the evaluations, where the
// averaged weights are in use.
TEST_P(EveryKernelSet, ContinuesFromInsideAnEpochWithTheSameBits) {
  const Folder folder;
  const std::string json = changed({{"dataset", {{"synthetic", {{"train", 4000}}}}}});
  Assignment assignment;
  assignment.seed = 6;
  const auto whole = make_training(input_of(json, *GetParam()), assignment);
  std::vector<std::string> cuts;
  std::optional<Report> wanted;
  while (!(wanted = whole->step())) {
    cuts.push_back(folder.file(std::to_string(cuts.size())));
    whole->save(cuts.back());
  }
  whole->save(folder.file("end"));
  const std::size_t every = cuts.size() / 4 + 1;
  for (std::size_t i = 0; i < cuts.size(); i += every) {
    assignment.resume_from = cuts[i];
    const auto resumed = make_training(input_of(json, *GetParam()), assignment);
    EXPECT_EQ(exact(next(*resumed)), exact(*wanted)) << "cut " << i << " of " << cuts.size();
    resumed->save(folder.file("resumed"));
    EXPECT_EQ(content(folder.file("resumed")), content(folder.file("end")));
  }
}

TEST_P(EveryKernelSet, LearnsWithEverythingSwitchedOn) {
  const std::string json =
      changed({{"dataset", {{"synthetic", {{"train", 1600}}}}}, {"epochs", 12}});
  const auto training = make_training(input_of(json, *GetParam()), {});
  Report last;
  for (int epoch = 1; epoch <= 12; ++epoch) last = next(*training);
  EXPECT_GT(value(last, "val_accuracy"), 0.8);
}

TEST_P(EveryKernelSet, HasItsOwnExponential) {
  const LightKernels& light = light_kernels_of(*GetParam());
  const auto apply = [&](Activation kind, float x) {
    float y = 0.0F;
    light.activate(kind, 0.1F, &x, 1, &y);
    return static_cast<double>(y);
  };
  for (int i = -4000; i <= 4000; ++i) {
    const float x = static_cast<float>(i) / 200.0F;
    const double d = static_cast<double>(x), gate = 1 / (1 + std::exp(-d));
    EXPECT_NEAR(apply(Activation::tanh, x), std::tanh(d), 6e-7 * std::abs(std::tanh(d)) + 1e-30);
    EXPECT_NEAR(apply(Activation::silu, x), d * gate, 5e-7 * std::abs(d * gate) + 1e-30);
    const double u = 0.7978845608028654 * (d + 0.044715 * d * d * d);
    EXPECT_NEAR(apply(Activation::gelu, x), d / 2 * (1 + std::tanh(u)), 2e-6) << x;
    float sigmoid = 0.0F;
    light.sigmoid(&x, 1, &sigmoid);
    EXPECT_NEAR(static_cast<double>(sigmoid), gate, 5e-7 * gate);
  }
}

TEST_P(EveryKernelSet, KeepsActivationsFiniteAndNaNVisible) {
  const LightKernels& light = light_kernels_of(*GetParam());
  const float one = 1.0F;
  for (const Activation kind : {Activation::relu, Activation::leaky_relu, Activation::gelu,
                                Activation::silu, Activation::tanh}) {
    for (const float x : {0.0F, 100.0F, -100.0F, 1e20F, -1e20F}) {
      float y = 0.0F, dx = 0.0F;
      light.activate(kind, 0.1F, &x, 1, &y);
      light.activation_gradient(kind, 0.1F, &x, &y, &one, 1, &dx);
      EXPECT_TRUE(std::isfinite(y)) << static_cast<int>(kind) << " " << x;
      EXPECT_TRUE(std::isfinite(dx)) << static_cast<int>(kind) << " " << x;
      if (x == 0.0F) {
        EXPECT_EQ(y, 0.0F);
      }
    }
    const float nan = std::numeric_limits<float>::quiet_NaN();
    float y = 0.0F;
    light.activate(kind, 0.1F, &nan, 1, &y);
    EXPECT_TRUE(std::isnan(y)) << static_cast<int>(kind);
  }
}

TEST_P(EveryKernelSet, FollowsTheDefinitionOfRmsProp) {
  const LightKernels& light = light_kernels_of(*GetParam());
  float w = 1.0F, square = 0.5F, velocity = 0.2F;
  const float gradient = 0.3F;
  light.rmsprop(&w, &gradient, &square, &velocity, 1, {0.1F, 0.9F, 1e-3F, 0.8F, 0.01F});
  const double slope = 0.31, mean = 0.9 * 0.5 + 0.1 * slope * slope;
  const double speed = 0.8 * 0.2 + slope / (std::sqrt(mean) + 1e-3);
  EXPECT_NEAR(square, mean, 1e-7);
  EXPECT_NEAR(velocity, speed, 1e-6);
  EXPECT_NEAR(w, 1.0 - 0.1 * speed, 1e-6);
  light.rmsprop(&w, &gradient, &square, nullptr, 1, {0.1F, 0.0F, 1.0F, 0.0F, 0.0F});
  EXPECT_NEAR(w, 1.0 - 0.1 * speed - 0.1 * 0.3 / 1.3, 1e-6);
}

std::string set_name(const testing::TestParamInfo<const Kernels*>& set) { return set.param->name; }
INSTANTIATE_TEST_SUITE_P(Cnn, EveryKernelSet, testing::ValuesIn(available_kernels()), set_name);

Plan one_layer() {
  NetworkSpec spec;
  spec.batch_size = 4;
  return make_plan(spec, {2, 2, 1, 3, 100, 0, 0});
}

// One batch of a network that is a single dense layer.
struct OneLayer {
  explicit OneLayer(const OptimizerSpec& optimizer, double smoothing = 0.0)
      : network(one_layer(), optimizer, *available_kernels().back(), smoothing) {
    network.initialise(3);
    const std::uint8_t pixels[] = {10, 200, 30, 90, 0, 255, 17, 60};
    for (int n = 0; n < 2; ++n) network.set_image(n, pixels + 4 * n);
  }

  // The classifier's weights; its bias is parameter 1.
  std::vector<float> weights() const { return network.parameter(0); }

  Network network;
  const std::vector<std::uint16_t> labels = {2, 0}, partners = {2, 1};
};

TEST(CnnLoss, AimsAtSmoothedAndMixedTargets) {
  OneLayer one({.learning_rate = 0.1}, 0.3);
  const std::vector<double> shares = {0.9, 0.6};
  const Mixing mixing{one.partners, shares};
  const BatchResult got = one.network.train(one.labels, 0, 0, &mixing);
  const double smooth = 0.3 / 3, targets[2][3] = {{smooth, smooth, 0.7 + smooth},
                                                  {0.42 + smooth, 0.28 + smooth, smooth}};
  double loss = 0.0, slopes[3] = {};
  for (int n = 0; n < 2; ++n) {
    const std::vector<float> logits = one.network.logits(n);
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    for (std::size_t c = 0; c < 3; ++c) {
      const double p = std::exp(static_cast<double>(logits[c])) / sum;
      loss -= targets[n][c] * std::log(p);
      slopes[c] += (p - targets[n][c]) / 2;
    }
  }
  EXPECT_NEAR(got.loss, loss, 1e-6);
  const std::vector<float> gradient = one.network.gradient(1);
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(gradient[c], slopes[c], 1e-6);
}

TEST(CnnLoss, IsPlainInAnEvaluation) {
  OneLayer plain({.learning_rate = 0.1}), smooth({.learning_rate = 0.1}, 0.5);
  EXPECT_EQ(plain.network.evaluate(plain.labels).loss, smooth.network.evaluate(smooth.labels).loss);
}

TEST(CnnClipping, BoundsTheNormOfAllGradients) {
  for (const double most : {0.05, 100.0}) {
    OneLayer plain({.learning_rate = 0.1}), clipped({.learning_rate = 0.1, .clip_norm = most});
    plain.network.train(plain.labels, 0, 0);
    clipped.network.train(clipped.labels, 0, 0);
    plain.network.update(0.1, 1);
    clipped.network.update(0.1, 1);
    double norm = 0.0;
    for (const int p : {0, 1})
      for (const float slope : clipped.network.gradient(p))
        norm += static_cast<double>(slope) * static_cast<double>(slope);
    if (most < 1.0)
      EXPECT_NEAR(std::sqrt(norm), most, 1e-5);
    else
      EXPECT_EQ(plain.weights(), clipped.weights());
  }
}

TEST(CnnAverage, FollowsTheWeightsAndIsWhatAnEvaluationSees) {
  OneLayer one({.learning_rate = 0.1, .ema = 0.25});
  std::vector<double> average;
  for (const float w : one.weights()) average.push_back(static_cast<double>(w));
  for (int step = 1; step <= 3; ++step) {
    one.network.train(one.labels, 0, 0);
    one.network.update(0.5, step);
    const double keep = std::min(0.25, (1.0 + step) / (10.0 + step));
    for (std::size_t i = 0; i < average.size(); ++i)
      average[i] = keep * average[i] + (1 - keep) * static_cast<double>(one.weights()[i]);
  }
  const std::vector<float> trained = one.weights();
  const std::vector<NamedArray> saved = one.network.arrays();
  const double loss = one.network.evaluate(one.labels).loss;
  one.network.use_average(true);
  const std::vector<float> seen = one.weights();
  for (std::size_t i = 0; i < average.size(); ++i) EXPECT_NEAR(seen[i], average[i], 1e-6);
  EXPECT_NE(one.network.evaluate(one.labels).loss, loss);
  const std::vector<NamedArray> during = one.network.arrays();
  ASSERT_EQ(saved.size(), 4U);
  EXPECT_EQ(saved[2].name, "average.classifier.weight");
  for (std::size_t i = 0; i < saved.size(); ++i) EXPECT_EQ(saved[i].values, during[i].values);
  one.network.use_average(false);
  EXPECT_EQ(one.weights(), trained);
}

TEST(CnnReport, HasClassesAndCostWhenAskedFor) {
  const TrainingInput input = input_of(kEverything, *available_kernels().back());
  const auto training = make_training(input, {});
  const Report report = next(*training);
  double weighted = 0.0;
  std::vector<double> samples(4);
  const DataShape files{9, 9, 1, 4, 300, 0, 40};
  for (const std::uint32_t i : make_split(input.spec, files, 0).validation)
    ++samples[input.data->train.labels[i]];
  for (std::size_t c = 0; c < 4; ++c)
    weighted += samples[c] * value(report, "val_accuracy_class_" + std::to_string(c)) / 120;
  EXPECT_NEAR(weighted, value(report, "val_accuracy"), 1e-12);
  value(report, "test_accuracy_class_3");
  TrainerSetup setup;
  setup.config = kEverything;
  const Estimate planned = make_cnn_planner(setup)->estimate({});
  EXPECT_EQ(planned.infeasible, "");
  EXPECT_EQ(value(report, "parameters"), static_cast<double>(planned.parameters));
  EXPECT_EQ(value(report, "flops"), planned.flops);
  EXPECT_EQ(value(report, "memory_bytes"), static_cast<double>(planned.bytes));
  EXPECT_GT(value(report, "peak_memory_bytes"), 1e6);
  for (const Metric& metric : report.metrics) {
    EXPECT_EQ(metric.exact, metric.name != "seconds" && metric.name != "images_per_second" &&
                                metric.name != "peak_memory_bytes");
  }
}

TEST(CnnCheckpoint, WithoutAnAverageIsRefusedByATrialThatKeepsOne) {
  const Folder folder;
  const Kernels& kernels = *available_kernels().back();
  const auto training = make_training(input_of(changed({{"ema", nullptr}}), kernels), {});
  training->save(folder.file("c"));
  Assignment assignment;
  assignment.resume_from = folder.file("c");
  try {
    make_training(input_of(kEverything, kernels), assignment);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("average.layers.0"));
  }
}

// The example's block, on images that every machine has.
TEST(CnnGeneticExample, PlansAndTrainsPlainAndResidualBlocks) {
  const char* source = std::getenv("BROOD_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "set BROOD_SOURCE_DIR to the source tree";
  const std::string text = content(std::string(source) + "/examples/fashion-mnist-genetic.json");
  Json block = Json::parse(text, nullptr, true, true)["trainer"];
  block["dataset"] = {{"synthetic", {{"size", 12}, {"train", 60}, {"test", 10}}}};
  TrainerSetup setup;
  setup.config = block.dump();
  setup.objective = "val_accuracy";
  ParamSet params;
  params.set("stages", Value(std::int64_t{2}));
  for (const std::string i : {"1", "2"}) {
    params.set("depth[" + i + "]", Value(std::int64_t{2}));
    params.set("filters[" + i + "]", Value(std::int64_t{i == "1" ? 16 : 32}));
    params.set("kernel[" + i + "]", Value(std::int64_t{3}));
    params.set("block[" + i + "]", Value(std::string(i == "1" ? "plain" : "residual")));
  }
  params.set("dropout", Value(0.2));
  params.set("optimizer", Value(std::string("sgd")));
  params.set("learning_rate", Value(0.05));
  params.set("momentum", Value(0.9));
  params.set("weight_decay", Value(1e-4));
  const Estimate estimate = make_cnn_planner(setup)->estimate(params);
  EXPECT_EQ(estimate.infeasible, "");
  const int conv1 = 9 * 16 + 32, conv2 = 9 * 16 * 16 + 32, conv3 = 9 * 16 * 32 + 64;
  const int conv4 = 9 * 32 * 32 + 64, projection = 16 * 32 + 64;
  EXPECT_EQ(estimate.parameters,
            conv1 + conv2 + (conv3 + conv4 + projection) + 2 * conv4 + 32 * 10 + 10);
  const auto trainer = make_cnn(setup);
  Assignment assignment;
  assignment.params = params;
  assignment.last_epoch = 2;
  trainer->start(0, assignment);
  int reports = 0;
  for (bool running = true; running;)
    for (const Event& event : trainer->advance(Millis(50))) {
      EXPECT_NE(event.kind, Event::Kind::failed) << event.why;
      reports += event.kind == Event::Kind::report;
      running = event.kind != Event::Kind::ended && event.kind != Event::Kind::failed;
    }
  EXPECT_EQ(reports, 2);
}

}  // namespace
}  // namespace brood::cnn
