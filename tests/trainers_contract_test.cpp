// Goal: every trainer keeps the promises of engine/trainer.h.
// Method: one suite over all trainers by name; a new one is tested by being listed. The command
// trainer runs this very program, and the Python example.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "tests/trainers_drive.h"
#include "trainers/trainers.h"

namespace brood {
namespace {

using testing::ElementsAre;

struct Case {
  const char* name;
  TrainerSetup (*setup)();
};

std::string source_file(const std::string& name) {
  const char* const root = std::getenv("BROOD_SOURCE_DIR");
  return (root != nullptr ? root : ".") + ('/' + name);
}

TrainerSetup synthetic() {
  TrainerSetup setup;
  setup.name = "synthetic";
  setup.config = R"({"name": "synthetic", "function": "rastrigin", "noise": 0.1, "epochs": 3})";
  setup.objective = "loss";
  return setup;
}

TrainerSetup example() {
  TrainerSetup setup;
  setup.name = "command";
  setup.config = R"({"name": "command", "argv": ["python3", ")" + source_file("examples/train.py") +
                 R"("], "epochs": 3})";
  setup.objective = "val_accuracy";
  return setup;
}

TrainerSetup cnn() {
  TrainerSetup setup;
  setup.name = "cnn";
  setup.config = R"({"name": "cnn", "epochs": 3, "batch_size": 16, "validation": 50,
    "dataset": {"synthetic": {"classes": 3, "size": 8, "train": 200, "test": 20}},
    "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "layers": [{"conv": {"filters": 4, "kernel": 3, "activation": "relu"}},
               {"dropout": {"rate": {"$param": "x"}}}]})";
  setup.objective = "val_accuracy";
  return setup;
}

class TrainerContract : public testing::TestWithParam<Case> {
 protected:
  TrainerContract() : trainer_(make_trainer(GetParam().setup())) {}

  Assignment trial(TrialId id, int epochs) {
    Assignment out = trial_of(id, epochs);
    out.params.set("learning_rate", 0.1);
    out.params.set("momentum", 0.9);
    out.log = folder_.path("trial.log");
    return out;
  }
  std::vector<Event> train(const Assignment& assignment) {
    trainer_->start(0, assignment);
    return drive_to_end(*trainer_);
  }

  TestFolder folder_;
  std::unique_ptr<Trainer> trainer_;
};

TEST_P(TrainerContract, OffersASlotAndANumericClass) {
  const Offer offer = trainer_->offer();
  EXPECT_GE(offer.slots, 1);
  EXPECT_FALSE(offer.numeric_class.empty());
  EXPECT_FALSE(offer.device.empty());
}

TEST_P(TrainerContract, ReportsEveryEpochInOrderAndEnds) {
  const auto events = train(trial(1, 3));
  EXPECT_THAT(story(events), ElementsAre("report 1", "report 2", "report 3", "ended 3"));
  const std::string objective = GetParam().setup().objective;
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NE(events[i].report.find(objective), nullptr);
}

TEST_P(TrainerContract, TheSameSeedGivesTheSameExactMetrics) {
  const auto first = train(trial(1, 3));
  const auto second = train(trial(2, 3));
  trainer_ = make_trainer(GetParam().setup());
  const auto third = train(trial(1, 3));
  EXPECT_FALSE(exact_metrics(first).empty());
  EXPECT_EQ(exact_metrics(first), exact_metrics(second));
  EXPECT_EQ(exact_metrics(first), exact_metrics(third));
}

TEST_P(TrainerContract, AnotherSeedGivesOtherMetrics) {
  Assignment other = trial(1, 3);
  const auto first = train(other);
  other.seed = 18;
  EXPECT_NE(exact_metrics(first), exact_metrics(train(other)));
}

TEST_P(TrainerContract, AResumedTrialGivesTheMetricsOfAnUndisturbedOne) {
  const auto whole = exact_metrics(train(trial(1, 4)));
  Assignment first = trial(2, 2);
  first.save_dir = folder_.path("not/made/yet");
  first.save_every_epochs = 1;
  const auto before = train(first);
  EXPECT_THAT(story(before), ElementsAre("report 1", "saved 1", "report 2", "saved 2", "ended 2"));
  Assignment second = trial(2, 4);
  second.attempt = 2;
  second.first_epoch = 3;
  second.resume_from = before[3].path;
  const auto after = train(second);
  EXPECT_THAT(story(after), ElementsAre("report 3", "report 4", "ended 4"));
  auto together = exact_metrics(before);
  for (const Metric& metric : exact_metrics(after)) together.push_back(metric);
  EXPECT_EQ(together, whole);
}

