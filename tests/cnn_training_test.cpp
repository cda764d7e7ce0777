// Goal: a trial learns, gives the same bits at each run, and goes on from a checkpoint with the
// bits it would have had; a damaged checkpoint is refused. Method: tiny networks on the synthetic
// images through the interfaces that a worker uses, on every kernel set; a golden file of losses
// of the baseline set, which is the same on every machine. BROOD_GOLDEN=rewrite writes it anew.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/rng.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/cnn/cnn.h"
#include "trainers/cnn/network.h"
#include "trainers/cnn/training.h"

namespace brood::cnn {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string config(const std::string& optimizer, int epochs = 3, const std::string& more = "") {
  return R"({"name": "cnn", "validation": 0.2, "batch_size": 32, "epochs": )" +
         std::to_string(epochs) + more +
         R"(, "dataset": {"synthetic": {"classes": 4, "size": 9, "train": 200, "test": 40}},
    "optimizer": )" +
         optimizer + R"(,
    "layers": [{"conv": {"filters": 5, "kernel": 3, "activation": "relu", "batch_norm": true}},
               {"max_pool": {"size": 2}}, {"dropout": {"rate": 0.2}},
               {"dense": {"units": 12, "activation": "relu"}}]})";
}

const char* const kSgd = R"({"name": "sgd", "learning_rate": 0.05, "momentum": 0.9})";
const char* const kAdam = R"({"name": "adam", "learning_rate": 0.01, "weight_decay": 0.001})";
const char* const kAdamW = R"({"name": "adamw", "learning_rate": 0.01})";

TrainingInput input_of(const std::string& json, const Kernels& kernels) {
  std::vector<Problem> problems;
  TrainingInput input;
  input.spec = parse_network(json, problems);
  for (const Problem& p : problems) ADD_FAILURE() << p.pointer << ": " << p.message;
  input.data = load_dataset(input.spec.dataset, "");
  input.kernels = &kernels;
  return input;
}

std::vector<Metric> exact(const Report& report) {
  std::vector<Metric> out;
  for (const Metric& metric : report.metrics)
    if (metric.exact) out.push_back(metric);
  return out;
}

// Exact metrics of each epoch up to the last.
std::vector<std::vector<Metric>> train(Training& training, int epochs) {
  std::vector<std::vector<Metric>> out;
  while (static_cast<int>(out.size()) < epochs)
    if (const auto report = training.step()) out.push_back(exact(*report));
  return out;
}

class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() /
              ("brood_cnn_training_" + std::to_string(::getpid()) + "_" +
               std::string(testing::UnitTest::GetInstance()->current_test_info()->test_suite_name())
                   .substr(0, 3))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

class EveryKernelSet : public testing::TestWithParam<const Kernels*> {};

TEST_P(EveryKernelSet, GivesTheSameBitsTwice) {
  for (const char* optimizer : {kSgd, kAdam, kAdamW}) {
    Assignment assignment;
    assignment.seed = 11;
    const auto one = make_training(input_of(config(optimizer), *GetParam()), assignment);
    const auto two = make_training(input_of(config(optimizer), *GetParam()), assignment);
    EXPECT_EQ(train(*one, 2), train(*two, 2));
    assignment.seed = 12;
    const auto other = make_training(input_of(config(optimizer), *GetParam()), assignment);
    EXPECT_NE(train(*one, 1), train(*other, 1));
  }
}

TEST_P(EveryKernelSet, ContinuesFromACheckpointWithTheSameBits) {
  const Folder folder;
  for (const char* optimizer : {kSgd, kAdam, kAdamW}) {
    const std::string json =
        config(optimizer, 4, R"(, "schedule": {"name": "cosine", "warmup_epochs": 1})");
    Assignment assignment;
    assignment.seed = 5;
    const auto whole = make_training(input_of(json, *GetParam()), assignment);
    const auto wanted = train(*whole, 4);
    const auto first = make_training(input_of(json, *GetParam()), assignment);
    train(*first, 2);
    first->save(folder.file("half.safetensors"));
    assignment.first_epoch = 3;
    assignment.resume_from = folder.file("half.safetensors");
    const auto second = make_training(input_of(json, *GetParam()), assignment);
    EXPECT_EQ(second->steps(), first->steps());
    const auto got = train(*second, 2);
    EXPECT_EQ(got[0], wanted[2]);
    EXPECT_EQ(got[1], wanted[3]);
    whole->save(folder.file("a"));
    second->save(folder.file("b"));
    std::ostringstream a, b;
    a << std::ifstream(folder.file("a"), std::ios::binary).rdbuf();
    b << std::ifstream(folder.file("b"), std::ios::binary).rdbuf();
    EXPECT_EQ(a.str(), b.str()) << "weights, moments and statistics";
  }
}

