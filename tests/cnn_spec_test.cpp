// Goal: a trainer block is read as written, and everything wrong with one is told at once with
// place, value and remedy. Method: small blocks and their expected problems, word by word where
// people depend on them; plans against figures worked out by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "trainers/cnn/cnn.h"
#include "trainers/cnn/dataset.h"
#include "trainers/cnn/memory.h"
#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"
#include "trainers/cnn/schedule.h"

namespace brood::cnn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kAdam = R"("optimizer": {"name": "adam", "learning_rate": 0.001})";

std::string block(const std::string& layers, const std::string& more = kAdam) {
  return R"({"name": "cnn", "dataset": "fashion_mnist", "epochs": 3, )" + more +
         R"(, "layers": [)" + layers + "]}";
}

NetworkSpec good(const std::string& json) {
  std::vector<Problem> problems;
  NetworkSpec spec = parse_network(json, problems);
  for (const Problem& problem : problems)
    ADD_FAILURE() << problem.pointer << ": " << problem.message;
  return spec;
}

void expect_problem(const std::string& json, const std::string& pointer, const std::string& part) {
  const std::vector<Problem> problems = check_cnn(json);
  ASSERT_EQ(problems.size(), 1U) << json << (problems.size() < 2 ? "" : problems[1].message);
  EXPECT_EQ(problems[0].pointer, pointer);
  EXPECT_THAT(problems[0].message, HasSubstr(part));
}

TEST(CnnSpec, ReadsTheHopsDemo) {
  const NetworkSpec spec = good(R"({
    "name": "cnn", "dataset": "fashion_mnist", "validation": 0.1, "epochs": 10, "batch_size": 64,
    "optimizer": {"name": "adam", "learning_rate": 0.0005},
    "layers": [{"conv": {"filters": 32, "kernel": 3, "activation": "relu"}},
               {"conv": {"filters": 64, "kernel": 3, "activation": "relu"}},
               {"max_pool": {"size": 2}}, {"dropout": {"rate": 0.45}},
               {"dense": {"units": 128, "activation": "relu"}}, {"dropout": {"rate": 0.45}}]})");
  EXPECT_EQ(spec.epochs, 10);
  EXPECT_EQ(spec.optimizer.kind, OptimizerSpec::Kind::adam);
  EXPECT_EQ(spec.optimizer.learning_rate, 0.0005);
  ASSERT_EQ(spec.layers.size(), 6U);
  EXPECT_TRUE(spec.layers[0].same);
  EXPECT_EQ(spec.layers[0].activation, Activation::relu);
  EXPECT_EQ(spec.layers[2].stride_height, 2);
  EXPECT_EQ(spec.layers[3].rate, 0.45);
}

TEST(CnnSpec, TellsAllProblemsOfABlockAtOnce) {
  const auto problems = check_cnn(R"({"name": "cnn", "dataset": "fashion_mnits", "epochs": 0,
    "batchsize": 3, "optimizer": {"name": "adam", "momentum": 0.9},
    "layers": [{"conv": {"filters": 0, "kernel": 3}}, {"max_pol": {"size": 2}},
               {"dropout": {}}]})");
  std::vector<std::string> pointers;
  for (const Problem& problem : problems) pointers.push_back(problem.pointer);
  EXPECT_THAT(pointers, ElementsAre("/dataset", "/epochs", "/optimizer/learning_rate",
                                    "/optimizer/momentum", "/layers/0/conv/filters",
                                    "/layers/1/max_pol", "/layers/2/dropout/rate", "/batchsize"));
  EXPECT_THAT(problems[0].message, HasSubstr("did you mean \"fashion_mnist\""));
  EXPECT_THAT(problems[1].message, HasSubstr("from 1 to 1000000 (is 0)"));
  EXPECT_THAT(problems[5].message, HasSubstr("did you mean \"max_pool\""));
  EXPECT_THAT(problems[7].message, HasSubstr("did you mean \"batch_size\""));
}