TEST_P(TrainerContract, ASaveOnRequestFollowsAnEpoch) {
  Assignment assignment = trial(1, 100'000);
  assignment.save_dir = folder_.path("checkpoints");
  trainer_->start(0, assignment);
  drive(*trainer_, [](const auto& events) { return !events.empty(); });
  trainer_->save(0);
  // A quick program may have reported the next epoch by the time we look.
  const auto saved = [](const Event& event) { return event.kind == Event::Kind::saved; };
  const auto events = drive(
      *trainer_, [&](const auto& seen) { return std::any_of(seen.begin(), seen.end(), saved); });
  const auto at = std::find_if(events.begin(), events.end(), saved);
  ASSERT_NE(at, events.end());
  ASSERT_NE(at, events.begin());
  EXPECT_EQ(std::prev(at)->report.epoch, at->epoch);
  EXPECT_TRUE(std::ifstream(at->path).good());
  trainer_->stop(0);
}

TEST_P(TrainerContract, AStopFreesTheSlotAndNoEventFollows) {
  for (int epochs_seen = 0; epochs_seen < 2; ++epochs_seen) {
    trainer_->start(0, trial(1, 100'000));
    if (epochs_seen > 0) drive(*trainer_, [](const auto& events) { return !events.empty(); });
    trainer_->stop(0);
    EXPECT_THAT(story(train(trial(2, 1))), ElementsAre("report 1", "ended 1"));
  }
}

TEST_P(TrainerContract, AnUnreadableCheckpointIsToldAsSuch) {
  Assignment assignment = trial(1, 3);
  assignment.first_epoch = 2;
  assignment.resume_from = folder_.path("nothing.ckpt");
  Cause told = Cause::none;
  try {
    told = train(assignment).back().cause;
  } catch (const TrialFailure& failure) {  // from start(): the worker makes an event of it
    told = failure.cause();
  }
  EXPECT_EQ(told, Cause::checkpoint);
  EXPECT_THAT(story(train(trial(2, 1))), ElementsAre("report 1", "ended 1"));
}

TEST_P(TrainerContract, ThePlannerKnowsTheEpochs) {
  const auto planner = make_planner(GetParam().setup());
  const Estimate estimate = planner->estimate(trial(1, 1).params);
  EXPECT_EQ(estimate.epochs, 3);
  EXPECT_EQ(estimate.infeasible, "");
}

TEST_P(TrainerContract, AnotherNumericClassIsRefusedByName) {
  TrainerSetup setup = GetParam().setup();
  setup.numeric_class = "abacus-1";
  try {
    make_trainer(setup);
    FAIL() << "was accepted";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("abacus-1"));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Trainers, TrainerContract,
    testing::Values(Case{"Synthetic", synthetic},
                    Case{"SyntheticWithSlots",
                         [] {
                           TrainerSetup setup = synthetic();
                           setup.slots = 3;
                           return setup;
                         }},
                    Case{"Command", [] { return program_setup("honest"); }},
                    Case{"PersistentCommand",
                         [] { return program_setup("persistent", R"("persistent": true, )"); }},
                    Case{"PythonExample", example}, Case{"Cnn", cnn}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(OneSlot, SavesTheLastEpochOnlyWhenItBeatsWhatIsKept) {
  const TestFolder folder;
  const auto saved = [&](TrialId id, std::optional<Assignment::Worth> worth, int every = 3) {
    const auto trainer = make_trainer(synthetic());
    Assignment assignment = trial_of(id, 3);
    assignment.save_dir = folder.path("checkpoints");
    assignment.save_every_epochs = every;
    assignment.save_last_if = worth;
    trainer->start(0, assignment);
    std::vector<int> epochs;
    std::vector<double> losses;
    for (const Event& event : drive_to_end(*trainer)) {
      if (event.kind == Event::Kind::saved) epochs.push_back(event.epoch);
      if (event.kind == Event::Kind::report) losses.push_back(event.report.find("loss")->value);
    }
    return std::pair(epochs, losses);
  };
  const std::vector<double> losses = saved(1, {}).second;
  const double last = losses.back(), least = *std::min_element(losses.begin(), losses.end());
  EXPECT_THAT(saved(1, {}).first, ElementsAre(3));
  EXPECT_THAT(saved(1, Assignment::Worth{last + 1e-9, false, false}).first, ElementsAre(3));
  EXPECT_THAT(saved(1, Assignment::Worth{last, false, false}).first, ElementsAre());
  EXPECT_THAT(saved(1, Assignment::Worth{last + 1e-9, true, false}).first, ElementsAre());
  EXPECT_THAT(saved(1, Assignment::Worth{least + 1e-9, false, true}).first, ElementsAre(3));
  EXPECT_THAT(saved(1, Assignment::Worth{least, false, true}).first, ElementsAre());
  EXPECT_THAT(saved(1, Assignment::Worth{least, false, true}, 2).first, ElementsAre(2));
}

TEST(Trainers, EveryNamedTrainerIsInTheSuite) {
  EXPECT_THAT(trainer_names(), ElementsAre("cnn", "command", "synthetic"));
}

TEST(Trainers, AnUnknownNameIsRefusedWithTheNearestKnown) {
  TrainerSetup setup;
  setup.name = "comand";
  setup.config = "{}";
  try {
    make_planner(setup);
    FAIL() << "was accepted";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("did you mean \"command\"?"));
  }
}

}  // namespace
}  // namespace brood

int main(int argc, char** argv) {
  if (const auto status = brood::program_of_test(argc, argv)) return *status;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