// The first slice ends where the clock says, mostly in the middle of the first epoch.
TEST_P(EveryKernelSet, ContinuesFromTheMiddleOfAnEpochWithTheSameBits) {
  const Folder folder;
  const std::string json =
      R"({"dataset": {"synthetic": {"size": 8, "train": 3000}}, "epochs": 2, "batch_size": 10,
          "optimizer": {"name": "adam", "learning_rate": 0.01},
          "layers": [{"conv": {"filters": 9, "kernel": 3}}, {"dropout": {"rate": 0.5}}]})";
  Assignment assignment;
  assignment.seed = 4;
  const auto whole = make_training(input_of(json, *GetParam()), assignment);
  const auto wanted = train(*whole, 2);
  const auto first = make_training(input_of(json, *GetParam()), assignment);
  if (first->step()) assignment.first_epoch = 2;
  first->save(folder.file("cut.safetensors"));
  assignment.resume_from = folder.file("cut.safetensors");
  const auto second = make_training(input_of(json, *GetParam()), assignment);
  EXPECT_EQ(train(*second, 3 - assignment.first_epoch).back(), wanted.back());
}

TEST_P(EveryKernelSet, LearnsTheSyntheticImages) {
  Assignment assignment;
  assignment.seed = 1;
  const auto training =
      make_training(input_of(R"({"dataset": "synthetic", "epochs": 6, "batch_size": 32,
                   "optimizer": {"name": "adam", "learning_rate": 0.005},
                   "layers": [{"conv": {"filters": 8, "kernel": 3, "activation": "relu"}},
                              {"max_pool": {"size": 2}}]})",
                             *GetParam()),
                    assignment);
  const auto epochs = train(*training, 6);
  ASSERT_EQ(epochs.back()[3].name, "val_accuracy");
  EXPECT_GT(epochs.back()[3].value, 0.9);
}

std::string set_name(const testing::TestParamInfo<const Kernels*>& set) { return set.param->name; }
INSTANTIATE_TEST_SUITE_P(Cnn, EveryKernelSet, testing::ValuesIn(available_kernels()), set_name);

TEST(CnnTraining, ReportsTestMetricsOnlyWhenAsked) {
  const Kernels& kernels = *available_kernels().back();
  const auto names = [&](const std::string& more) {
    Report report;
    const auto training = make_training(input_of(config(kSgd, 1, more), kernels), {});
    while (true)
      if (const auto got = training->step()) {
        report = *got;
        break;
      }
    std::string out;
    for (const Metric& metric : report.metrics) out += metric.name + (metric.exact ? " " : "* ");
    return out;
  };
  EXPECT_EQ(names(""),
            "train_loss train_accuracy val_loss val_accuracy seconds* images_per_second* ");
  EXPECT_EQ(names(R"(, "evaluate_test": true, "limit_test": 10)"),
            "train_loss train_accuracy val_loss val_accuracy test_loss test_accuracy seconds* "
            "images_per_second* ");
}

TEST(CnnTraining, TellsADivergedTrialAsNan) {
  std::string json = config(R"({"name": "sgd", "learning_rate": 1000, "momentum": 0.99})", 6);
  const std::string normalised = ", \"batch_norm\": true";
  json.erase(json.find(normalised), normalised.size());
  const auto training = make_training(input_of(json, *available_kernels().back()), {});
  const auto last = train(*training, 6).back();
  EXPECT_FALSE(std::isfinite(last[0].value)) << last[0].value;
  // The accuracy, always finite, would not show it.
  TrainingInput judged = input_of(json, *available_kernels().back());
  judged.objective = "val_accuracy";
  try {
    train(*make_training(std::move(judged), {}), 6);
    FAIL();
  } catch (const TrialFailure& failure) {
    EXPECT_EQ(failure.cause(), Cause::nan);
    EXPECT_THAT(failure.what(), HasSubstr("train_loss became "));
  }
}

TEST(CnnTraining, RefusesATrialAboveItsMemory) {
  TrainingInput input = input_of(config(kSgd), *available_kernels().back());
  input.memory_max = 10000;
  try {
    make_training(std::move(input), {});
    FAIL();
  } catch (const TrialFailure& failure) {
    EXPECT_EQ(failure.cause(), Cause::memory);
  }
}