TEST(CnnSpec, RefusesWhatHasNoEffect) {
  expect_problem(block("", R"("optimizer": {"name": "sgd", "learning_rate": 1, "beta1": 0.5})"),
                 "/optimizer/beta1", "has no effect with sgd");
  expect_problem(block("", R"("optimizer": {"name": "sgd", "learning_rate": 1, "nesterov": true})"),
                 "/optimizer/nesterov", "has no effect without momentum");
  expect_problem(block("", kAdam + R"(, "limit_test": 100)"), "/limit_test", "evaluate_test");
}

TEST(CnnSpec, RefusesOptimizerKeysWithoutEffect) {
  const auto with = [](const std::string& optimizer) {
    return block("", "\"optimizer\": {" + optimizer + ", \"learning_rate\": 0.1}");
  };
  expect_problem(with(R"("name": "rmsprop", "nesterov": true)"), "/optimizer/nesterov",
                 "has no effect with rmsprop");
  expect_problem(with(R"("name": "rmsprop", "beta2": 0.9)"), "/optimizer/beta2", "or use adam");
  expect_problem(with(R"("name": "adam", "alpha": 0.9)"), "/optimizer/alpha", "or use rmsprop");
  expect_problem(with(R"("name": "sgd", "clip_norm": 0)"), "/optimizer/clip_norm", "above 0.0");
  expect_problem(with(R"("name": "rmsprob")"), "/optimizer/name", "did you mean \"rmsprop\"");
}

TEST(CnnSpec, RefusesScheduleKeysWithoutEffect) {
  const auto with = [](const std::string& schedule) {
    return block("", kAdam + ", \"schedule\": {" + schedule + "}");
  };
  expect_problem(with(R"("name": "cosine", "factor": 0.1)"), "/schedule/factor", "step only");
  expect_problem(with(R"("name": "step")"), "/schedule/every_epochs", "is missing");
  expect_problem(with(R"("name": "step", "every_epochs": 2, "rise": 0.1)"), "/schedule/rise",
                 "one_cycle only");
  expect_problem(with(R"("name": "one_cycle", "warmup_epochs": 1)"), "/schedule/warmup_epochs",
                 "rises by itself");
  expect_problem(with(R"("name": "one_cycle", "rise": 1.0)"), "/schedule/rise", "below 1.0");
}

TEST(CnnSpec, RefusesChangesOfImagesThatMakeNoSense) {
  const auto with = [](const std::string& augment) {
    return block("", kAdam + ", \"augment\": " + augment);
  };
  expect_problem(with(R"({"flip": {}})"), "/augment", "must be a list of changes");
  expect_problem(with(R"([{"flop": {}}])"), "/augment/0/flop", "did you mean \"flip\"");
  expect_problem(with(R"(["flip"])"), "/augment/0", "one key, the kind of change");
  expect_problem(with(R"([{"flip": {"pixels": 2}}])"), "/augment/0/flip/pixels", "not a key");
  expect_problem(with(R"([{"translate": {}}])"), "/augment/0/translate/pixels", "is missing");
  expect_problem(with(R"([{"flip": {}}, {"flip": {}}])"), "/augment/1/flip", "a second time");
  expect_problem(with(R"([{"mixup": {"alpha": 0.2}}, {"flip": {}}])"), "/augment/1/flip",
                 "cannot follow mixup");
}

TEST(CnnSpec, RefusesFurtherKeysOutOfRangeOrWithoutEffect) {
  expect_problem(block("", kAdam + R"(, "label_smoothing": 1.0)"), "/label_smoothing", "below 1.0");
  expect_problem(block("", kAdam + R"(, "ema": 1)"), "/ema", "below 1.0");
  expect_problem(block("", kAdam + R"(, "report": ["class_acuracy"])"), "/report",
                 "did you mean \"class_accuracy\"");
  expect_problem(block("", kAdam + R"(, "validation": 0, "report": ["class_accuracy"])"), "/report",
                 "without a validation part");
}

