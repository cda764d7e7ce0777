// Goal: a model's file says all that is needed to use it, and nothing else is taken for one.
// Method: small trainings, whose checkpoints and models are read back; files with one thing
// changed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/random_network.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/cnn/classifier.h"
#include "trainers/cnn/model.h"
#include "trainers/cnn/training.h"

namespace brood::cnn {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Models : public testing::Test {
 protected:
  Models() : folder_(fs::temp_directory_path() / ("brood_model_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~Models() override { fs::remove_all(folder_); }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }

  // The checkpoint of a short training with averaged weights.
  std::string checkpoint() const {
    std::vector<Problem> problems;
    TrainingInput input;
    input.spec = parse_network(R"({"name": "cnn", "epochs": 3, "batch_size": 16, "ema": 0.9,
      "dataset": {"synthetic": {"classes": 3, "size": 8, "train": 60, "test": 20}},
      "optimizer": {"name": "adam", "learning_rate": 0.01},
      "layers": [{"conv": {"filters": 4, "kernel": 3, "batch_norm": true}},
                 {"global_avg_pool": {}}]})",
                               problems);
    EXPECT_TRUE(problems.empty());
    input.data = load_dataset(input.spec.dataset, "");
    input.kernels = available_kernels().front();
    input.experiment_seed = 7;
    Assignment assignment;
    assignment.seed = (std::uint64_t{1} << 63) + 5;
    const auto training = make_training(input, assignment);
    while (!training->step()) continue;
    training->save(file("epoch_1.ckpt"));
    return file("epoch_1.ckpt");
  }

  std::string refused(const std::string& path) const {
    try {
      read_model(path);
    } catch (const UserError& error) {
      return error.what();
    }
    return "was read";
  }

 private:
  fs::path folder_;
};

bool same(const std::vector<NamedArray>& a, const std::vector<NamedArray>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.name == y.name && x.shape == y.shape && x.values == y.values;
  });
}

TEST_F(Models, ACheckpointIsAModelWithItsAveragedWeights) {
  const Model model = read_model(checkpoint());
  EXPECT_EQ(model.epochs, 1);
  EXPECT_EQ(model.description.trial_seed, (std::uint64_t{1} << 63) + 5);
  EXPECT_EQ(model.description.experiment_seed, 7U);
  EXPECT_EQ(model.description.classes, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(model.description.data.train, 54);
  const Checkpoint raw = read_checkpoint(file("epoch_1.ckpt"));
  const auto in_file = [&](const std::string& name) {
    return std::find_if(raw.arrays.begin(), raw.arrays.end(),
                        [&](const NamedArray& array) { return array.name == name; })
        ->values;
  };
  const NamedArray& weight = model.parameters.front();
  EXPECT_EQ(weight.values, in_file("average." + weight.name));
  EXPECT_NE(weight.values, in_file(weight.name));
}

TEST_F(Models, AModelIsReadAsItWasWritten) {
  const Model model = read_model(checkpoint());
  write_model(file("m.safetensors"), model);
  const Model back = read_model(file("m.safetensors"));
  EXPECT_EQ(back.description, model.description);
  EXPECT_EQ(back.epochs, 1);
  EXPECT_TRUE(same(back.parameters, model.parameters));
  EXPECT_TRUE(same(back.states, model.states));
  EXPECT_TRUE(looks_like_model(file("m.safetensors")));
  std::ofstream(file("config.json")) << "{\"version\": 1, \"experiment\": 1}";
  EXPECT_FALSE(looks_like_model(file("config.json")));
  EXPECT_FALSE(looks_like_model(file("nowhere")));
}

TEST_F(Models, ACheckpointWithoutADescriptionNeedsOne) {
  const Model model = read_model(checkpoint());
  Checkpoint old = read_checkpoint(file("epoch_1.ckpt"));
  std::erase_if(old.metadata, [](const auto& entry) { return entry.first == "model"; });
  write_checkpoint(file("old"), old);
  EXPECT_THAT(refused(file("old")), HasSubstr("does not say what network it is of"));
  const Model back = read_model(file("old"), model.description);
  EXPECT_TRUE(same(back.parameters, model.parameters));
}

TEST_F(Models, WhatIsNoModelIsRefusedWithItsReason) {
  const Model model = read_model(checkpoint());
  const auto changed = [&](const std::function<void(Model&)>& change) {
    Model other = model;
    change(other);
    write_model(file("changed"), other);
    return refused(file("changed"));
  };
  EXPECT_THAT(changed([](Model& m) { m.description.classes.pop_back(); }),
              HasSubstr("names 2 classes, and has 3"));
  EXPECT_THAT(changed([](Model& m) { m.description.data.height = 0; }), HasSubstr("empty image"));
  EXPECT_THAT(changed([](Model& m) { m.description.data.width = 1 << 20; }),
              HasSubstr("has 1048576 as \"width\""));
  EXPECT_THAT(changed([](Model& m) { m.description.data.classes = -1; }), HasSubstr("\"classes\""));
  EXPECT_THAT(changed([](Model& m) { m.description.trainer = R"({"name": "cnn"})"; }),
              HasSubstr("its network cannot be: /dataset"));
  EXPECT_THAT(changed([](Model& m) { m.parameters.pop_back(); }), HasSubstr("has no array"));
  EXPECT_THAT(changed([](Model& m) { m.description.data.channels = 2; }),
              HasSubstr("its network's 3x3x2x4"));
  std::ofstream(file("text")) << "a text, and longer than eight bytes";
  EXPECT_THAT(refused(file("text")), HasSubstr("text"));
  Checkpoint other;
  other.metadata = {{"format", "pt"}};
  write_checkpoint(file("other"), other);
  EXPECT_THAT(refused(file("other")), HasSubstr("its format is \"pt\""));
}

TEST_F(Models, OtherWaysToScalePixelsAreRefused) {
  Checkpoint file_of = read_checkpoint(checkpoint());
  for (auto& [key, value] : file_of.metadata)
    if (key == "model") value.replace(value.find("\"mean\":0.5"), 10, "\"mean\":0.4");
  write_checkpoint(file("scaled"), file_of);
  EXPECT_THAT(refused(file("scaled")), HasSubstr("its pixels are scaled by"));
}

TEST_F(Models, ClassifyTheSameWhateverTheBatch) {
  Rng rng(3, 0, Purpose::simulate);
  for (int networks = 0; networks < 30;) {
    const Model model = random_model(rng);
    if (!model.plan.infeasible.empty()) continue;
    ++networks;
    std::vector<std::vector<std::uint8_t>> images(9);
    std::vector<const std::uint8_t*> places;
    for (auto& image : images) {
      for (std::int64_t i = 0; i < model.plan.tensors.front().count(); ++i)
        image.push_back(static_cast<std::uint8_t>(rng.below(256)));
      places.push_back(image.data());
    }
    const Kernels& kernels = *available_kernels().front();
    const auto together = Classifier(model, kernels, 9).logits(places);
    Classifier alone(model, kernels, 4);
    for (std::size_t i = 0; i < places.size(); ++i)
      EXPECT_EQ(alone.logits({{places[i]}})[0], together[i]) << model.description.trainer;
  }
}

}  // namespace
}  // namespace brood::cnn