TEST(CnnCheckpoint, IsRefusedWhenDamagedAnywhere) {
  const Folder folder;
  const std::string path = folder.file("c"), bad = folder.file("bad");
  write_checkpoint(path, {{{"format", "x"}}, {{"a", {2, 2}, {1, 2, 3, 4}}, {"b", {1}, {5}}}});
  const Checkpoint back = read_checkpoint(path);
  EXPECT_EQ(back.text("format"), "x");
  ASSERT_EQ(back.arrays.size(), 2U);
  EXPECT_EQ(back.arrays[0].values, (std::vector<float>{1, 2, 3, 4}));
  std::ostringstream stream;
  stream << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string bytes = stream.str();
  const auto refused = [&](const std::string& content) {
    std::ofstream(bad, std::ios::binary) << content;
    try {
      read_checkpoint(bad);
      return false;
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr(bad));
      return true;
    }
  };
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_TRUE(refused(bytes.substr(0, size))) << "cut to " << size;
  EXPECT_TRUE(refused(bytes + "x"));
  std::string other = bytes;
  other.replace(other.find("F32"), 3, "F64");
  EXPECT_TRUE(refused(other));
  other = bytes;
  other.replace(other.find("[0,16]"), 6, "[0,12]");
  EXPECT_TRUE(refused(other));
  EXPECT_TRUE(refused(std::string(8, '\xff') + bytes.substr(8)));
  for (std::size_t at = bytes.size() - 20; at < bytes.size(); ++at) {
    other = bytes;
    other[at] = static_cast<char>(other[at] ^ 1);
    EXPECT_TRUE(refused(other)) << "one bit of byte " << at << " of the arrays";
  }
}

TEST(CnnCheckpoint, OfAnotherNetworkIsRefusedByName) {
  const Folder folder;
  const Kernels& kernels = *available_kernels().back();
  const auto training = make_training(input_of(config(kSgd), kernels), {});
  train(*training, 1);
  training->save(folder.file("c"));
  Assignment assignment;
  assignment.resume_from = folder.file("c");
  assignment.first_epoch = 2;
  const auto expect = [&](const std::string& json, const std::string& part) {
    try {
      make_training(input_of(json, kernels), assignment);
      FAIL() << part;
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  };
  expect(config(kAdam), "second_moment");
  std::string wider = config(kSgd);
  wider.replace(wider.find("12"), 2, "13");
  expect(wider, "is 80x12, expected 80x13");
  assignment.first_epoch = 3;
  expect(config(kSgd), "it continues at epoch 2, the trial at epoch 3");
}

TEST(CnnCheckpoint, SaysWhyItCannotBeWritten) {
  const auto training = make_training(input_of(config(kSgd), *available_kernels().back()), {});
  EXPECT_THROW(training->save("/proc/brood/checkpoint"), UserError);
}

TEST(CnnDropout, KeepsTheShareItShouldAndDrawsNewMasks) {
  for (const Kernels* kernels : available_kernels()) {
    constexpr std::int64_t kCount = 100000;
    std::vector<std::uint8_t> one(kCount), two(kCount), again(kCount);
    const auto threshold = static_cast<std::uint32_t>(0.3 * 0x1.0p32);
    kernels->dropout_mask(42, 1, 7, 0, kCount, threshold, one.data());
    kernels->dropout_mask(42, 1, 7, 0, kCount, threshold, again.data());
    kernels->dropout_mask(42, 1, 8, 0, kCount, threshold, two.data());
    EXPECT_EQ(one, again);
    std::int64_t kept = 0, both = 0;
    for (std::size_t i = 0; i < kCount; ++i) {
      kept += one[i];
      both += one[i] && two[i];
    }
    // Five standard deviations of the binomial.
    EXPECT_NEAR(static_cast<double>(kept) / kCount, 0.7, 0.0073);
    EXPECT_NEAR(static_cast<double>(both) / kCount, 0.49, 0.0080);
    EXPECT_EQ(std::vector<std::uint8_t>(one.begin() + 400, one.begin() + 500), [&] {
      std::vector<std::uint8_t> part(100);
      kernels->dropout_mask(42, 1, 7, 400, 100, threshold, part.data());
      return part;
    }());
  }
}

TEST(CnnOptimizers, FollowTheirDefinitions) {
  for (const Kernels* kernels : available_kernels()) {
    float w[3] = {1.0F, -2.0F, 0.5F}, velocity[3] = {0.5F, 0.0F, 0.0F};
    const float slope[3] = {0.1F, 0.2F, -0.3F};
    kernels->sgd(w, slope, velocity, 3, 0.1F, 0.9F, 0.01F, false);
    EXPECT_NEAR(velocity[0], 0.45 + 0.1 + 0.01, 1e-6);
    EXPECT_NEAR(w[0], 1.0 - 0.1 * 0.56, 1e-6);
    kernels->sgd(w, slope, nullptr, 3, 0.1F, 0.0F, 0.0F, false);
    EXPECT_NEAR(w[2], 0.5 + 0.1 * (0.3 - 0.005) + 0.03, 1e-6);
    float a[1] = {1.0F}, first[1] = {0.0F}, second[1] = {0.0F};
    const float one[1] = {0.5F};
    // The first step of Adam is the learning rate, whatever the gradient.
    kernels->adam(a, one, first, second, 1,
                  {0.9F, 0.999F, 1e-8F, 0.01F / (1 - 0.9F),
                   static_cast<float>(1 / std::sqrt(1 - 0.999)), 0.0F, 0.5F});
    EXPECT_NEAR(a[0], 0.5 * 1.0 - 0.01, 1e-5);
  }
}

TEST(CnnNumericClass, IsOfferedOrRefusedByName) {
  const auto classes = cnn_numeric_classes();
  EXPECT_EQ(classes.back(), "cpu/baseline/fp32/3");
  EXPECT_EQ(numeric_class(kernels_of("")), classes.front());
  try {
    kernels_of("cpu/avx9/fp32/3");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("cpu/avx9/fp32/3"));
    EXPECT_THAT(error.what(), HasSubstr("cpu/baseline/fp32/3"));
  }
}

