// Goal: workers with several trials change nothing but the time. One that dies takes its trials
// with it: they go back uncharged, and on a repeat they run apart until the culprit is known.
// Method: the simulated cluster (simulation.h) with workers of several slots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/sqlite.h"
#include "tests/simulated_run.h"

namespace brood::simulation {
namespace {

using testing::ElementsAre;

Case troubled(const std::string& search, const std::string& stopper) {
  Case c;
  c.search = search;
  c.stopper = stopper;
  c.trials = 40;
  c.toy.nan_share = 0.1;
  c.toy.crash_share = 0.15;
  c.toy.throw_share = 0.1;
  return c;
}

Shape with_slots(int workers, int slots, std::uint64_t seed = 1) {
  Shape shape;
  shape.workers_per_node = workers;
  shape.slots = slots;
  shape.seed = seed;
  return shape;
}

TEST(ManySlots, EndInTheTableOfOneExecutor) {
  for (const std::string search : {"random", "genetic"})
    for (const std::string stopper : {"", "asha"}) {
      const Case c = troubled(search, stopper);
      Scratch quiet;
      const std::string expected = run(c, quiet.file("a.db"), {}).table;
      for (const Shape& shape : {with_slots(1, 5), with_slots(2, 3, 2), with_slots(1, 16, 3)}) {
        Scratch scratch;
        const Outcome outcome = run(c, scratch.file("a.db"), shape);
        EXPECT_EQ(outcome.ending.state, "completed");
        EXPECT_EQ(difference(outcome.table, expected), "")
            << search << " " << stopper << ", " << shape.slots << " slots";
      }
    }
}

TEST(ManySlots, EndInTheSameTableWithCheckpointsKillsAndLostFrames) {
  Case c = troubled("random", "median");
  c.checkpoint_every = 1;
  Scratch quiet;
  const std::string expected = run(c, quiet.file("a.db"), {}).table;
  std::int64_t kills = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Scratch scratch;
    Shape shape = with_slots(2, 4, seed);
    shape.nodes = 2;
    Faults faults;
    faults.kill_chance = 0.02;
    faults.drop_chance = 0.1;
    const Outcome outcome = run(c, scratch.file("a.db"), shape, faults);
    kills += outcome.kills;
    EXPECT_EQ(difference(outcome.table, expected), "") << "faults of seed " << seed;
    EXPECT_THAT(outcome.strays, ElementsAre());
  }
  EXPECT_GT(kills, 4);
}

TEST(ManySlots, GoOnAfterPowerCuts) {
  const Case c = troubled("genetic", "asha");
  Scratch quiet, whole;
  const std::string expected = run(c, quiet.file("a.db"), {}).table;
  const std::int64_t events = run(c, whole.file("a.db"), with_slots(2, 4)).events;
  for (std::int64_t at = 1; at <= events; at += std::max<std::int64_t>(1, events / 8)) {
    Scratch scratch;
    Faults faults;
    faults.cut_at_event = at;
    run(c, scratch.file("a.db"), with_slots(2, 4), faults);
    const Outcome outcome = run(c, scratch.file("a.db"), with_slots(1, 7, 5));
    ASSERT_EQ(difference(outcome.table, expected), "") << "cut at event " << at;
  }
}

// The trials that crash are charged, alone in their worker, as often as with one slot; the others
// of their worker never are.
TEST(ManySlots, ChargeOnlyTheTrialsThatBringTheirWorkerDown) {
  Case c;
  c.trials = 40;
  c.toy.crash_share = 0.25;
  c.max_retries = 2;
  Scratch scratch;
  const std::string database = scratch.file("a.db");
  const Outcome outcome = run(c, database, with_slots(1, 8));
  int crashed = 0;
  for (const Trial& t : outcome.trials) crashed += t.cause == Cause::signal;
  EXPECT_GT(crashed, 3);
  sqlite::Connection db(database, sqlite::Access::read);
  EXPECT_EQ(db.whole("SELECT count(*) FROM attempt WHERE charged"), 3 * crashed);
  EXPECT_EQ(
      db.whole("SELECT count(*) FROM attempt a JOIN trial t ON t.id = a.trial WHERE a.charged "
               "AND t.cause != 'signal'"),
      0);
  EXPECT_GT(db.whole("SELECT count(*) FROM attempt WHERE why LIKE 'it shared a worker with%'"), 8);
  // Halves: no trial shares a fate with others more often than there are halvings, and two more.
  EXPECT_LE(db.whole("SELECT max(n) FROM (SELECT count(*) AS n FROM attempt WHERE why LIKE "
                     "'it shared a worker with%' GROUP BY trial)"),
            5);
}

TEST(ManySlots, DevicesAreHandedOutWithNumberedSharesAndReplacementsKeepTheirs) {
  Case c;
  c.toy.crash_share = 0.2;
  Scratch scratch;
  Shape shape = with_slots(2, 1);
  shape.devices = shape.devices_here = {"cuda:0", "cuda:2"};
  const Outcome outcome = run(c, scratch.file("a.db"), shape);
  EXPECT_EQ(outcome.ending.state, "completed");
  EXPECT_GT(outcome.places.size(), 4U) << "no worker was replaced";
  std::map<std::string, int> times;
  for (const std::string& place : outcome.places) ++times[place];
  EXPECT_EQ(times.size(), 4U);
  for (const char* place : {"0 cuda:0 0/2", "0 cuda:0 1/2", "0 cuda:2 0/2", "0 cuda:2 1/2"})
    EXPECT_GT(times[place], 0) << place;
}

TEST(ManySlots, RanksOfOneHostDivideItsDevicesAndOneTooManyIsNotUsed) {
  Case c;
  Shape shape = with_slots(1, 1);
  shape.nodes = 2;
  shape.one_host = true;
  shape.devices = shape.devices_here = {"cuda:0", "cuda:1", "cuda:2"};
  Scratch scratch;
  auto places = run(c, scratch.file("a.db"), shape).places;
  std::sort(places.begin(), places.end());
  EXPECT_THAT(places, ElementsAre("0 cuda:0 0/1", "0 cuda:2 0/1", "1 cuda:1 0/1"));
  shape.devices = {"cuda:1"};
  Scratch fewer;
  EXPECT_THAT(run(c, fewer.file("a.db"), shape).places, ElementsAre("0 cuda:1 0/1"));
  shape.devices_here = {"cuda:0"};
  Scratch none;
  try {
    run(c, none.file("a.db"), shape);
    FAIL() << "trained without the device";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("it has no cuda:1; it has cuda:0"));
  }
}

