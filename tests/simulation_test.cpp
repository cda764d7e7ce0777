// The promise: the table is a function of config and seed alone. The real controller, supervisors,
// workers, strategies, stoppers and SQLite run in one thread and virtual time; the number of
// executors, delays, kills, lost frames, silent hosts and power cuts at every event vary; the table
// of parameters, verdicts, lineage and exact metrics must not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/error.h"
#include "store/sqlite.h"
#include "tests/simulated_run.h"

namespace brood::simulation {
namespace {

struct Named {
  std::string name;
  Case experiment;
};

std::vector<Named> experiments() {
  std::vector<Named> out;
  for (const std::string search : {"grid", "random", "genetic"})
    for (const std::string stopper : {"", "median", "asha"}) {
      Case c;
      c.search = search;
      c.stopper = stopper;
      c.toy.nan_share = 0.1;
      c.toy.crash_share = 0.1;
      c.toy.throw_share = 0.1;
      out.push_back({search + (stopper.empty() ? "" : "_" + stopper), c});
    }
  return out;
}

class EveryExperiment : public testing::TestWithParam<Named> {
 protected:
  // One executor, nothing goes wrong.
  std::string quiet() {
    Scratch scratch;
    return run(GetParam().experiment, scratch.file("a.db"), {}).table;
  }
};

INSTANTIATE_TEST_SUITE_P(Simulation, EveryExperiment, testing::ValuesIn(experiments()),
                         [](const auto& made) { return made.param.name; });

TEST_P(EveryExperiment, EndsTheSameOnAnyNumberOfExecutors) {
  const std::string expected = quiet();
  ASSERT_THAT(expected, testing::HasSubstr("completed"));
  for (const int executors : {1, 2, 7, 16}) {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      Scratch scratch;
      Shape shape;
      shape.workers_per_node = executors;
      shape.seed = seed;
      const Outcome outcome = run(GetParam().experiment, scratch.file("a.db"), shape);
      EXPECT_EQ(outcome.ending.state, "completed");
      EXPECT_EQ(difference(outcome.table, expected), "")
          << executors << " executors, delays of seed " << seed;
    }
  }
}

TEST_P(EveryExperiment, EndsTheSameWhenWorkersAreKilledAndFramesAreLost) {
  const std::string expected = quiet();
  std::int64_t kills = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
    Scratch scratch;
    Shape shape;
    shape.nodes = 2;
    shape.workers_per_node = 3;
    shape.seed = seed;
    Faults faults;
    faults.kill_chance = 0.02;
    faults.drop_chance = 0.1;
    const Outcome outcome = run(GetParam().experiment, scratch.file("a.db"), shape, faults);
    kills += outcome.kills;
    EXPECT_EQ(difference(outcome.table, expected), "") << "faults of seed " << seed;
  }
  EXPECT_GT(kills, 4) << "the test killed too few workers to mean anything";
}

TEST_P(EveryExperiment, EndsTheSameWhenAHostFallsSilent) {
  const std::string expected = quiet();
  Scratch scratch;
  Shape shape;
  shape.nodes = 2;
  shape.workers_per_node = 2;
  Faults faults;
  faults.node_silent_at = 30;
  EXPECT_EQ(
      difference(run(GetParam().experiment, scratch.file("a.db"), shape, faults).table, expected),
      "");
}

