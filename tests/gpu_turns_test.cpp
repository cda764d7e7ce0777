// Goal: what a device is asked to do at a time is chosen by measurement and changes nothing but
// time. Method: the two policies on made-up measurements; streams of the emulated device on counted
// launches; trials of several shapes, chosen and shared in every way, against those alone. With
// BROOD_TEST_DEVICE=cuda the trials are a GPU's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "engine/rng.h"
#include "tests/gpu_trials.h"
#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/fused_count.h"
#include "trainers/cnn/cuda/fused_sharing.h"
#include "trainers/cnn/cuda/recent.h"

namespace brood::cnn::cuda {
namespace {

// What is wanted in the end where a step of k trials takes seconds(k).
template <class Seconds>
int settled(int most, Seconds seconds) {
  FusedCount count(most);
  for (int turn = 0; turn < 1000 && !count.settled(); ++turn) {
    const int trials = count.wanted();
    count.measured(trials, 1000LL * trials, 1000.0 * seconds(trials));
  }
  EXPECT_TRUE(count.settled());
  return count.wanted();
}

TEST(FusedCount, RisesAsLongAsTheDeviceDoesMoreAltogether) {
  // As a device that takes a millisecond a step and a thousandth of that a trial; one that is full;
  // one that is full with eight.
  EXPECT_EQ(settled(2000, [](int k) { return 1e-3 + 1e-6 * k; }), 2000);
  EXPECT_EQ(settled(64, [](int k) { return 1e-3 * k; }), 1);
  EXPECT_EQ(settled(64, [](int k) { return 1e-3 * std::max(k, 8); }), 8);
  // Each doubling gains less: 91 % of the most at 32 of 200.
  EXPECT_EQ(settled(200, [](int k) { return 1e-3 * (3.0 + k); }), 32);
  // A bound that is no power of two; the last step has less to gain.
  EXPECT_EQ(settled(24, [](int) { return 1e-3; }), 24);
  EXPECT_EQ(settled(17, [](int k) { return 1e-3 * (1.0 + 0.5 * k); }), 17);
  EXPECT_EQ(settled(1, [](int) { return 1e-3; }), 1);
}

TEST(FusedCount, JudgesNothingByTooLittleWorkAndNotByTheFirst) {
  FusedCount count(8);
  EXPECT_EQ(count.wanted(), 1);
  count.measured(1, 1000, 100.0);  // a graph was made
  for (int turn = 0; turn < FusedCount::kTurns - 1; ++turn) count.measured(1, 1000, 1.0);
  count.measured(3, 1000, 1.0);  // of others
  EXPECT_EQ(count.wanted(), 1);
  count.measured(1, 1000, 1.0);
  EXPECT_EQ(count.wanted(), 2);
  for (int turn = 0; turn < 20; ++turn) count.measured(2, 1000, 1e-4);  // too short altogether
  EXPECT_EQ(count.wanted(), 2);
}

// What is wanted after so many seconds, or as soon after as that is settled, of a device whose work
// takes a percent more or less, now and then ten times as long, and from the first time that two
// trials are wanted for a while three times as long, as somebody else uses it.
int settled_on_a_noisy_device(int full_with, std::uint64_t seed, double slow_for, double after) {
  Rng rng(seed, 1, Purpose::synthetic);
  FusedCount count(64);
  double now = 0.0, slow_until = -1.0;
  while (now < after || (!count.settled() && now < 2.0 * after)) {
    const int trials = count.wanted();
    if (trials == 2 && slow_until < 0.0) slow_until = now + slow_for;
    double seconds = 0.02 * (0.99 + 0.02 * rng.uniform());
    if (rng.chance(0.05)) seconds *= 10.0;
    if (now < slow_until) seconds *= 3.0;
    count.measured(trials, 20LL * std::min(trials, full_with), seconds);
    now += seconds;
  }
  EXPECT_TRUE(count.settled());
  return count.wanted();
}

TEST(FusedCount, IsNotFooledByWorkThatTookLongNowAndThen) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    for (const double after : {4.0, 40.0, 300.0}) {
      EXPECT_EQ(settled_on_a_noisy_device(4, seed, 0.0, after), 4);
      EXPECT_EQ(settled_on_a_noisy_device(64, seed, 0.0, after), 64);
    }
  }
}

TEST(FusedCount, LooksAgainSoThatALongDisturbanceIsNotForGood) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_EQ(settled_on_a_noisy_device(64, seed, 2.0, 3.0), 1);
    EXPECT_EQ(settled_on_a_noisy_device(64, seed, 2.0, 15.0), 64);
  }
}

TEST(Sharing, IsTriedAndKeptWhereItSavesTime) {
  Sharing sharing;
  for (int turn = 0; turn < Sharing::kTurns; ++turn) {
    EXPECT_TRUE(sharing.together("a b"));
    sharing.measured("a b", 0.9, 1.0);
    EXPECT_TRUE(sharing.together("a c"));
    sharing.measured("a c", 0.99, 1.0);
  }
  EXPECT_TRUE(sharing.together("a b"));
  EXPECT_FALSE(sharing.together("a c"));
  EXPECT_TRUE(sharing.together("b c"));
}