TEST(CnnTrainer, ServesAnAssignmentFromStartToEnd) {
  const Folder folder;
  TrainerSetup setup;
  setup.config = config(R"({"name": "sgd", "learning_rate": {"$param": "rate"}})");
  setup.objective = "val_accuracy";
  const auto trainer = make_cnn(setup);
  EXPECT_EQ(trainer->offer().numeric_class, cnn_numeric_classes().front());
  Assignment assignment;
  assignment.params.set("rate", Value(0.05));
  assignment.last_epoch = 3;
  assignment.save_dir = folder.file("saved");
  assignment.save_every_epochs = 1;
  trainer->start(0, assignment);
  int reports = 0, saved = 0;
  for (bool running = true; running;) {
    for (const Event& event : trainer->advance(Millis(50))) {
      reports += event.kind == Event::Kind::report;
      saved += event.kind == Event::Kind::saved;
      EXPECT_NE(event.kind, Event::Kind::failed) << event.why;
      running = running && event.kind != Event::Kind::ended && event.kind != Event::Kind::failed;
    }
  }
  EXPECT_EQ(reports, 3);
  EXPECT_GE(saved, 2);
}

TEST(CnnTrainer, FailsATrialWhosePointMakesNoSense) {
  TrainerSetup setup;
  setup.config = config(R"({"name": "sgd", "learning_rate": {"$param": "rate"}})");
  setup.objective = "val_accuracy";
  const auto trainer = make_cnn(setup);
  Assignment assignment;
  assignment.params.set("rate", Value(-1.0));
  trainer->start(0, assignment);
  std::string why;
  for (int i = 0; i < 10 && why.empty(); ++i)
    for (const Event& event : trainer->advance(Millis(50)))
      if (event.kind == Event::Kind::failed) why = event.why;
  EXPECT_THAT(why, HasSubstr("/trainer/optimizer/learning_rate: must be a number above 0.0"));
}

TEST(CnnGolden, LossesOfTenStepsAreWhatTheyWere) {
  const TrainingInput input = input_of(
      R"({"dataset": "synthetic", "epochs": 1, "batch_size": 16,
          "optimizer": {"name": "adam", "learning_rate": 0.003},
          "layers": [{"conv": {"filters": 6, "kernel": 3, "activation": "relu"}},
                     {"max_pool": {"size": 2}},
                     {"conv": {"filters": 12, "kernel": 3, "stride": 2, "batch_norm": true,
                               "activation": "relu"}},
                     {"dropout": {"rate": 0.25}},
                     {"dense": {"units": 20, "activation": "relu"}}]})",
      *available_kernels().back());
  const Dataset& data = *input.data;
  Network network(make_plan(input.spec, {data.height, data.width, data.channels, data.classes,
                                         data.train.count, 0, 0}),
                  input.spec.optimizer, *input.kernels);
  network.initialise(1);
  const FlushDenormals flush;
  std::ostringstream losses;
  for (int step = 0; step < 10; ++step) {
    std::vector<std::uint16_t> labels;
    for (int n = 0; n < 16; ++n) {
      network.set_image(n, data.pixels(data.train, step * 16 + n));
      labels.push_back(data.train.labels[static_cast<std::size_t>(step * 16 + n)]);
    }
    losses << std::hexfloat << network.train(labels, 3, static_cast<std::uint64_t>(step)).loss
           << "\n";
    network.update(0.003, step + 1);
  }
  const char* source = std::getenv("BROOD_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "set BROOD_SOURCE_DIR to the source tree";
  const std::string path = std::string(source) + "/tests/golden/cnn_losses.txt";
  const char* mode = std::getenv("BROOD_GOLDEN");
  if (mode && std::string(mode) == "rewrite") std::ofstream(path) << losses.str();
  std::ostringstream golden;
  golden << std::ifstream(path).rdbuf();
  EXPECT_EQ(losses.str(), golden.str()) << "BROOD_GOLDEN=rewrite writes " << path;
}

}  // namespace
}  // namespace brood::cnn
