// Goal: the trainer of a device trains what the CPU's trains, fusion is invisible, and failures
// stay with whom they belong to. Method: the whole trainer on the emulated device (runtime.h), in
// the company of other trials, in other slots, stopped and resumed at any step, with failures on
// request; checkpoints go from device to CPU and back. With BROOD_TEST_DEVICE=cuda on a GPU, but
// for the failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <thread>

#include "engine/device.h"
#include "engine/resolve.h"
#include "tests/trainers_drive.h"
#include "trainers/cnn/cuda/fused.h"
#include "trainers/cnn/cuda/fused_engine.h"
#include "trainers/cnn/kernels.h"

namespace brood::cnn::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kHuge = 99.0;  // a learning rate that stands for one of 1e38

constexpr const char* kBlock = R"({"name": "cnn", "epochs": 3, "batch_size": 8, "validation": 10,
  "dataset": {"synthetic": {"classes": 3, "size": 6, "train": 31, "test": 9}},
  "evaluate_test": true, "report": ["class_accuracy"],
  "optimizer": {"name": "sgd", "learning_rate": {"$param": "lr"}, "momentum": 0.9},
  "augment": [{"flip": {}}, {"translate": {"pixels": 1}}],
  "layers": [{"conv": {"filters": {"$param": "filters"}, "kernel": 3, "batch_norm": true,
                       "activation": "relu"}},
             {"max_pool": {"size": 2}},
             {"dropout": {"rate": {"$param": "dropout"}}}]})";

class Device {
 public:
  explicit Device(int slots = 4, EmulatedDevice device = {}, FusedOptions options = small())
      : block_(std::make_shared<const Template>(kBlock)) {
    Offer offer;
    offer.device = "cuda:0";
    offer.slots = slots;
    trainer = make_fused(
        offer, "val_loss", [this](const Assignment& a) { return input(a); }, runtime(device),
        options);
  }

  // The first GPU, with BROOD_TEST_DEVICE=cuda, unless something particular is asked for.
  static std::unique_ptr<Runtime> runtime(const EmulatedDevice& device = {}) {
    const char* const wanted = std::getenv("BROOD_TEST_DEVICE");
    const bool plain = device.allocation_fails == 0 && device.fault == EmulatedDevice::Fault::none;
    if (wanted == nullptr || std::string(wanted) != "cuda" || !plain)
      return make_emulated_runtime(device);
    return make_cuda_runtime(0);
  }

  TrainingInput input(const Assignment& assignment) {
    std::vector<Problem> problems;
    TrainingInput out;
    out.spec = parse_network(block_->resolve(assignment.params).json, problems);
    EXPECT_TRUE(problems.empty());
    if (out.spec.optimizer.learning_rate == kHuge) out.spec.optimizer.learning_rate = 1e38;
    if (!data_) data_ = load_dataset(out.spec.dataset, std::string());
    out.data = data_;
    out.kernels = available_kernels().back();
    out.experiment_seed = 5;
    out.objective = "val_loss";
    return out;
  }

  static FusedOptions small() {
    FusedOptions options;
    options.arena_bytes = std::int64_t{8} << 20;
    options.watchdog = Millis{1000};
    return options;
  }

  // Until each of so many slots has ended or failed; what each of them told.
  std::vector<std::vector<Event>> to_end(std::vector<int> slots) {
    std::vector<std::vector<Event>> out(static_cast<std::size_t>(trainer->offer().slots));
    drive(*trainer, [&](const std::vector<Event>& events) {
      for (; seen_ < events.size(); ++seen_) {
        const Event& event = events[seen_];
        out[static_cast<std::size_t>(event.slot)].push_back(event);
        if (event.kind == Event::Kind::ended || event.kind == Event::Kind::failed)
          std::erase(slots, event.slot);
      }
      return slots.empty();
    });
    seen_ = 0;
    return out;
  }

  std::unique_ptr<Trainer> trainer;

 private:
  std::shared_ptr<const Template> block_;
  std::shared_ptr<const Dataset> data_;
  std::size_t seen_ = 0;
};

