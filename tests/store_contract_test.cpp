// The contract of Store (engine/store.h), asked of every way there is to keep one: what was put and
// made durable is read back exactly; what was not is lost as a whole suffix, never in the middle.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "tests/store_fixture.h"

namespace brood {
namespace {

using Durability = SqliteStoreOptions::Durability;

class StoreContract : public testing::TestWithParam<Durability> {
 protected:
  std::unique_ptr<Store> make() const {
    SqliteStoreOptions options;
    options.durability = GetParam();
    options.power_safe = false;
    return open_sqlite_store(folder_ / "experiments.db", options);
  }
  History open(Store& store, const std::string& name = "small") const {
    return store.open(small_spec(name), small_session());
  }
  // As another process would see it.
  History reopen(const std::string& name = "small") const {
    const auto store = make();
    return open(*store, name);
  }

  TestFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreContract,
                         testing::Values(Durability::group_commit, Durability::manual),
                         [](const auto& way) {
                           return way.param == Durability::manual ? "Manual" : "GroupCommit";
                         });

TEST_P(StoreContract, CreatesAnExperimentOnceAndFindsItAfterwards) {
  {
    const auto store = make();
    const History first = open(*store);
    EXPECT_TRUE(first.created);
    EXPECT_EQ(first.state, "running");
    EXPECT_EQ(first.session, 1);
    EXPECT_EQ(first.config, small_spec().config);
    EXPECT_EQ(first.numeric_class, "");
    EXPECT_TRUE(first.trials.empty());
  }
  const History second = reopen();
  EXPECT_FALSE(second.created);
  EXPECT_EQ(second.session, 2);
}

TEST_P(StoreContract, ReadsBackATrialExactly) {
  Trial trial = small_trial(0);
  trial.origin = Origin::initial;
  trial.params.set("learning_rate", 0.1 + 0.2);
  Trial child = small_trial(1);
  child.parent = 0;
  child.lineage = {0, 0};
  child.first_epoch = 4;
  child.last_epoch = 6;
  {
    const auto store = make();
    open(*store);
    store->put(TrialAdded{trial});
    store->put(TrialAdded{child});
    store->flush();
  }
  const History history = reopen();
  ASSERT_EQ(history.trials.size(), 2u);
  const Trial& read = history.trials[0];
  EXPECT_EQ(read.params, trial.params);
  EXPECT_EQ(read.seed, trial.seed);
  EXPECT_EQ(read.origin, Origin::initial);
  EXPECT_EQ(read.state, TrialState::waiting);
  EXPECT_EQ(read.objective, std::nullopt);
  EXPECT_EQ(history.trials[1].params, child.params);
  EXPECT_EQ(history.trials[1].params.find("nesterov"), nullptr);
  EXPECT_EQ(history.trials[1].parent, 0);
  EXPECT_EQ(history.trials[1].lineage, child.lineage);
  EXPECT_EQ(history.trials[1].first_epoch, 4);
  EXPECT_EQ(history.trials[1].last_epoch, 6);
}

TEST_P(StoreContract, ReadsBackTheEndOfATrial) {
  Trial trial = small_trial(0);
  {
    const auto store = make();
    open(*store);
    store->put(TrialAdded{trial});
    trial.state = TrialState::stopped;
    trial.last_epoch = 2;
    trial.judged_epoch = 2;
    trial.objective = 0.75;
    trial.best_epoch = 1;
    trial.cause = Cause::stopper;
    trial.why = "worse than its peers";
    store->put(TrialChanged{trial});
    store->flush();
  }
  const Trial read = reopen().trials.at(0);
  EXPECT_EQ(read.state, TrialState::stopped);
  EXPECT_EQ(read.last_epoch, 2);
  EXPECT_EQ(read.judged_epoch, 2);
  EXPECT_EQ(read.objective, 0.75);
  EXPECT_EQ(read.best_epoch, 1);
  EXPECT_EQ(read.cause, Cause::stopper);
  EXPECT_EQ(read.why, trial.why);
}

TEST_P(StoreContract, GivesReportsOfTrialsThatHaveNotEndedOnly) {
  {
    const auto store = make();
    open(*store);
    for (TrialId id : {0, 1}) {
      store->put(TrialAdded{small_trial(id)});
      store->put(Reported{id, small_report(1, 0.5), 7});
      store->put(Reported{id, small_report(2, 0.6), 8});
    }
    Trial first = small_trial(0);
    first.state = TrialState::completed;
    first.judged_epoch = 2;
    store->put(TrialChanged{first});
    store->flush();
  }
  const History history = reopen();
  EXPECT_TRUE(history.trials.at(0).reports.empty());
  EXPECT_EQ(history.trials.at(1).reports,
            (std::vector<Report>{small_report(1, 0.5), small_report(2, 0.6)}));
}

TEST_P(StoreContract, KeepsNotANumberAndInfinityApartFromAMissingMetric) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  {
    const auto store = make();
    open(*store);
    store->put(TrialAdded{small_trial(0)});
    store->put(Reported{0, {1, {{"a", 1.0, true}, {"b", nan, true}, {"c", -infinity, true}}}, 0});
    store->put(Reported{0, {2, {{"b", 2.0, true}, {"b", 3.0, false}}}, 0});
    store->flush();
  }
  const std::vector<Report> reports = reopen().trials.at(0).reports;
  ASSERT_EQ(reports.size(), 2u);
  ASSERT_EQ(reports[0].metrics.size(), 3u);
  EXPECT_TRUE(std::isnan(reports[0].find("b")->value));
  EXPECT_EQ(reports[0].find("c")->value, -infinity);
  EXPECT_EQ(reports[1], (Report{2, {{"b", 2.0, true}, {"b", 3.0, false}}}));
}

TEST_P(StoreContract, StoresARepeatedEpochOnce) {
  {
    const auto store = make();
    open(*store);
    store->put(TrialAdded{small_trial(0)});
    store->put(Reported{0, small_report(1, 0.5), 0});
    store->put(Reported{0, small_report(1, 0.9), 0});
    store->flush();
  }
  EXPECT_EQ(reopen().trials.at(0).reports, (std::vector<Report>{small_report(1, 0.5)}));
}

TEST_P(StoreContract, TakesAnyNumberOfMetrics) {
  Report many{1, {}};
  for (int i = 0; i < 40; ++i) many.metrics.push_back({"metric " + std::to_string(i), i / 7.0});
  {
    const auto store = make();
    open(*store);
    store->put(TrialAdded{small_trial(0)});
    store->put(Reported{0, many, 0});
    store->put(Reported{0, {2, {{"one more", 1.0}}}, 0});
    store->flush();
  }
  const History history = reopen();
  EXPECT_EQ(history.trials.at(0).reports.at(0), many);
  EXPECT_EQ(history.trials.at(0).reports.at(1), (Report{2, {{"one more", 1.0}}}));
}

TEST_P(StoreContract, CountsAttemptsAndChargedOnes) {
  {
    const auto store = make();
    open(*store);
    for (TrialId id : {0, 1}) store->put(TrialAdded{small_trial(id)});
    for (int attempt : {1, 2, 3}) {
      store->put(AttemptStarted{0, attempt, "here/1.0", "here", "cpu", "c1", 5, 1, "logs/0.txt"});
      if (attempt < 3)
        store->put(AttemptEnded{0, attempt, 9, "signal", attempt == 2, "SIGSEGV", 1 << 20});
    }
    store->flush();
  }
  const History history = reopen();
  EXPECT_EQ(history.attempts, (std::vector<int>{3, 0}));
  EXPECT_EQ(history.charged, (std::vector<int>{1, 0}));
}

TEST_P(StoreContract, OrdersVerdictsByEpochAndTrial) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  {
    const auto store = make();
    open(*store);
    for (TrialId id : {0, 1, 2}) store->put(TrialAdded{small_trial(id)});
    store->put(Judged{2, 1, 0.2, Verdict::proceed, 1});
    store->put(Judged{2, 1, 0.3, Verdict::stop, 2});  // a resume gives verdicts anew
    store->put(Judged{0, 2, nan, Verdict::proceed, 0});
    store->put(Judged{0, 1, 0.1, Verdict::proceed, 0});
    store->flush();
  }
  const std::vector<Judged> verdicts = reopen().verdicts;
  ASSERT_EQ(verdicts.size(), 3u);
  EXPECT_EQ(verdicts[0].trial, 0);
  EXPECT_EQ(verdicts[0].epoch, 1);
  EXPECT_EQ(verdicts[0].score, 0.1);
  EXPECT_EQ(verdicts[1].trial, 2);
  EXPECT_EQ(verdicts[1].verdict, Verdict::stop);
  EXPECT_EQ(verdicts[1].horizon, 2);
  EXPECT_EQ(verdicts[2].epoch, 2);
  EXPECT_TRUE(std::isnan(verdicts[2].score));
}

