// Commands to a running experiment. What they change must be a function of config, seed and event
// log: runs in virtual time are given commands at random moments, on several executors, with power
// cuts; a run on one executor that repeats the event log must end in the same table. What each
// command does, what it refuses, and what ends a run by its results is tried one at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "store/query.h"
#include "tests/simulated_run.h"

namespace brood::simulation {
namespace {

using testing::HasSubstr;
using Kind = Command::Kind;

Command make(Kind kind, TrialId trial = 0) {
  Command command;
  command.kind = kind;
  command.trial = trial;
  return command;
}

Command set_limit(const std::string& key, std::optional<double> value) {
  Command command;
  command.kind = Kind::set;
  command.key = key;
  command.value = value;
  if (value) command.json = to_text(Value{*value});
  return command;
}

// Asks at every turn what the test wants to say; remembers the answers in the order of the asking.
class Desk final : public CommandDesk {
 public:
  explicit Desk(std::function<std::optional<Command>(std::int64_t turn)> say)
      : say_(std::move(say)) {}

  std::optional<Command> next() override {
    auto command = say_(turn_++);
    if (command) command->id = ++asked_;
    return command;
  }
  void answer(std::uint64_t id, const CommandAnswer& answer) override { answers[id] = answer; }

  std::uint64_t asked() const { return asked_; }
  std::map<std::uint64_t, CommandAnswer> answers;

 private:
  std::function<std::optional<Command>(std::int64_t)> say_;
  std::int64_t turn_ = 0;
  std::uint64_t asked_ = 0;
};

// All kinds of commands at random turns; a pause is followed by its end.
class Whims {
 public:
  Whims(const Case& c, std::uint64_t seed)
      : space_(make_spec(c, "/nowhere/a.db").space), rng_(seed, 1, Purpose::simulate) {}

  std::optional<Command> operator()(std::int64_t turn) {
    if (paused_) {
      if (!rng_.chance(0.3)) return std::nullopt;
      paused_ = false;
      return make(Kind::go_on);
    }
    if (!rng_.chance(0.1)) return std::nullopt;
    const auto what = rng_.below(10);
    // One that runs about now, more often than not.
    if (what < 5) return make(Kind::cancel, turn / 12 + static_cast<TrialId>(rng_.below(8)));
    if (what < 8) {
      Command command = make(Kind::add);
      command.params = space_.mask(space_.sample(rng_));
      return command;
    }
    if (what == 8) return set_limit("max_trials", static_cast<double>(20 + rng_.below(12)));
    paused_ = true;
    Command command = make(Kind::pause);
    command.now = rng_.chance(0.5);
    return command;
  }

 private:
  SearchSpace space_;
  Rng rng_;
  bool paused_ = false;
};

std::string log_of(const std::string& database) {
  Reader reader(database);
  std::string text;
  for (const EventLogged& event : reader.facts(reader.experiment("")))
    text += std::to_string(event.at_trial) + " " + event.kind + " " + event.body + "\n";
  return text;
}

Shape executors(int count, std::uint64_t seed = 1) {
  Shape shape;
  shape.workers_per_node = count;
  shape.seed = seed;
  return shape;
}

class EverySearch : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  static Case experiment() {
    Case c;
    std::tie(c.search, c.stopper) = GetParam();
    c.toy.nan_share = 0.1;
    c.toy.crash_share = 0.1;
    c.toy.throw_share = 0.1;
    return c;
  }
  // Repeats the log of this database on one executor.
  static std::string repeated(const std::string& database) {
    Scratch scratch;
    return run(experiment(), scratch.file("again.db"), {}, {}, database).table;
  }
};

INSTANTIATE_TEST_SUITE_P(Commands, EverySearch,
                         testing::Combine(testing::Values("grid", "random", "genetic"),
                                          testing::Values("", "median", "asha")),
                         [](const auto& made) {
                           const std::string stopper = std::get<1>(made.param);
                           return std::get<0>(made.param) + (stopper.empty() ? "" : "_") + stopper;
                         });

TEST_P(EverySearch, CommandsAtAnyMomentAreRepeatedFromTheEventLog) {
  int cancelled = 0, added = 0, set = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U, 5U, 6U}) {
    Scratch scratch;
    const std::string database = scratch.file("a.db");
    Desk desk{Whims(experiment(), seed)};
    const Outcome outcome =
        run(experiment(), database, executors(1 + static_cast<int>(seed) * 2, seed), {}, "", &desk);
    ASSERT_EQ(outcome.ending.state, "completed") << outcome.ending.why;
    EXPECT_EQ(desk.answers.size(), desk.asked()) << "a command without an answer";
    const std::string log = log_of(database);
    for (std::size_t at = 0; (at = log.find(" cancel {", at)) != std::string::npos; ++at)
      ++cancelled;
    for (std::size_t at = 0; (at = log.find(" add {", at)) != std::string::npos; ++at) ++added;
    for (std::size_t at = 0; (at = log.find(" set {", at)) != std::string::npos; ++at) ++set;
    EXPECT_EQ(difference(repeated(database), outcome.table), "") << "seed " << seed << "\n" << log;
  }
  EXPECT_GT(cancelled, 2);
  EXPECT_GT(added, 4);
  EXPECT_GT(set, 1);
}