Assignment trial(TrialId id, double dropout = 0.25, std::int64_t filters = 4, double lr = 0.05) {
  Assignment out = trial_of(id, 3);
  out.seed = static_cast<std::uint64_t>(100 + id);
  out.params.set("dropout", dropout);
  out.params.set("filters", filters);
  out.params.set("lr", lr);
  return out;
}

std::vector<Metric> alone(const Assignment& assignment, const EmulatedDevice& on = {}) {
  Device device(1, on);
  device.trainer->start(0, assignment);
  return exact_metrics(device.to_end({0})[0]);
}

TEST(Fused, ATrialHasTheSameBitsAloneAndInAnyCompanyAndSlot) {
  const std::vector<Metric> one = alone(trial(1)), two = alone(trial(2, 0.0, 4, 0.2));
  ASSERT_EQ(one.size(), 3U * 12U);
  EXPECT_NE(one, two);
  Device device(5);
  device.trainer->start(4, trial(1));
  device.trainer->start(0, trial(2, 0.0, 4, 0.2));
  device.trainer->start(2, trial(3, 0.5));
  device.trainer->start(1, trial(4, 0.25, 5));  // of another shape
  const auto told = device.to_end({0, 1, 2, 4});
  EXPECT_EQ(exact_metrics(told[4]), one);
  EXPECT_EQ(exact_metrics(told[0]), two);
  EXPECT_EQ(exact_metrics(told[1]), alone(trial(4, 0.25, 5)));
  EXPECT_THAT(story(told[4]), ElementsAre("report 1", "report 2", "report 3", "ended 3"));
  // In slots that others have left, in another order of threads, with company that comes and goes.
  EmulatedDevice reverse;
  reverse.order = emulator::Order::reverse;
  Device other(3, reverse);
  other.trainer->start(0, trial(3, 0.5));
  other.trainer->advance(Millis{1});
  other.trainer->start(2, trial(1));
  other.trainer->advance(Millis{1});
  other.trainer->advance(Millis{1});
  other.trainer->stop(0);
  other.trainer->start(0, trial(5));
  EXPECT_EQ(exact_metrics(other.to_end({2})[2]), one);
}

// The CPU's metrics up to rounding: the same images in the same order, the same masks.
TEST(Fused, FollowsTheTrainingOfTheCpu) {
  for (const double dropout : {0.0, 0.4}) {
    const std::vector<Metric> device = alone(trial(1, dropout));
    Device maker(1);
    const auto training = make_training(maker.input(trial(1, dropout)), trial(1, dropout));
    std::vector<Metric> cpu;
    for (int epoch = 0; epoch < 3;)
      if (const auto report = training->step()) {
        ++epoch;
        for (const Metric& metric : report->metrics)
          if (metric.exact) cpu.push_back(metric);
      }
    ASSERT_EQ(device.size(), cpu.size());
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      EXPECT_EQ(device[i].name, cpu[i].name);
      EXPECT_NEAR(device[i].value, cpu[i].value, 2e-5 * (1.0 + std::abs(cpu[i].value)))
          << device[i].name << " with dropout " << dropout;
    }
  }
}