TEST_P(EveryExperiment, EndsTheSameWhenThePowerIsCutAtAnyEvent) {
  const std::string expected = quiet();
  Shape shape;
  shape.workers_per_node = 3;
  Scratch whole;
  const std::int64_t events = run(GetParam().experiment, whole.file("a.db"), shape).events;
  ASSERT_GT(events, 50);
  // Every event in the nightly soak; here every stride-th, and another offset for each experiment.
  const char* all = std::getenv("BROOD_CUT_EVERY_EVENT");
  const std::int64_t stride = all != nullptr ? 1 : std::max<std::int64_t>(1, events / 25);
  int cuts = 0;
  for (std::int64_t at = 1; at <= events; at += stride) {
    Scratch scratch;
    Faults faults;
    faults.cut_at_event = at;
    const std::string database = scratch.file("a.db");
    if (!run(GetParam().experiment, database, shape, faults).cut) continue;
    ++cuts;
    Shape other = shape;
    other.workers_per_node = 1 + static_cast<int>(at % 4);
    other.seed = static_cast<std::uint64_t>(at);
    // Cut a second time while going on, then let it end.
    faults.cut_at_event = events / 3;
    run(GetParam().experiment, database, other, faults);
    const Outcome outcome = run(GetParam().experiment, database, shape);
    ASSERT_EQ(outcome.ending.state, "completed");
    ASSERT_EQ(difference(outcome.table, expected), "") << "cut at event " << at;
  }
  EXPECT_GT(cuts, 20);
}

// Seven executors whose workers crash by their own fault now and then: what that came to is in the
// event log, and a quiet executor that repeats the log, cut off and resumed, ends in the same
// table.
TEST_P(EveryExperiment, EndsTheSameAsItsRepetitionFromTheEventLog) {
  Case c = GetParam().experiment;
  c.max_retries = 0;
  const std::string quiet_table = quiet();
  int differ = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Scratch scratch;
    const std::string noisy = scratch.file("noisy.db"), again = scratch.file("again.db");
    Shape shape;
    shape.workers_per_node = 7;
    shape.seed = seed;
    Faults faults;
    faults.crash_chance = 0.03;
    faults.drop_chance = 0.05;
    const Outcome first = run(c, noisy, shape, faults);
    differ += first.table != quiet_table;
    Faults cut;
    cut.cut_at_event = 20;
    cut.crash_chance = 0.02;
    run(c, again, shape, cut, noisy);
    const Outcome second = run(c, again, {}, {}, noisy);
    ASSERT_EQ(difference(second.table, first.table), "") << "faults of seed " << seed;
    // Once more from the repetition's own log, with crashes that its log does not know.
    Faults crashes;
    crashes.crash_chance = 0.02;
    const Outcome third = run(c, scratch.file("third.db"), shape, crashes, again);
    EXPECT_EQ(difference(third.table, first.table), "") << "faults of seed " << seed;
  }
  EXPECT_GT(differ, 0) << "nothing was charged that a quiet run does not have";
}

TEST(Simulation, SpeculatesAndDropsEpochsWithSeveralExecutors) {
  Case c;
  c.stopper = "asha";
  c.trials = 60;
  c.epochs = 9;
  c.verdict_lag = 2;
  c.toy.steps_max = 12;
  Scratch one, many;
  Shape wide;
  wide.workers_per_node = 7;
  const Outcome alone = run(c, one.file("a.db"), {});
  const Outcome together = run(c, many.file("a.db"), wide);
  EXPECT_EQ(difference(together.table, alone.table), "");
  EXPECT_EQ(alone.progress.epochs_dropped, 0) << "a single executor knows all smaller trials";
  EXPECT_GT(together.progress.epochs_dropped, 0);
  EXPECT_GT(together.progress.stopped, 10);
}

TEST(Simulation, EndsAtTheSmallestTrialThatMeetsTheTarget) {
  Case c;
  c.trials = 60;
  c.target = -0.76;
  Scratch one, many;
  Shape wide;
  wide.workers_per_node = 7;
  const Outcome alone = run(c, one.file("a.db"), {});
  const Outcome together = run(c, many.file("a.db"), wide);
  EXPECT_THAT(alone.ending.why, testing::HasSubstr("met the target"));
  EXPECT_EQ(alone.ending.why, together.ending.why);
  EXPECT_EQ(difference(together.table, alone.table), "");
  EXPECT_EQ(together.trials.back().state, TrialState::surplus);
}