TEST_P(EverySearch, APowerCutAtAnyMomentLosesNoCommandThatWasAnswered) {
  int cuts = 0;
  for (std::int64_t at = 8; at < 120; at += 10) {
    Scratch scratch;
    const std::string database = scratch.file("a.db");
    const auto seed = static_cast<std::uint64_t>(at);
    Desk desk{Whims(experiment(), seed)};
    Faults faults;
    faults.cut_at_event = at;
    const bool cut = run(experiment(), database, executors(3, seed), faults, "", &desk).cut;
    if (!cut) continue;
    ++cuts;
    const std::string before = log_of(database);
    std::int64_t done = 0, logged = 0;
    for (const auto& [id, answer] : desk.answers) done += answer.done && answer.trial ? 1 : 0;
    for (const char* kind : {" cancel {", " add {"})
      for (std::size_t i = 0; (i = before.find(kind, i)) != std::string::npos; ++i) ++logged;
    EXPECT_GE(logged, done) << "cut at event " << at;
    Desk more{Whims(experiment(), seed + 1)};
    const Outcome outcome =
        run(experiment(), database, executors(1 + static_cast<int>(at % 5)), {}, "", &more);
    ASSERT_EQ(outcome.ending.state, "completed") << outcome.ending.why;
    EXPECT_TRUE(log_of(database).starts_with(before)) << "an event was lost or written twice";
    ASSERT_EQ(difference(repeated(database), outcome.table), "") << "cut at event " << at << "\n"
                                                                 << log_of(database);
  }
  EXPECT_GT(cuts, 5);
}

TEST(Commands, CancelEndsARunningTrialAndLeavesTheOthersAsTheyWere) {
  Case c;
  Scratch quiet, told;
  const Outcome expected = run(c, quiet.file("a.db"), {});
  Desk desk([](std::int64_t turn) -> std::optional<Command> {
    if (turn != 15) return std::nullopt;
    Command command = make(Kind::cancel, 2);
    command.why = "it looks bad";
    return command;
  });
  const Outcome outcome = run(c, told.file("a.db"), executors(3), {}, "", &desk);
  ASSERT_TRUE(desk.answers[1].done) << desk.answers[1].text;
  for (const Trial& t : outcome.trials) {
    if (t.id == 2) {
      EXPECT_EQ(t.state, TrialState::cancelled);
      EXPECT_EQ(t.cause, Cause::command);
      EXPECT_EQ(t.why, "it looks bad");
      EXPECT_FALSE(t.objective);
    } else {
      EXPECT_EQ(t.objective, expected.trials[static_cast<std::size_t>(t.id)].objective);
    }
  }
  EXPECT_EQ(outcome.progress.cancelled, 1);
  EXPECT_EQ(outcome.trials.size(), expected.trials.size());
}

TEST(Commands, CancelRefusesWhatIsNotThereOrHasEnded) {
  Desk desk([](std::int64_t turn) -> std::optional<Command> {
    if (turn == 3) return make(Kind::cancel, 1000);
    if (turn == 200) return make(Kind::cancel, 0);
    return std::nullopt;
  });
  Scratch scratch;
  const Outcome outcome = run({}, scratch.file("a.db"), executors(2), {}, "", &desk);
  EXPECT_EQ(outcome.progress.cancelled, 0);
  EXPECT_FALSE(desk.answers[1].done);
  EXPECT_THAT(desk.answers[1].text, HasSubstr("there is no trial 1000"));
  EXPECT_FALSE(desk.answers[2].done);
  EXPECT_THAT(desk.answers[2].text, HasSubstr("has ended already (completed)"));
  EXPECT_EQ(log_of(scratch.file("a.db")), "");
}