TEST(Fused, GoesOnFromItsOwnAndFromTheCpusCheckpointsAndTheCpuFromItsOwn) {
  const TestFolder folder;
  const std::vector<Metric> whole = alone(trial(1));
  Device device(2);
  Assignment first = trial(1);
  first.last_epoch = 2;
  first.save_dir = folder.path("device");
  first.save_every_epochs = 1;
  device.trainer->start(1, first);
  auto told = device.to_end({1})[1];
  EXPECT_THAT(story(told), ElementsAre("report 1", "saved 1", "report 2", "saved 2", "ended 2"));
  Assignment second = trial(1);
  second.first_epoch = 3;
  second.resume_from = told[3].path;
  device.trainer->start(0, trial(2));
  device.trainer->start(1, second);
  const auto after = device.to_end({1})[1];
  auto together = exact_metrics(told);
  for (const Metric& metric : exact_metrics(after)) together.push_back(metric);
  EXPECT_EQ(together, whole);

  const auto last = [](Training& training) {
    while (true)
      if (auto report = training.step()) return report->find("val_loss")->value;
  };
  const double expected = after[0].report.find("val_loss")->value;
  const auto cpu = make_training(device.input(second), second);
  EXPECT_NEAR(last(*cpu), expected, 1e-4);

  // From the CPU, in the middle of an epoch: after a few batches, and while it validates.
  for (const int epochs : {0, 1}) {
    Assignment whole_trial = trial(1);
    const auto from = make_training(device.input(whole_trial), whole_trial);
    for (int i = 0; i < epochs; ++i) last(*from);
    const std::string path = folder.path("cpu" + std::to_string(epochs));
    from->save(path);
    Assignment resumed = trial(1);
    resumed.first_epoch = epochs + 1;
    resumed.resume_from = path;
    Device fresh(1);
    fresh.trainer->start(0, resumed);
    const auto metrics = exact_metrics(fresh.to_end({0})[0]);
    ASSERT_EQ(metrics.size(), whole.size() / 3 * static_cast<std::size_t>(3 - epochs));
    EXPECT_NEAR(metrics.back().value, whole.back().value, 1e-4);
  }
}

TEST(Fused, SavesAtAnyStepToTheSameBits) {
  const TestFolder folder;
  const std::vector<Metric> whole = alone(trial(1));
  Device maker(1);
  FusedOptions step_by_step = Device::small();
  step_by_step.batches_max = 1;
  FusedEngine engine(Device::runtime(), step_by_step);
  const auto number = engine.admit(maker.input(trial(1)), trial(1));
  ASSERT_TRUE(number);
  int saves = 0, epoch = 1;
  for (bool done = false; !done; ++saves) {
    const std::string path = folder.path("step" + std::to_string(saves));
    engine.save(*number, path);
    FusedEngine other(Device::runtime(), Device::small());
    Assignment resumed = trial(1);
    resumed.first_epoch = epoch;
    resumed.resume_from = path;
    const auto again = other.admit(maker.input(resumed), resumed);
    std::optional<Report> report;
    while (!report) {
      other.advance(Millis{5});
      report = other.take_report(*again);
    }
    for (std::size_t i = 0; i < 12; ++i)
      EXPECT_EQ(report->metrics[i], whole[static_cast<std::size_t>(epoch - 1) * 12 + i])
          << report->metrics[i].name << ", save " << saves;
    engine.advance(Millis{0});
    if (engine.take_report(*number)) done = ++epoch == 3;
  }
  EXPECT_GT(saves, 4);
}

// Its weights stand still by then and look sound: resumed, it would train on.
TEST(Fused, ATrialOfNanIsNeitherSavedNorForkedBeforeItsEpochEnds) {
  const TestFolder folder;
  Device maker(1);
  FusedOptions step_by_step = Device::small();
  step_by_step.batches_max = 1;
  FusedEngine engine(Device::runtime(), step_by_step);
  const Assignment huge = trial(7, 0.0, 4, kHuge);
  const auto number = engine.admit(maker.input(huge), huge);
  ASSERT_TRUE(number);
  EXPECT_NO_THROW(engine.save(*number, folder.path("sound")));
  engine.advance(Millis{0});
  engine.advance(Millis{0});
  EXPECT_THROW(engine.save(*number, folder.path("still")), UserError);
  EXPECT_FALSE(std::filesystem::exists(folder.path("still")));
  EXPECT_THROW(engine.fork(*number, maker.input(huge), huge), UserError);
  // Without those the trial comes to its own end: with a value that fails it.
  std::optional<Report> report;
  for (int i = 0; i < 100 && !report; ++i) {
    engine.advance(Millis{0});
    report = engine.take_report(*number);
  }
  ASSERT_TRUE(report);
  EXPECT_TRUE(std::isnan(report->find("val_loss")->value));
}