// Others hold the memory of one GPU, and the worker of the other one is killed now and then, long
// after the start: its trials wait for its replacement.
TEST(ManySlots, ATrialOfALostWorkerDoesNotGoToADeviceWithoutRoomForIt) {
  Case c;
  c.trials = 400;
  c.toy.crash_share = 0.0;
  Shape shape = with_slots(1, 1);
  shape.devices = shape.devices_here = {"cuda:0", "cuda:1"};
  shape.slice = Millis{1000};  // longer in all than the start is waited for
  shape.offers = {{"cuda:0", 50U << 20}, {"cuda:1", 200U << 20}};
  Faults faults;
  faults.kill_chance = 0.03;
  Scratch scratch;
  const Outcome outcome = run(c, scratch.file("a.db"), shape, faults);
  EXPECT_EQ(outcome.ending.state, "completed");
  std::string large;  // make_toy_planner()
  for (const Trial& t : outcome.trials) {
    double x = 0.0;
    if (as_real(*t.params.find("x"), x) && x > 0.3)
      large += (large.empty() ? "" : ", ") + std::to_string(t.id);
  }
  sqlite::Connection db(scratch.file("a.db"), sqlite::Access::read);
  const std::string attempts =
      "SELECT count(*) FROM attempt a JOIN trial t ON t.id = a.trial WHERE t.number IN (" + large +
      ") AND ";
  EXPECT_EQ(db.whole(attempts + "a.device = 'cuda:0'"), 0);
  EXPECT_GT(db.whole(attempts + "a.attempt > 1"), 3);
  EXPECT_GT(db.whole("SELECT count(*) FROM attempt WHERE device = 'cuda:0'"), 50);
}

}  // namespace
}  // namespace brood::simulation
