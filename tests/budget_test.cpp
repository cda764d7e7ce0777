// What a run may use and what it begins with, in virtual time: limits in trials, failures and time,
// the memory of the hosts, results that are known from another experiment. None of it may change an
// entry of the table with the number of executors or a power cut.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "store/sqlite.h"
#include "tests/simulated_run.h"

namespace brood::simulation {
namespace {

using testing::HasSubstr;

Shape executors(int count, std::uint64_t seed = 1) {
  Shape shape;
  shape.workers_per_node = count;
  shape.seed = seed;
  return shape;
}

// --- limits ---

TEST(Budget, MaxTrialsCountsTrialsAndNotTheirDuplicates) {
  Case c;
  c.search = "random";
  c.trials = 9;
  Scratch scratch;
  const Outcome outcome = run(c, scratch.file("a.db"), executors(4));
  EXPECT_EQ(outcome.ending.state, "completed");
  EXPECT_EQ(std::count_if(outcome.trials.begin(), outcome.trials.end(),
                          [](const Trial& t) { return !t.same_as; }),
            9);
}

TEST(Budget, MaxFailedTrialsEndsAtTheSameTrialForAnyExecutors) {
  Case c;
  c.trials = 60;
  c.toy.throw_share = 0.3;
  c.max_failed = 4;
  std::string why;
  for (const int count : {1, 3, 8}) {
    Scratch scratch;
    const Outcome outcome = run(c, scratch.file("a.db"), executors(count));
    EXPECT_EQ(outcome.ending.state, "failed");
    EXPECT_THAT(outcome.ending.why, HasSubstr("5 trials failed, max_failed_trials is 4"));
    EXPECT_EQ(outcome.progress.failed, 5);
    // It goes on when more may fail, to the table of a run that was allowed so from the start.
    Case more = c;
    more.max_failed = 50;
    Scratch whole;
    const Outcome after = run(more, scratch.file("a.db"), executors(2));
    EXPECT_EQ(after.ending.state, "completed");
    EXPECT_EQ(difference(after.table, run(more, whole.file("a.db"), {}).table), "");
  }
}

TEST(Budget, MaxWallTimeCutsASessionAndTheNextGoesOnToTheSameTable) {
  Case c, short_sessions;
  c.search = short_sessions.search = "genetic";
  short_sessions.max_wall_time = Millis{1500};
  Scratch whole, cut;
  const std::string expected = run(c, whole.file("a.db"), {}).table;
  int sessions = 0;
  while (true) {
    ASSERT_LT(++sessions, 60) << "the limit counts over sessions";
    const Outcome outcome = run(short_sessions, cut.file("a.db"), executors(1 + sessions % 3));
    if (outcome.ending.state == "completed") {
      EXPECT_EQ(difference(outcome.table, expected), "");
      break;
    }
    EXPECT_EQ(outcome.ending.state, "interrupted");
    EXPECT_THAT(outcome.ending.why, HasSubstr("max_wall_time is used up"));
  }
  EXPECT_GT(sessions, 2);
}

// --- memory ---

// The most trials with a large plan that ran at one moment.
std::int64_t most_large_at_once(const std::string& database) {
  sqlite::Connection db(database, sqlite::Access::read);
  return db.whole(
      "WITH large AS (SELECT a.started_us AS s, a.ended_us AS e FROM attempt a JOIN point_1 p ON "
      "p.trial = a.trial WHERE p.x > 0.3) SELECT max(n) FROM (SELECT count(*) AS n FROM large l "
      "JOIN large m ON m.s <= l.s AND m.e > l.s GROUP BY l.s)");
}

// A large trial is planned with 100 MiB, a worker says that it has 1 MiB of it.
TEST(Memory, TrialsWaitForWhatIsFreeAndTheTableStaysTheSame) {
  Case c;
  c.search = "grid";
  Scratch quiet;
  const std::string expected = run(c, quiet.file("a.db"), executors(6)).table;
  EXPECT_GT(most_large_at_once(quiet.file("a.db")), 3);
  for (const std::uint64_t mebibytes : {250U, 120U}) {
    Scratch scratch;
    Shape shape = executors(6);
    shape.free_bytes = mebibytes << 20;
    const Outcome outcome = run(c, scratch.file("a.db"), shape);
    EXPECT_EQ(outcome.ending.state, "completed");
    EXPECT_EQ(difference(outcome.table, expected), "");
    // The first ones start before the first word about the memory has come.
    EXPECT_LT(most_large_at_once(scratch.file("a.db")), most_large_at_once(quiet.file("a.db")));
  }
}

TEST(Memory, AHostWithNothingFreeStillRunsOneTrialAtATime) {
  Case c;
  c.search = "grid";
  Scratch scratch, quiet;
  Shape shape = executors(3);
  shape.nodes = 2;
  shape.free_bytes = 0;
  const Outcome outcome = run(c, scratch.file("a.db"), shape);
  EXPECT_EQ(outcome.ending.state, "completed");
  EXPECT_EQ(difference(outcome.table, run(c, quiet.file("a.db"), {}).table), "");
}

TEST(Memory, AWaitingTrialSaysSoInItsRow) {
  Case c;
  c.search = "grid";
  Scratch scratch;
  Shape shape = executors(3);
  shape.free_bytes = 0;
  std::string seen;
  // Looks at the database at every turn.
  struct Looker final : CommandDesk {
    explicit Looker(std::function<void()> look) : look_(std::move(look)) {}
    std::optional<Command> next() override {
      look_();
      return std::nullopt;
    }
    void answer(std::uint64_t, const CommandAnswer&) override {}
    std::function<void()> look_;
  } looker([&] {
    if (!seen.empty()) return;
    sqlite::Connection db(scratch.file("a.db"), sqlite::Access::read);
    sqlite::Statement rows(db, "SELECT why FROM trial WHERE state = 'waiting' AND why != ''");
    if (rows.step()) seen = rows.text(0);
  });
  run(c, scratch.file("a.db"), shape, {}, "", &looker);
  EXPECT_THAT(seen, HasSubstr("it waits for memory: its plan needs 1"));
  EXPECT_THAT(seen, HasSubstr("host0 has 0 B left"));
  sqlite::Connection db(scratch.file("a.db"), sqlite::Access::read);
  EXPECT_EQ(db.whole("SELECT count(*) FROM trial WHERE why LIKE '%memory%'"), 0)
      << "a reason to wait outlived the waiting";
}

// --- what is known before ---

class Known : public testing::TestWithParam<std::string> {
 protected:
  // Six results of the same search; the space of `random` and `genetic` is continuous.
  Case experiment() {
    Case c;
    c.search = GetParam();
    c.toy.nan_share = 0.1;
    Scratch scratch;
    for (const Trial& t : run(c, scratch.file("a.db"), {}).trials)
      if (t.state == TrialState::completed && c.known.size() < 6) {
        Trial known;
        known.params = t.params;
        known.last_epoch = known.judged_epoch = t.last_epoch;
        known.objective = t.objective;
        known.reports = {{t.last_epoch, {{"score", *t.objective, true}}}};
        known.why = "known as trial " + std::to_string(t.id) + " of another";
        c.known.push_back(std::move(known));
      }
    c.seed = 11;
    return c;
  }
};

INSTANTIATE_TEST_SUITE_P(Searches, Known, testing::Values("grid", "random", "genetic"),
                         [](const auto& made) { return made.param; });

TEST_P(Known, TrialsComeFirstAndAreNotTrainedAgain) {
  const Case c = experiment();
  ASSERT_EQ(c.known.size(), 6U);
  Scratch one;
  const Outcome outcome = run(c, one.file("a.db"), {});
  ASSERT_EQ(outcome.ending.state, "completed") << outcome.ending.why;
  for (std::size_t i = 0; i < outcome.trials.size(); ++i) {
    const Trial& t = outcome.trials[i];
    EXPECT_EQ(t.state == TrialState::known, i < 6);
    EXPECT_EQ(t.origin == Origin::warm, i < 6);
    if (i < 6) {
      EXPECT_EQ(t.objective, c.known[i].objective);
    }
    for (std::size_t k = 0; i >= 6 && k < 6; ++k) {
      if (t.params != c.known[k].params) continue;
      EXPECT_EQ(t.state, TrialState::duplicate);
      EXPECT_EQ(t.objective, c.known[k].objective);
    }
  }
  sqlite::Connection db(one.file("a.db"), sqlite::Access::read);
  EXPECT_EQ(db.whole("SELECT count(*) FROM trials WHERE state = 'known' AND score = objective"), 6);
  EXPECT_EQ(db.whole("SELECT count(*) FROM best WHERE origin = 'warm'"), 0);
  if (GetParam() == "random") {
    EXPECT_EQ(outcome.trials.size(), 6U + 24U) << "max_trials";
  }
  // A whole generation of the genetic search: its elite carries on.
  if (GetParam() == "genetic") {
    EXPECT_TRUE(std::any_of(outcome.trials.begin(), outcome.trials.end(),
                            [](const Trial& t) { return t.same_as && *t.same_as < 6; }));
  }
}

TEST_P(Known, TrialsSurvivePowerCutsAndNeedTheirSourceOnce) {
  Case c = experiment();
  Scratch one;
  const Outcome quiet = run(c, one.file("a.db"), executors(2));
  int cuts = 0;
  for (std::int64_t at = 1; at < 120; at += at < 4 ? 1 : 13) {
    Scratch scratch;
    Faults faults;
    faults.cut_at_event = at;
    if (!run(c, scratch.file("a.db"), executors(3), faults).cut) continue;
    ++cuts;
    sqlite::Connection db(scratch.file("a.db"), sqlite::Access::read);
    Case later = c;
    // The source has gone meanwhile; only an import that was cut off would ask for it.
    if (db.whole("SELECT count(*) FROM trial WHERE state = 'known'") == 6) later.known = {Trial{}};
    const Outcome outcome =
        run(later, scratch.file("a.db"), executors(1 + static_cast<int>(at % 4)));
    ASSERT_EQ(difference(outcome.table, quiet.table), "") << "cut at event " << at;
  }
  EXPECT_GT(cuts, 5);
}

// --- the cost of the search's own order ---

TEST(Horizon, IdleTimeForWantOfResultsIsRecorded) {
  Case generations, free;
  generations.search = "genetic";
  Scratch first, second;
  run(generations, first.file("a.db"), executors(5));
  run(free, second.file("a.db"), executors(5));
  const auto idle = [](const std::string& database) {
    sqlite::Connection db(database, sqlite::Access::read);
    return db.whole("SELECT CAST(1000 * horizon_seconds AS INTEGER) FROM session");
  };
  EXPECT_GT(idle(first.file("a.db")), 100) << "five executors never wait for a generation of six";
  EXPECT_EQ(idle(second.file("a.db")), 0);
}

}  // namespace
}  // namespace brood::simulation