TEST(CnnPlan, KnowsAChangeThatMayLeaveNothingOfAnImage) {
  const NetworkSpec spec =
      good(block("", kAdam + R"(, "augment": [{"flip": {}}, {"cutout": {"size": 28}}])"));
  const Plan plan = make_plan(spec, {28, 28, 1, 10, 60000, 0, 10000});
  EXPECT_EQ(plan.infeasible_pointer, "/augment/1/cutout");
  EXPECT_THAT(plan.infeasible, HasSubstr("28 pixels may leave nothing of an image of 28x28"));
}

const char* const kConv = R"({"conv": {"filters": 8, "kernel": 3}})";

TEST(CnnSpec, ReadsAResidualAsAListOrAnObject) {
  const NetworkSpec spec =
      good(block(std::string(R"({"residual": [)") + kConv +
                 R"(]}, {"residual": {"activation": "none", "body": [)" + kConv + "]}}"));
  EXPECT_EQ(spec.layers[0].activation, Activation::relu);
  EXPECT_EQ(spec.layers[1].activation, Activation::none);
  EXPECT_EQ(spec.layers[1].bodies[0][0].pointer, "/layers/1/residual/body/0/conv");
}

TEST(CnnSpec, RefusesComposersThatComposeNothing) {
  expect_problem(block(R"({"residual": []})"), "/layers/0/residual", "at least one layer");
  expect_problem(block(R"({"residual": {}})"), "/layers/0/residual/body", "is missing");
  expect_problem(block(R"({"residual": {"body": [], "activation": "relu"}})"),
                 "/layers/0/residual/body", "at least one layer");
  expect_problem(block(R"({"branches": [[]]})"), "/layers/0/branches", "two or more lists");
  expect_problem(block(R"({"branches": [[], []]})"), "/layers/0/branches/1", "second empty branch");
  expect_problem(block(std::string(R"({"branches": [[], )") + kConv + "]}"), "/layers/0/branches/1",
                 "must be a list of layers");
  expect_problem(block(R"({"residual": [{"dense": {"units": 3}}]})"), "/layers/0/residual/0/dense",
                 "cannot be inside a residual or a branch");
  expect_problem(block(R"({"dense": {"units": 3}}, {"residual": [{"batch_norm": {}}]})"),
                 "/layers/1/residual", "no image left");
  expect_problem(block(R"({"branches": [[], [{"residual": [{"max_pol": {"size": 2}}]}]]})"),
                 "/layers/0/branches/1/0/residual/0/max_pol", "did you mean \"max_pool\"");
}

TEST(CnnSpec, RefusesSettingsWithoutEffectOnALayer) {
  expect_problem(block(R"({"activation": {"name": "gelu", "slope": 0.1}})"),
                 "/layers/0/activation/slope", "leaky_relu only");
  expect_problem(block(R"({"activation": {"name": "none"}})"), "/layers/0/activation/name",
                 "must be one of relu, leaky_relu");
  expect_problem(block(R"({"conv": {"filters": 3, "kernel": 3, "activation": "geluu"}})"),
                 "/layers/0/conv/activation", "did you mean \"gelu\"");
  expect_problem(block(R"({"depthwise_conv": {"filters": 3, "kernel": 3}})"),
                 "/layers/0/depthwise_conv/filters", "keeps its channels");
  expect_problem(block(R"({"squeeze_excite": {"ratio": 0}})"), "/layers/0/squeeze_excite/ratio",
                 "from 1 to");
}

TEST(CnnSpec, RefusesWrongTypesAndRanges) {
  expect_problem(block(R"({"conv": {"filters": 8, "kernel": [3]}})"), "/layers/0/conv/kernel",
                 "(is [3])");
  expect_problem(block(R"({"conv": {"filters": 8.5, "kernel": 3}})"), "/layers/0/conv/filters",
                 "whole number");
  expect_problem(block(R"({"dropout": {"rate": 1.0}})"), "/layers/0/dropout/rate",
                 "below 1.0 (is 1.0)");
  expect_problem(block("{}"), "/layers/0", "one key");
  expect_problem(block(R"({"dense": {"units": 8}}, {"max_pool": {"size": 2}})"),
                 "/layers/1/max_pool", "no image left");
  expect_problem(block("", kAdam + R"(, "validation": 1.5)"), "/validation", "(is 1.5)");
  expect_problem(block("", R"("optimizer": {"name": "sgd", "learning_rate": "0.1"})"),
                 "/optimizer/learning_rate", "must be a number above 0.0");
  expect_problem("[]", "", "must be an object");
}