TEST_P(StoreContract, KnowsTheCheckpointsThatWereNotDropped) {
  {
    const auto store = make();
    open(*store);
    store->put(TrialAdded{small_trial(0)});
    store->put(CheckpointSaved{0, 1, "files/0/1.ckpt", 10});
    store->put(CheckpointSaved{0, 2, "files/0/2.ckpt", 20});
    store->put(CheckpointSaved{0, 2, "files/0/2.ckpt", 21});
    store->put(CheckpointDropped{0, 1});
    store->flush();
  }
  const std::vector<CheckpointSaved> checkpoints = reopen().checkpoints;
  ASSERT_EQ(checkpoints.size(), 1u);
  EXPECT_EQ(checkpoints[0].epoch, 2);
  EXPECT_EQ(checkpoints[0].path, "files/0/2.ckpt");
  EXPECT_EQ(checkpoints[0].bytes, 21u);
}

TEST_P(StoreContract, RemembersStateConfigAndNumericClass) {
  {
    const auto store = make();
    open(*store);
    store->set_numeric_class("avx2-f32-1");
    store->set_config("{\"changed\": true}");
    store->put(EventLogged{-1, 5, "note", "{}"});
    store->put(StateChanged{"interrupted", "Ctrl-C"});
    store->flush();
  }
  const History history = reopen();
  EXPECT_EQ(history.state, "interrupted");
  EXPECT_EQ(history.numeric_class, "avx2-f32-1");
  EXPECT_EQ(history.config, "{\"changed\": true}");
}