struct Fork {
  int number = 0;
  Assignment resumed;
  TrainingInput input;
  std::vector<Metric> told;  // by the fork
  std::string saved;         // its last checkpoint
};

void expect_like_resumed(const Fork& fork, const FusedOptions& options) {
  FusedEngine engine(Device::runtime(), options);
  const int number = engine.admit(fork.input, fork.resumed).value();
  std::vector<Metric> told;
  for (int epoch = 0; epoch < 3;) {
    engine.advance(Millis{5});
    const auto report = engine.take_report(number);
    if (!report) continue;
    epoch = report->epoch;
    for (const Metric& metric : report->metrics)
      if (metric.exact) told.push_back(metric);
  }
  EXPECT_EQ(fork.told, told) << fork.resumed.resume_from;
  const std::string saved = fork.resumed.resume_from + ".resumed";
  engine.save(number, saved);
  const auto bytes = [](const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  };
  EXPECT_GT(bytes(saved).size(), 1000U);
  EXPECT_TRUE(bytes(fork.saved) == bytes(saved)) << saved;
}

// In the middle of epochs and at their ends; with other rates, constants and streams.
TEST(Fused, AForkHasTheBitsOfATrialResumedFromACheckpointOfThatStep) {
  const TestFolder folder;
  Device maker(1);
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    FusedOptions options = Device::small();
    options.precision = precision;
    FusedEngine engine(Device::runtime(), options);
    const auto original = engine.admit(maker.input(trial(1)), trial(1));
    std::vector<Fork> forks;
    std::set<std::int64_t> steps;
    const auto fork_now = [&](int epoch) {
      Fork& fork = forks.emplace_back();
      const auto number = static_cast<int>(forks.size());
      fork.resumed = trial(20 + number, 0.125 * number, 4, 0.02 * number);
      fork.resumed.first_epoch = epoch;
      fork.input = maker.input(fork.resumed);
      fork.input.spec.optimizer.momentum = 0.8;
      fork.input.spec.optimizer.weight_decay = 0.01;
      fork.number = engine.fork(*original, fork.input, fork.resumed).value();
      fork.resumed.resume_from = folder.path("at_" + std::to_string(number));
      engine.save(*original, fork.resumed.resume_from);
      steps.insert(engine.steps(*original));
    };
    const auto take = [&] {
      for (Fork& fork : forks) {
        const auto report = fork.saved.empty() ? engine.take_report(fork.number) : std::nullopt;
        if (!report) continue;
        for (const Metric& metric : report->metrics)
          if (metric.exact) fork.told.push_back(metric);
        if (report->epoch < 3) continue;
        fork.saved = fork.resumed.resume_from + ".fork";
        engine.save(fork.number, fork.saved);
        engine.remove(fork.number);
      }
    };
    for (int epoch = 1; epoch < 3;) {
      if (forks.size() < 3) fork_now(epoch);
      engine.advance(Millis{0});
      take();
      if (!engine.take_report(*original)) continue;
      fork_now(++epoch);  // between two epochs
    }
    EXPECT_GE(steps.size(), 4U);
    EXPECT_THROW(engine.fork(*original, maker.input(trial(9, 0.0, 5)), trial(9)), TrialFailure);
    EXPECT_THROW(engine.fork(*original, maker.input(trial(9)), trial(9)), UserError) << "epoch 1";
    while (std::any_of(forks.begin(), forks.end(), [](const Fork& f) { return f.saved.empty(); })) {
      engine.advance(Millis{5});
      take();
      engine.take_report(*original);
    }
    for (const Fork& fork : forks) expect_like_resumed(fork, options);
  }
}

TEST(Fused, ATrialOfNanFailsAndTouchesNobody) {
  const std::vector<Metric> one = alone(trial(1));
  Device device(2);
  device.trainer->start(0, trial(7, 0.0, 4, kHuge));
  device.trainer->start(1, trial(1));
  const auto told = device.to_end({0, 1});
  EXPECT_EQ(told[0].back().kind, Event::Kind::failed);
  EXPECT_EQ(told[0].back().cause, Cause::nan);
  EXPECT_EQ(exact_metrics(told[1]), one);
}