TEST(Commands, AddTrainsThePointOrServesItFromTheRecord) {
  Case c;
  const SearchSpace space = make_spec(c, "/nowhere/a.db").space;
  Rng rng(9, 0, Purpose::simulate);
  const ParamSet point = space.mask(space.sample(rng));
  Desk desk([&](std::int64_t turn) -> std::optional<Command> {
    if (turn != 10 && turn != 100) return std::nullopt;
    Command command = make(Kind::add);
    command.params = point;
    return command;
  });
  Scratch scratch;
  const Outcome outcome = run(c, scratch.file("a.db"), executors(2), {}, "", &desk);
  ASSERT_TRUE(desk.answers[1].done);
  ASSERT_TRUE(desk.answers[2].done);
  const Trial& first = outcome.trials[static_cast<std::size_t>(*desk.answers[1].trial)];
  const Trial& second = outcome.trials[static_cast<std::size_t>(*desk.answers[2].trial)];
  EXPECT_EQ(first.origin, Origin::user);
  EXPECT_EQ(first.state, TrialState::completed);
  EXPECT_EQ(first.params, point);
  EXPECT_EQ(second.state, TrialState::duplicate);
  EXPECT_EQ(second.same_as, first.id);
  EXPECT_EQ(second.objective, first.objective);
  EXPECT_THAT(desk.answers[2].text, HasSubstr("equal to trial " + std::to_string(first.id)));
  EXPECT_EQ(outcome.trials.size(), 25U) << "max_trials counts the added one, not its duplicate";
}

TEST(Commands, AddBeyondTheBudgetIsRefusedWithTheRemedy) {
  Case c;
  c.trials = 4;
  const SearchSpace space = make_spec(c, "/nowhere/a.db").space;
  Rng rng(9, 0, Purpose::simulate);
  const ParamSet point = space.mask(space.sample(rng));
  Desk desk([&](std::int64_t turn) -> std::optional<Command> {
    if (turn == 30) return set_limit("max_trials", 5.0);
    if (turn != 20 && turn != 40) return std::nullopt;
    Command command = make(Kind::add);
    command.params = point;
    return command;
  });
  Scratch scratch;
  const Outcome outcome = run(c, scratch.file("a.db"), executors(4), {}, "", &desk);
  EXPECT_FALSE(desk.answers[1].done);
  EXPECT_THAT(desk.answers[1].text, HasSubstr("`brood set max_trials 5`"));
  EXPECT_TRUE(desk.answers[2].done) << desk.answers[2].text;
  EXPECT_EQ(outcome.trials.size(), 5U);
}

TEST(Commands, InitialPointsKeepTheirOrderAroundAnAddedTrial) {
  Case c;
  const SearchSpace space = make_spec(c, "/nowhere/a.db").space;
  Rng rng(9, 0, Purpose::simulate);
  for (int i = 0; i < 6; ++i) c.initial_points.push_back(space.mask(space.sample(rng)));
  const ParamSet mine = space.mask(space.sample(rng));
  Desk desk([&](std::int64_t turn) -> std::optional<Command> {
    if (turn != 8) return std::nullopt;
    Command command = make(Kind::add);
    command.params = mine;
    return command;
  });
  Scratch scratch;
  const Outcome outcome = run(c, scratch.file("a.db"), executors(2), {}, "", &desk);
  std::vector<ParamSet> initial;
  for (const Trial& t : outcome.trials)
    if (t.origin == Origin::initial) initial.push_back(t.params);
  EXPECT_EQ(initial, c.initial_points);
  ASSERT_TRUE(desk.answers[1].trial);
  EXPECT_LT(*desk.answers[1].trial, 6) << "the test added it too late to mean anything";
}