TEST(CnnSpec, TakesAWholeRealNumberForAWholeOne) {
  EXPECT_EQ(good(block(R"({"dense": {"units": 64.0}})")).layers[0].columns, 64);
}

const DataShape kFashion = {28, 28, 1, 10, 60000, 0, 10000};

TEST(CnnPlan, CountsLeNetAsByHand) {
  const Plan plan =
      make_plan(good(block(R"({"conv": {"filters": 6, "kernel": 5}}, {"max_pool": {"size": 2}},
        {"conv": {"filters": 16, "kernel": 5, "padding": "valid"}}, {"max_pool": {"size": 2}},
        {"dense": {"units": 120}}, {"dense": {"units": 84}})")),
                kFashion);
  EXPECT_EQ(plan.parameter_count, 156 + 2416 + 48120 + 10164 + 850);
  // Multiplications: 28*28*6*25, 10*10*16*150, 400*120, 120*84, 84*10.
  const double multiplications = 117600 + 240000 + 48000 + 10080 + 840;
  EXPECT_EQ(plan.forward_flops, 2 * multiplications);
  EXPECT_EQ(plan.training_flops, 2 * (3 * multiplications - 117600));
  EXPECT_EQ(plan.total_flops(2, false), 2 * 60000 * plan.training_flops);
  EXPECT_EQ(plan.total_flops(2, true),
            2 * (60000 * plan.training_flops + 10000 * plan.forward_flops));
  EXPECT_EQ(plan.tensors[4], (Shape{5, 5, 16}));
}

TEST(CnnPlan, CountsABatchNormAndNoBiasBeforeIt) {
  const Plan plan =
      make_plan(good(block(R"({"conv": {"filters": 8, "kernel": 3, "batch_norm": true}},
                    {"global_avg_pool": {}})")),
                kFashion);
  EXPECT_EQ(plan.parameter_count, 72 + 16 + 90);
  EXPECT_EQ(plan.states.size(), 2U);
}

TEST(CnnPlan, FollowsStridesAndPaddings) {
  const Plan plan = make_plan(good(block(R"({"conv": {"filters": 4, "kernel": [5, 3], "stride": 2}},
                    {"max_pool": {"size": 3, "stride": 2, "padding": "same"}},
                    {"conv": {"filters": 4, "kernel": 4, "stride": [3, 1], "padding": "valid"}})")),
                              kFashion);
  EXPECT_EQ(plan.tensors[1], (Shape{14, 14, 4}));
  EXPECT_EQ(plan.steps[0].pad_top, 1);  // 13 * 2 + 5 - 28 = 3 rows too few: one above, two below
  EXPECT_EQ(plan.steps[0].pad_left, 0);
  EXPECT_EQ(plan.tensors[2], (Shape{7, 7, 4}));
  EXPECT_EQ(plan.tensors[3], (Shape{2, 4, 4}));
}

TEST(CnnPlan, KnowsANetworkThatLeavesNothing) {
  const Plan plan =
      make_plan(good(block(R"({"max_pool": {"size": 14}}, {"max_pool": {"size": 3}})")), kFashion);
  EXPECT_EQ(plan.infeasible_pointer, "/layers/1/max_pool");
  EXPECT_THAT(plan.infeasible, HasSubstr("3x3 leaves nothing of an image of 2x2"));
}

TEST(CnnPlan, ProjectsWhereAResidualChangesTheShape) {
  const Plan plan =
      make_plan(good(block(R"({"residual": [{"conv": {"filters": 8, "kernel": 3, "stride": 2}}]},
                    {"residual": [{"conv": {"filters": 8, "kernel": 3, "stride": 1}}]})")),
                kFashion);
  // Body, projection with its batch norm; the second residual's input is added as it is.
  EXPECT_EQ(plan.parameter_count, (72 + 8) + (8 + 16) + (576 + 8) + (14 * 14 * 8 * 10 + 10));
  EXPECT_EQ(plan.parameters[2].name, "layers.0.projection.conv.weight");
  EXPECT_EQ(plan.parameters[5].name, "layers.1.residual.0.conv.weight");
  EXPECT_EQ(plan.steps[1].stride_height, 2);
  EXPECT_EQ(plan.steps.size(), 7U);
}

TEST(CnnPlan, ConcatenatesTheChannelsOfBranches) {
  const Plan plan =
      make_plan(good(block(R"({"branches": [[{"conv": {"filters": 3, "kernel": 1}}], [],
                      [{"max_pool": {"size": 3, "stride": 1, "padding": "same"}},
                       {"conv": {"filters": 4, "kernel": 1}}]]})")),
                kFashion);
  EXPECT_EQ(plan.tensors[plan.tensors.size() - 2], (Shape{28, 28, 3 + 1 + 4}));
  EXPECT_EQ(plan.parameters[2].name, "layers.0.branches.2.1.conv.weight");
}

TEST(CnnPlan, CountsDepthwiseDilatedAndSqueezed) {
  const Plan plan = make_plan(
      good(block(R"({"conv": {"filters": 16, "kernel": 3, "dilation": 2, "padding": "valid"}},
                    {"depthwise_conv": {"kernel": 5, "stride": 2}},
                    {"squeeze_excite": {"ratio": 4}}, {"global_avg_pool": {}})")),
      kFashion);
  EXPECT_EQ(plan.tensors[1], (Shape{24, 24, 16}));
  EXPECT_EQ(plan.tensors[2], (Shape{12, 12, 16}));
  EXPECT_EQ(plan.parameter_count, (144 + 16) + (400 + 16) + (64 + 4) + (64 + 16) + (160 + 10));
  const double products = 24 * 24 * 144.0 + 12 * 12 * 400.0 + 64 + 64 + 160;
  EXPECT_EQ(plan.forward_flops, 2 * products);
}

TEST(CnnPlan, KnowsComposersThatCannotBe) {
  const auto expect = [](const std::string& layers, const std::string& pointer,
                         const std::string& part) {
    const Plan plan = make_plan(good(block(layers)), kFashion);
    EXPECT_EQ(plan.infeasible_pointer, pointer);
    EXPECT_THAT(plan.infeasible, HasSubstr(part));
  };
  expect(R"({"residual": [{"conv": {"filters": 8, "kernel": 3, "padding": "valid"}}]})",
         "/layers/0/residual", "an image of 26x26 of one of 28x28");
  expect(R"({"branches": [[], [{"max_pool": {"size": 2}}]]})", "/layers/0/branches",
         "28x28 and 14x14");
  expect(R"({"residual": [{"conv": {"filters": 8, "kernel": 3, "dilation": 14, "padding": "valid"}},
                          {"dropout": {"rate": 0.5}}]})",
         "/layers/0/residual/0/conv", "a window of 29x29 leaves nothing of an image of 28x28");
}

TEST(CnnPlan, CountsTheMemoryOfParametersAndMoments) {
  const Plan plan = make_plan(good(block(R"({"dense": {"units": 128}})")), kFashion);
  const Memory none = make_memory(plan, 0), two = make_memory(plan, 2);
  EXPECT_GE(two.total_bytes() - none.total_bytes(), 2U * 4U * 784U * 128U);
  EXPECT_GT(none.total_bytes(), 2U * 4U * 784U * 128U);
}

TEST(CnnPlan, RefusesMemoryThatNoMachineHas) {
  const Plan plan =
      make_plan(good(block(R"({"conv": {"filters": 65536, "kernel": 3}})")), kFashion);
  EXPECT_THAT(make_memory(plan, 0).too_large, HasSubstr("8 GiB"));
}

TEST(CnnSchedule, WarmsUpThenFollowsACosine) {
  const NetworkSpec spec = good(block("", R"("optimizer": {"name": "sgd", "learning_rate": 2.0},
             "schedule": {"name": "cosine", "warmup_epochs": 1})"));
  EXPECT_DOUBLE_EQ(learning_rate(spec, 10, 0), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(spec, 10, 9), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(spec, 10, 10), 2.0);
  EXPECT_NEAR(learning_rate(spec, 10, 20), 1.0, 1e-15);
  EXPECT_NEAR(learning_rate(spec, 10, 29), 0.0123, 1e-4);
  EXPECT_EQ(learning_rate(spec, 10, 30), 0.0);
}

TEST(CnnSchedule, StepsDownEverySoManyEpochs) {
  const NetworkSpec spec = good(block("", R"("optimizer": {"name": "sgd", "learning_rate": 2.0},
      "schedule": {"name": "step", "every_epochs": 1.5, "factor": 0.5, "warmup_epochs": 0.5})"));
  EXPECT_DOUBLE_EQ(learning_rate(spec, 10, 0), 0.4);
  EXPECT_DOUBLE_EQ(learning_rate(spec, 10, 14), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(spec, 10, 15), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(spec, 10, 29), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(spec, 10, 30), 0.5);
}

// The figures of torch.optim.lr_scheduler.OneCycleLR(max_lr=2, total_steps=30) of PyTorch 2.
TEST(CnnSchedule, RunsOneCycleAsPyTorchDoes) {
  const NetworkSpec spec = good(block("", R"("optimizer": {"name": "sgd", "learning_rate": 2.0},
      "schedule": {"name": "one_cycle"})"));
  EXPECT_NEAR(learning_rate(spec, 10, 0), 2.0 / 25, 1e-15);
  EXPECT_NEAR(learning_rate(spec, 10, 4), 1.04, 1e-12);  // half way up
  EXPECT_NEAR(learning_rate(spec, 10, 8), 2.0, 1e-15);
  EXPECT_NEAR(learning_rate(spec, 10, 29), 2.0 / 25 * 1e-4, 1e-12);
}

TEST(CnnSchedule, HasItsOwnCosine) {
  for (int i = 0; i <= 1000; ++i)
    EXPECT_NEAR(cosine_of_half_turns(i / 1000.0), std::cos(i / 1000.0 * 3.141592653589793), 2e-15);
}

TEST(CnnPlanner, TellsCostAndImpossiblePoints) {
  TrainerSetup setup;
  setup.config = R"({"name": "cnn", "dataset": "synthetic", "epochs": 2, "validation": 0.25,
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "layers": [{"max_pool": {"size": {"$param": "size"}}},
               {"dense": {"units": {"$param": "units"}}}]})";
  const auto planner = make_cnn_planner(setup);
  ParamSet params;
  params.set("size", Value(std::int64_t{2}));
  params.set("units", Value(std::int64_t{20}));
  const Estimate small = planner->estimate(params);
  EXPECT_EQ(small.infeasible, "");
  EXPECT_EQ(small.epochs, 2);
  EXPECT_EQ(small.parameters, 36 * 20 + 20 + 200 + 10);
  EXPECT_EQ(small.flops, 2 * 2.0 * (384 * (2 * 720.0 + 3 * 200) + 128 * 920));
  EXPECT_GT(small.bytes, 640U * 144U);
  params.set("size", Value(std::int64_t{13}));
  EXPECT_THAT(planner->estimate(params).infeasible,
              HasSubstr("/trainer/layers/0/max_pool: a window of 13x13 leaves nothing"));
  params.set("size", Value(2.5));
  EXPECT_THAT(planner->estimate(params).infeasible, HasSubstr("(is 2.5)"));
}

}  // namespace
}  // namespace brood::cnn