TEST(Fused, WaitsForMemoryAndFailsWithoutHope) {
  const std::vector<Metric> one = alone(trial(1));
  Device maker(1);
  const TrainingInput input = maker.input(trial(1));
  const Plan plan = make_plan(input.spec, divided(input.spec, shape_of(*input.data)));
  const std::int64_t bytes = device_bytes(input.spec, plan, Precision::fp32);
  FusedOptions options = Device::small();
  options.arena_bytes = 3 * bytes;  // images and lists take some
  Device device(6, {}, options);
  for (int slot = 0; slot < 6; ++slot) device.trainer->start(slot, trial(slot + 1));
  const auto told = device.to_end({0, 1, 2, 3, 4, 5});
  for (int slot = 0; slot < 6; ++slot)
    EXPECT_EQ(told[static_cast<std::size_t>(slot)].back().kind, Event::Kind::ended) << slot;
  EXPECT_EQ(exact_metrics(told[0]), one);
  device.trainer->start(3, trial(9, 0.25, 4000));
  const auto failed = device.to_end({3})[3];
  EXPECT_EQ(failed.back().cause, Cause::memory);
  EXPECT_THAT(failed.back().why, HasSubstr("of the device"));
  // And the device as a whole: what there is is used, and none at all is an error.
  EmulatedDevice little;
  little.allocation_fails = 1;
  Device retried(1, little);
  EXPECT_LT(retried.trainer->offer().bytes, std::uint64_t{8} << 20);
  little.bytes = 100;
  EXPECT_THROW(Device(1, little), UserError);
}

// Others hold so little that nobody would look whether they have left, but for this trial. Until
// then it is not asked again, as its images would be loaded for nothing.
TEST(Fused, ATrialThatLacksLittleOfTheDeviceTrainsWhenOthersLeave) {
  Device maker(1);
  const Assignment wide = trial(1, 0.25, 400);
  const TrainingInput input = maker.input(wide);
  data::Contents contents;
  contents.height = input.data->height;
  contents.width = input.data->width;
  contents.channels = input.data->channels;
  contents.train = input.data->train.count;
  contents.test = input.data->test.count;
  const Plan plan = make_plan(input.spec, divided(input.spec, shape_of(*input.data)));
  const std::int64_t all = device_bytes(input.spec, plan, Precision::fp32) +
                           shared_device_bytes(input.spec, contents, plan.data);
  const TestFolder folder;
  EmulatedDevice gpu;
  gpu.bytes = all / 90 * 101;
  const auto planned =
      static_cast<std::int64_t>(memory_for_trials(static_cast<std::uint64_t>(gpu.bytes)));
  gpu.held = gpu.bytes - planned / 100 * 97 / 31 * 32;
  gpu.held_while = folder.path("held");
  std::ofstream(gpu.held_while) << "1";
  FusedEngine engine(make_emulated_runtime(gpu), FusedOptions());
  ASSERT_GT(engine.arena_bytes(), planned / 20 * 19);
  ASSERT_LT(engine.arena_bytes(), all);
  EXPECT_FALSE(engine.admit(input, wide));
  const std::uint64_t before = engine.changes();
  const auto start = std::chrono::steady_clock::now();
  const auto turn = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    engine.advance(Millis{1});
    return std::chrono::steady_clock::now() - start;
  };
  while (turn() < std::chrono::milliseconds(600)) ASSERT_EQ(engine.changes(), before);
  std::filesystem::remove(gpu.held_while);
  while (engine.changes() == before) ASSERT_LT(turn(), std::chrono::seconds(60));
  EXPECT_TRUE(engine.admit(input, wide));
  EXPECT_GE(engine.arena_bytes(), all);
}