TEST(Commands, PauseStartsNothingUntilTheRunGoesOn) {
  Case c;
  Scratch quiet, told;
  std::int64_t paused_for = 0;
  Desk desk([&](std::int64_t turn) -> std::optional<Command> {
    if (turn == 30) return make(Kind::pause);
    if (turn > 30 && turn < 430) ++paused_for;
    if (turn == 430) return make(Kind::go_on);
    return std::nullopt;
  });
  const Outcome expected = run(c, quiet.file("a.db"), {});
  const Outcome outcome = run(c, told.file("a.db"), executors(3), {}, "", &desk);
  EXPECT_EQ(paused_for, 399) << "the run ended while it was paused";
  EXPECT_EQ(difference(outcome.table, expected.table), "");
  EXPECT_THAT(desk.answers[1].text, HasSubstr("go on to their ends"));
  sqlite::Connection db(told.file("a.db"), sqlite::Access::read);
  // Nothing started while it was paused.
  EXPECT_EQ(db.whole("SELECT count(*) FROM attempt, "
                     "(SELECT at_us AS a FROM event WHERE kind = 'pause'), "
                     "(SELECT at_us AS b FROM event WHERE kind = 'continue') "
                     "WHERE started_us > a AND started_us < b"),
            0);
  EXPECT_GT(db.whole("SELECT b - a FROM (SELECT at_us AS a FROM event WHERE kind = 'pause'), "
                     "(SELECT at_us AS b FROM event WHERE kind = 'continue')"),
            10'000'000);
}

TEST(Commands, PauseNowTakesTheTrialsFromTheirExecutors) {
  Case c;
  Scratch quiet, told;
  Desk desk([&](std::int64_t turn) -> std::optional<Command> {
    Command pause = make(Kind::pause);
    pause.now = true;
    if (turn == 40) return pause;
    if (turn == 90) return make(Kind::go_on);
    return std::nullopt;
  });
  const Outcome expected = run(c, quiet.file("a.db"), {});
  const Outcome outcome = run(c, told.file("a.db"), executors(3), {}, "", &desk);
  EXPECT_EQ(difference(outcome.table, expected.table), "");
  sqlite::Connection db(told.file("a.db"), sqlite::Access::read);
  EXPECT_GT(db.whole("SELECT count(*) FROM attempt WHERE end = 'paused' AND charged = 0"), 0);
}

TEST(Commands, StopInterruptsTheRunWhichThenGoesOnToTheSameTable) {
  Case c;
  Scratch quiet, told;
  const Outcome expected = run(c, quiet.file("a.db"), {});
  Desk desk([](std::int64_t turn) -> std::optional<Command> {
    return turn == 60 ? std::optional(make(Kind::stop)) : std::nullopt;
  });
  const Outcome stopped = run(c, told.file("a.db"), executors(3), {}, "", &desk);
  EXPECT_EQ(stopped.ending.state, "interrupted");
  EXPECT_TRUE(desk.answers[1].done);
  EXPECT_EQ(difference(run(c, told.file("a.db"), executors(2)).table, expected.table), "");
}

TEST(Commands, ASetLimitHoldsAfterAResumeThatKeepsTheRecordsConfig) {
  Case c, longer;
  longer.trials = 40;
  Scratch told, whole;
  Desk desk([](std::int64_t turn) -> std::optional<Command> {
    if (turn == 30) return set_limit("max_trials", 40.0);
    if (turn == 60) return make(Kind::stop);
    return std::nullopt;
  });
  run(c, told.file("a.db"), executors(3), {}, "", &desk);
  EXPECT_EQ(desk.answers[1].text, "max_trials: 24 -> 40.0");
  sqlite::Connection db(told.file("a.db"), sqlite::Access::read);
  EXPECT_THAT(db.text("SELECT config FROM experiment"), HasSubstr("\"max_trials\":40"));
  const Outcome outcome = run(longer, told.file("a.db"), executors(3));
  EXPECT_EQ(outcome.trials.size(), 40U);
  EXPECT_EQ(difference(outcome.table, run(longer, whole.file("a.db"), {}).table), "");
}

TEST(Commands, ALoweredMaxTrialsProposesNoMoreAndTheLogSaysFromWhere) {
  Case c;
  Desk desk([](std::int64_t turn) -> std::optional<Command> {
    return turn == 60 ? std::optional(set_limit("max_trials", 2.0)) : std::nullopt;
  });
  Scratch scratch, again;
  const Outcome outcome = run(c, scratch.file("a.db"), executors(3), {}, "", &desk);
  EXPECT_EQ(outcome.ending.state, "completed");
  EXPECT_LT(outcome.trials.size(), 24U);
  EXPECT_GE(outcome.trials.size(), 3U);
  EXPECT_EQ(
      difference(run(c, again.file("a.db"), {}, {}, scratch.file("a.db")).table, outcome.table),
      "");
}