TEST(Recent, ForgetsWhatWasNotLookedAtForTheLongestTime) {
  Recent<int> recent(3);
  for (int i = 0; i < 3; ++i) recent.add(std::to_string(i), i);
  EXPECT_NE(recent.find("0"), nullptr);
  recent.add("3", 3);
  EXPECT_EQ(recent.find("1"), nullptr);
  for (const int kept : {0, 2, 3}) {
    ASSERT_NE(recent.find(std::to_string(kept)), nullptr) << kept;
    EXPECT_EQ(*recent.find(std::to_string(kept)), kept);
  }
  for (int i = 0; i < 100; ++i) recent.add("mix " + std::to_string(i), i);
  EXPECT_EQ(recent.size(), 3U);
}

// --- trials ---

constexpr int kTrials = 6;

// With BROOD_TEST_DEVICE=cuda the first GPU, which has an order of its own.
Reports train(const std::vector<int>& wanted, FusedOptions options,
              emulator::Order order = emulator::Order::forward) {
  const char* const where = std::getenv("BROOD_TEST_DEVICE");
  if (where != nullptr && std::string(where) == "cuda")
    return train_small(wanted, options, make_cuda_runtime(0));
  EmulatedDevice device;
  device.order = order;
  return train_small(wanted, options, make_emulated_runtime(device));
}

const Reports& alone() {
  static const Reports kAlone = [] {
    Reports out;
    for (int trial = 0; trial < kTrials; ++trial) out.merge(train({trial}, {}));
    return out;
  }();
  return kAlone;
}

TEST(Turns, StreamsSideBySideLeaveTheBitsAsTheyAre) {
  ASSERT_EQ(alone().size(), static_cast<std::size_t>(kTrials));
  EXPECT_NE(alone().at(0), alone().at(3));
  using Share = FusedOptions::Share;
  using emulator::Order;
  for (const auto& [share, order] :
       {std::pair(Share::always, Order::forward), std::pair(Share::always, Order::reverse),
        std::pair(Share::always, Order::permuted), std::pair(Share::measured, Order::forward)}) {
    FusedOptions options;
    options.share = share;
    EXPECT_EQ(train({0, 1, 2, 3, 4, 5}, options, order), alone())
        << static_cast<int>(order) << ' ' << static_cast<int>(share);
  }
}

TEST(Turns, TheNumberThatTrainsAtATimeLeavesTheBitsAsTheyAre) {
  for (const int most : {1, 6}) {
    FusedOptions options;
    options.choose_up_to = most;
    options.overlap_launches = most > 1;
    EXPECT_EQ(train({0, 3, 1, 4, 2, 5}, options), alone()) << most;
  }
}

TEST(Turns, NoMoreTrialsOfAShapeAreTakenThanAreWanted) {
  FusedOptions options;
  options.arena_bytes = std::int64_t{8} << 20;
  options.choose_up_to = 4;
  FusedEngine engine(make_emulated_runtime(), options);
  Assignment assignment;
  assignment.last_epoch = kSmallEpochs;
  const auto first = engine.admit(small_input(0), assignment);
  ASSERT_TRUE(first);
  EXPECT_EQ(engine.wanted(*first), 1);
  const std::uint64_t changes = engine.changes();
  EXPECT_FALSE(engine.admit(small_input(3), assignment));
  EXPECT_TRUE(engine.admit(small_input(1), assignment)) << "of another shape";
  EXPECT_EQ(engine.changes(), changes);
  engine.remove(*first);
  EXPECT_NE(engine.changes(), changes);
  EXPECT_TRUE(engine.admit(small_input(3), assignment));
}

// A launch that adds one to a trial's step counts those that have run.
TEST(EmulatedStreams, RunWhenTheyAreWaitedForAndBeforeAnyOtherCall) {
  EmulatedDevice device;
  const auto runtime = make_emulated_runtime(device);
  unsigned char* const memory = runtime->allocate(4096);
  runtime->clear(memory, 4096);
  const std::int32_t active = 0;
  runtime->write(memory + 2048, &active, sizeof active);
  SlotState state;
  state.train_samples = 80;
  state.steps_per_epoch = 10;
  state.batch_size = 8;
  runtime->write(memory, &state, sizeof state);
  Launch launch;
  launch.kernel = KernelId::update;
  UpdateArguments nothing{};
  nothing.average = -1;
  launch.set(nothing);
  launch.bind({memory, 2048, reinterpret_cast<const std::int32_t*>(memory + 2048)}, 1);
  const int graph = runtime->capture({launch});
  for (int stream = 0; stream < Runtime::kStreams; ++stream) runtime->replay(graph, stream);
  std::memcpy(&state, memory, sizeof state);
  EXPECT_EQ(state.step, 0) << "as late as it may";
  runtime->read(&state, memory, sizeof state);
  EXPECT_EQ(state.step, Runtime::kStreams);
}

}  // namespace
}  // namespace brood::cnn::cuda