// One after another, in a slot that others have left as well; the end comes with the last report.
TEST(Fused, OfThoseThatWaitTheFirstOneThatCameIsNext) {
  Device maker(1);
  const auto wide = [](TrialId id) {
    Assignment out = trial(id, 0.25, 24);
    out.last_epoch = 1;
    return out;
  };
  const TrainingInput input = maker.input(wide(1));
  const Plan plan = make_plan(input.spec, divided(input.spec, shape_of(*input.data)));
  FusedOptions options = Device::small();
  // Beside one trial lie the images and lists, less than another.
  options.arena_bytes = 2 * device_bytes(input.spec, plan, Precision::fp32);
  ASSERT_GT(options.arena_bytes, 4 * ShapeClass::kListsBytes);
  Device device(3, {}, options);
  device.trainer->start(2, wide(1));
  device.trainer->start(1, wide(2));
  device.trainer->start(0, wide(3));
  std::vector<int> ended;
  for (int turn = 0; turn < 10000 && ended.size() < 4; ++turn) {
    bool last = false;
    for (const Event& event : device.trainer->advance(Millis{1})) {
      if (event.kind == Event::Kind::report && event.report.epoch == 1) last = true;
      if (event.kind != Event::Kind::ended) continue;
      EXPECT_TRUE(last);
      ended.push_back(event.slot);
    }
    EXPECT_FALSE(last && ended.empty());
    if (ended.size() == 1 && last) device.trainer->start(ended.front(), wide(4));
  }
  EXPECT_THAT(ended, ElementsAre(2, 1, 0, 2));
}

// A lost device ends the process: nothing is told of its trials, they run again elsewhere.
TEST(Fused, ALostDeviceEndsTheWorkerAndAHungOneMeetsTheWatchdog) {
  EmulatedDevice whole;  // never a GPU, whose bits are others
  whole.fault = EmulatedDevice::Fault::illegal_address;
  whole.fault_launch = std::numeric_limits<std::int64_t>::max();
  const std::vector<Metric> one = alone(trial(1), whole);
  const TestFolder folder;
  for (const bool hangs : {false, true}) {
    EmulatedDevice broken;
    broken.fault = hangs ? EmulatedDevice::Fault::hang : EmulatedDevice::Fault::illegal_address;
    broken.fault_learning_rate = 0.07;  // of the other trial
    broken.fault_step = 4;              // in its second epoch
    Device device(2, broken);
    Assignment saved = trial(1);
    saved.save_dir = folder.path(hangs ? "hangs" : "fails");
    saved.save_every_epochs = 1;
    device.trainer->start(0, saved);
    device.trainer->start(1, trial(2, 0.25, 4, broken.fault_learning_rate));
    std::vector<Event> told;
    std::string why;
    try {
      for (int turn = 0; turn < 10000; ++turn)
        for (Event& event : device.trainer->advance(Millis{5}))
          if (event.slot == 0 && event.kind != Event::Kind::progress)
            told.push_back(std::move(event));
    } catch (const DeviceLost& lost) {
      why = lost.what();
    }
    EXPECT_THAT(why, HasSubstr(hangs ? "did not end within" : "illegal memory access"));
    ASSERT_THAT(story(told), ElementsAre("report 1", "saved 1"));
    EXPECT_THROW(device.trainer->advance(Millis{5}), DeviceLost);
    // The replacement goes on from the checkpoint to the same bits.
    Device next(1, whole);
    Assignment resumed = trial(1);
    resumed.first_epoch = 2;
    resumed.resume_from = told[1].path;
    next.trainer->start(0, resumed);
    auto together = exact_metrics(told);
    for (const Metric& metric : exact_metrics(next.to_end({0})[0])) together.push_back(metric);
    EXPECT_EQ(together, one);
  }
}

TEST(Fused, SaysWhyThereIsNoDevice) {
  try {
    make_cuda_runtime(999);
    FAIL() << "a device with the number 999";
  } catch (const UserError& error) {
    const std::string why = error.what();
    if (built_with_cuda())
      EXPECT_THAT(why, testing::AnyOf(HasSubstr("no GPU can be used"), HasSubstr("no cuda:999")));
    else
      EXPECT_THAT(why, HasSubstr("built without CUDA"));
  }
}

}  // namespace
}  // namespace brood::cnn::cuda