TEST_P(StoreContract, KeepsTheExperimentsOfOneFileApart) {
  for (const std::string name : {"first", "second"}) {
    const auto store = make();
    open(*store, name);
    for (TrialId id = 0; id < (name == "first" ? 3 : 1); ++id) {
      store->put(TrialAdded{small_trial(id)});
      store->put(AttemptStarted{id, 1, "here/1.0", "here", "cpu", "c1", 5, 1, ""});
      store->put(Judged{id, 1, 0.0, Verdict::proceed, 0});
      store->put(CheckpointSaved{id, 1, "p", 1});
    }
    store->flush();
  }
  const History first = reopen("first"), second = reopen("second");
  EXPECT_EQ(first.trials.size(), 3u);
  EXPECT_EQ(first.checkpoints.size(), 3u);
  EXPECT_EQ(first.verdicts.size(), 3u);
  EXPECT_EQ(second.trials.size(), 1u);
  EXPECT_EQ(second.attempts, std::vector<int>{1});
  EXPECT_EQ(second.verdicts.size(), 1u);
}

TEST_P(StoreContract, NumbersTicketsFromOneAndMakesAllDurableOnFlush) {
  const auto store = make();
  open(*store);
  EXPECT_EQ(store->durable(), 0u);
  EXPECT_EQ(store->put(TrialAdded{small_trial(0)}), 1u);
  store->set_numeric_class("c1");
  EXPECT_EQ(store->put(TrialAdded{small_trial(1)}), 2u);
  store->flush();
  EXPECT_EQ(store->durable(), 2u);
  EXPECT_EQ(store->trouble(), "");
}

TEST_P(StoreContract, RefusesASecondWriterByItsProcess) {
  const auto store = make();
  open(*store);
  const auto other = make();
  try {
    open(*other);
    FAIL() << "two writers";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("process " + std::to_string(getpid()) + " on "),
              std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("is writing it"), std::string::npos);
  }
}