TEST(Commands, ATargetSetInTheMiddleEndsTheRunThereAndThereAgain) {
  Case c;
  c.trials = 60;
  for (const double target : {-0.76, -3.0}) {  // later; met already
    Desk desk([&](std::int64_t turn) -> std::optional<Command> {
      return turn == 120 ? std::optional(set_limit("target", target)) : std::nullopt;
    });
    Scratch scratch, again;
    const Outcome outcome = run(c, scratch.file("a.db"), executors(3), {}, "", &desk);
    EXPECT_THAT(outcome.ending.why, HasSubstr("met the target"));
    const Outcome repeated = run(c, again.file("a.db"), {}, {}, scratch.file("a.db"));
    EXPECT_EQ(repeated.ending.why, outcome.ending.why);
    EXPECT_EQ(difference(repeated.table, outcome.table), "");
    // A resume finds that all is done, and changes nothing.
    Case same = c;
    same.target = target;
    const Outcome resumed = run(same, scratch.file("a.db"), executors(2));
    EXPECT_EQ(resumed.ending.why, outcome.ending.why);
    EXPECT_EQ(difference(resumed.table, outcome.table), "");
  }
}

TEST(Commands, ATargetThatWasMetCannotBeSetFurtherOnResume) {
  Case c, further;
  c.trials = further.trials = 60;
  c.target = -0.76;
  further.target = -0.01;
  Scratch scratch;
  run(c, scratch.file("a.db"), executors(3));
  try {
    run(further, scratch.file("a.db"), {});
    FAIL() << "what was dropped cannot come back";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("Start a new experiment"));
  }
}

TEST(Breaker, EndsARunWhoseFirstTrialsAllFailForOneReason) {
  Case c;
  c.toy.throw_share = 1.0;
  std::string why;
  for (const int count : {1, 7}) {
    Scratch scratch;
    const Outcome outcome = run(c, scratch.file("a.db"), executors(count));
    EXPECT_EQ(outcome.ending.state, "failed");
    EXPECT_THAT(outcome.ending.why, HasSubstr("the first 5 trials all failed for one reason"));
    EXPECT_THAT(outcome.ending.why, HasSubstr("this point throws"));
    EXPECT_TRUE(why.empty() || why == outcome.ending.why);
    why = outcome.ending.why;
    EXPECT_EQ(outcome.progress.failed, 5);
    // It does not go on by itself, but when told to.
    EXPECT_EQ(run(c, scratch.file("a.db"), {}).ending.state, "failed");
    Case anyway = c;
    anyway.max_initial_failures = 0;
    const Outcome all = run(anyway, scratch.file("a.db"), executors(3));
    EXPECT_EQ(all.ending.state, "completed");
    EXPECT_EQ(all.progress.failed, 24);
  }
}

TEST(Breaker, StaysClosedForNansAndOnceATrialWentWell) {
  Case nans;
  nans.toy.nan_share = 1.0;
  Scratch first, second;
  EXPECT_EQ(run(nans, first.file("a.db"), {}).ending.state, "completed");
  Case some;
  some.toy.throw_share = 0.7;
  some.seed = 3;
  const Outcome outcome = run(some, second.file("a.db"), {});
  EXPECT_EQ(outcome.ending.state, "completed");
  EXPECT_GT(outcome.progress.failed, 10);
}

TEST(Interventions, AreReadBackAsTheyWereWritten) {
  ParamSet params;
  params.set("x", 0.1);
  params.set("n", std::int64_t{3});
  params.set("kind", std::string("a \"b\"\n"));
  const std::vector<Intervention> all = {
      Cancellation{4, 2, 3, "why \xe2\x82\xac"}, Addition{7, params},
      LimitChange{0, 5, Limits::Key::target, std::nullopt, 0.1},
      LimitChange{1, 5, Limits::Key::max_trials, 20.0, std::nullopt}};
  for (const Intervention& made : all) {
    const auto again = to_intervention(to_event(made, 1));
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, made);
  }
  EXPECT_FALSE(to_intervention({3, 0, "charged_crash", "{}"}));
  for (const char* body : {"{}", "", "[1]", "{\"judged_epoch\": \"x\"}", "{\"params\": 3}"})
    for (const char* kind : {"cancel", "add", "set"})
      EXPECT_THROW(to_intervention({3, 0, kind, body}), UserError) << kind << " " << body;
}

}  // namespace
}  // namespace brood::simulation