TEST(Simulation, ChargesATrialThatAlwaysCrashesAndGoesOn) {
  Case c;
  c.trials = 40;
  c.toy.crash_share = 0.3;
  c.max_retries = 2;
  Scratch scratch;
  const Outcome outcome = run(c, scratch.file("a.db"), {});
  int crashed = 0;
  for (const Trial& t : outcome.trials) crashed += t.cause == Cause::signal;
  EXPECT_GT(crashed, 2);
  EXPECT_GT(outcome.progress.completed, 5);
  EXPECT_EQ(outcome.progress.retried, 3 * crashed);
}

TEST(Simulation, SaysThatATrainerIsNotDeterministicAndKeepsWhatItSaidFirst) {
  Case c;
  c.trials = 12;
  c.toy.nondeterministic = true;
  Scratch scratch;
  const std::string database = scratch.file("a.db");
  Faults faults;
  faults.kill_chance = 0.05;
  const Outcome outcome = run(c, database, {}, faults);
  ASSERT_GT(outcome.kills, 0);
  sqlite::Connection db(database, sqlite::Access::read);
  EXPECT_GT(db.whole("SELECT count(*) FROM event WHERE kind = 'nondeterministic_trainer'"), 0);
  EXPECT_THAT(db.text("SELECT body FROM event WHERE kind = 'nondeterministic_trainer'"),
              testing::HasSubstr("its trainer is not deterministic"));
}

TEST(Simulation, RefusesHostsWithoutANumericClassInCommon) {
  Case c;
  Shape shape;
  shape.nodes = 2;
  shape.numeric_classes = {{"avx512-1", "avx2-1"}, {"neon-1"}};
  Scratch scratch;
  try {
    run(c, scratch.file("a.db"), shape);
    FAIL() << "two numeric classes computed one experiment";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("no numeric class in common"));
    EXPECT_THAT(error.what(), testing::HasSubstr("host0: avx512-1 avx2-1"));
    EXPECT_THAT(error.what(), testing::HasSubstr("host1: neon-1"));
  }
  // With one in common it is taken, and a host that joins a later session without it is not used.
  shape.numeric_classes = {{"avx512-1", "avx2-1"}, {"avx2-1"}};
  Faults cut;
  cut.cut_at_event = 40;
  Scratch other;
  ASSERT_TRUE(run(c, other.file("a.db"), shape, cut).cut);
  EXPECT_EQ(sqlite::Connection(other.file("a.db"), sqlite::Access::read)
                .text("SELECT numeric_class FROM experiment"),
            "avx2-1");
  shape.numeric_classes = {{"avx2-1"}, {"neon-1"}};
  EXPECT_EQ(run(c, other.file("a.db"), shape).ending.state, "completed");
  EXPECT_EQ(sqlite::Connection(other.file("a.db"), sqlite::Access::read)
                .whole("SELECT count(*) FROM attempt WHERE session = 2 AND host != 'host0'"),
            0);
}

TEST(Simulation, GoesOnFromALongerBudgetWithTheSamePrefix) {
  Case shorter, longer;
  shorter.trials = 10;
  longer.trials = 30;
  Scratch grown, fresh;
  const std::string before = run(shorter, grown.file("a.db"), {}).table;
  const Outcome after = run(longer, grown.file("a.db"), {});
  EXPECT_EQ(difference(after.table, run(longer, fresh.file("a.db"), {}).table), "");
  EXPECT_EQ(after.trials.size(), 30U);
}

TEST(Simulation, RefusesARecordThatItWouldNotMakeAgain) {
  Case c, other;
  other.seed = 8;
  Scratch scratch;
  run(c, scratch.file("a.db"), {});
  try {
    run(other, scratch.file("a.db"), {});
    FAIL() << "another seed went unnoticed";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("would be proposed as"));
  }
}

}  // namespace
}  // namespace brood::simulation