TEST_P(StoreContract, TakesHostileNamesForWhatTheyAre) {
  ExperimentSpec spec = small_spec("a'b\"; DROP TABLE trial; --\n");
  const std::vector<std::string> names = {
      "trial", "Trial", "lr",       "LR",   "a\"b",  "a'b",       "x; DROP TABLE trial", "select",
      "",      "[1]",   "\x01\x02", "f[1]", "rowid", "objective", "\xF0\x9F\x90\xA3"};
  std::vector<Field> fields;
  for (const std::string& name : names) fields.push_back(real_field(name, 0, 1));
  spec.space = SearchSpace(fields);
  Trial trial;
  for (std::size_t i = 0; i < names.size(); ++i)
    trial.params.set(names[i], 1.0 / static_cast<double>(i + 1));
  Report report{1, {}};
  for (const std::string& name : names) report.metrics.push_back({name, 0.25});
  {
    const auto store = make();
    store->open(spec, small_session());
    store->put(TrialAdded{trial});
    store->put(Reported{0, report, 0});
    store->flush();
  }
  const auto store = make();
  const History history = store->open(spec, small_session());
  EXPECT_EQ(history.trials.at(0).params, trial.params);
  EXPECT_EQ(history.trials.at(0).reports.at(0), report);
}

TEST_P(StoreContract, KeepsTheTypesOfMixedValues) {
  ExperimentSpec spec = small_spec();
  const std::vector<Value> mixed = {
      true, std::int64_t{1}, 1.0, std::string("1"), std::string("yes"), false};
  spec.space = SearchSpace({values_field("mixed", FieldKind::categorical, mixed),
                            values_field("numbers", FieldKind::ordinal, {std::int64_t{1}, 1.5}),
                            values_field("on", FieldKind::constant, {true})});
  {
    const auto store = make();
    store->open(spec, small_session());
    for (std::size_t i = 0; i < mixed.size(); ++i) {
      Trial trial;
      trial.id = static_cast<TrialId>(i);
      trial.params.set("mixed", mixed[i]);
      trial.params.set("numbers", i % 2 == 0 ? Value(std::int64_t{1}) : Value(1.5));
      trial.params.set("on", true);
      store->put(TrialAdded{trial});
    }
    store->flush();
  }
  const auto store = make();
  const History history = store->open(spec, small_session());
  for (std::size_t i = 0; i < mixed.size(); ++i) {
    EXPECT_EQ(*history.trials[i].params.find("mixed"), mixed[i]) << i;
    EXPECT_EQ(*history.trials[i].params.find("numbers"),
              i % 2 == 0 ? Value(std::int64_t{1}) : Value(1.5));
    EXPECT_EQ(*history.trials[i].params.find("on"), Value(true));
  }
}

// A crash leaves a prefix: cut after every number of changes, with commits every third.
TEST(ManualStore, LosesExactlyWhatWasNotCommitted) {
  for (int changes = 0; changes <= 10; ++changes) {
    TestFolder folder;
    SqliteStoreOptions options{Durability::manual, {}, 100, 3, false, 0, ""};
    Ticket durable = 0;
    {
      const auto store = open_sqlite_store(folder / "x.db", options);
      store->open(small_spec(), small_session());
      for (TrialId id = 0; id < changes; ++id) store->put(TrialAdded{small_trial(id)});
      durable = store->durable();
    }
    EXPECT_EQ(durable, static_cast<Ticket>(changes / 3 * 3));
    const auto store = open_sqlite_store(folder / "x.db", options);
    EXPECT_EQ(store->open(small_spec(), small_session()).trials.size(), durable);
  }
}

TEST(GroupStore, CommitsWhatIsQueuedWhenItIsDestroyedAndWakesAfterCommits) {
  TestFolder folder;
  std::atomic<int> woken = 0;
  SqliteStoreOptions options;
  options.power_safe = false;
  options.queue_max = 10;  // put() has to wait at times
  options.wake = [&woken] { ++woken; };
  {
    const auto store = open_sqlite_store(folder / "x.db", options);
    store->open(small_spec(), small_session());
    for (TrialId id = 0; id < 200; ++id) store->put(TrialAdded{small_trial(id)});
  }
  EXPECT_GT(woken, 0);
  const auto store = open_sqlite_store(folder / "x.db", options);
  EXPECT_EQ(store->open(small_spec(), small_session()).trials.size(), 200u);
}

}  // namespace
}  // namespace brood
