// The questions, asked of one small database with a trial of every kind. What people see is held in
// tests/golden/store; BROOD_GOLDEN=rewrite writes it anew, and the difference is to be reviewed.
#include "cli/questions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "cli/best_config.h"
#include "cli/config.h"
#include "cli/config_trainer.h"
#include "engine/error.h"
#include "strategies/strategies.h"
#include "tests/store_fixture.h"

namespace brood {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kConfig = R"({"budget": {"max_trials": 8},
 "early_stopping": {"algorithm": "median"}, "experiment": {"name": "questions", "seed": 42},
 "objective": {"goal": "maximize", "metric": "val_accuracy", "target": 0.99},
 "search": {"algorithm": "random"}, "search_space": {"learning_rate": {"max": 1.0, "min": 0.0001},
 "filters[1]": [16, 32, 64], "optimizer": ["sgd", "adam"], "nesterov": [true, false]},
 "trainer": {"layers": [{"dense": {"units": {"$param": "filters[1]"}}}], "name": "synthetic",
 "optimizer": {"learning_rate": {"$param": "learning_rate"}, "name": {"$param": "optimizer"},
 "nesterov": {"$param": "nesterov"}}}, "version": 1})";

// Times of 1970 in UTC, so that they read the same everywhere.
class Questions : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("TZ", "UTC", 1);
    folder_ = new TestFolder;
    make_database();
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string path() { return *folder_ / "q.db"; }
  static Where where() { return {path(), ""}; }

  static void make_database() {
    SqliteStoreOptions options;
    options.durability = SqliteStoreOptions::Durability::manual;
    options.power_safe = false;
    const auto store = open_sqlite_store(path(), options);
    ExperimentSpec spec = small_spec("questions");
    spec.config = kConfig;
    store->open(spec, small_session());
    const double accuracy[] = {0.7, 0.8, 0.5, 0.8};
    for (TrialId id = 0; id < 4; ++id) {
      Trial trial = small_trial(id);
      if (id == 3) trial.lineage = {0, 1};
      store->put(TrialAdded{trial});
      store->put(AttemptStarted{id, 1, "here/1.0", "here", "cpu", "plain-1", 2'000'000 + 10 * id, 1,
                                "q.db.files/trial_" + std::to_string(id) + "/attempt_1.log"});
      for (int epoch : {1, 2, 3})
        store->put(Reported{id, small_report(epoch, accuracy[id] + 0.01 * epoch - 0.03),
                            2'000'000 + 1'000'000 * epoch});
      const bool stopped = id == 2;
      for (int epoch : {1, 2}) {
        if (stopped && epoch == 2) break;
        store->put(Judged{id, epoch, accuracy[id] + 0.01 * epoch - 0.03,
                          stopped ? Verdict::stop : Verdict::proceed, id});
      }
      store->put(AttemptEnded{id, 1, 6'000'000, stopped ? "stopper" : "completed", false, "",
                              std::uint64_t{30} << 20});
      trial.state = stopped ? TrialState::stopped : TrialState::completed;
      trial.cause = stopped ? Cause::stopper : Cause::none;
      trial.judged_epoch = stopped ? 1 : 3;
      trial.best_epoch = trial.judged_epoch;
      trial.objective = stopped ? 0.48 : accuracy[id];
      trial.why = stopped ? "stopped after epoch 1 of 3" : "";
      store->put(TrialChanged{trial});
    }
    store->put(CheckpointSaved{1, 3, "q.db.files/trial_1/3.ckpt", 4096});
    add_odd_trials(*store);
    store->put(EventLogged{4, 7'000'000, "charged_crash", "{\"attempt\":1}"});
    store->flush();
    const std::string log = *folder_ / "q.db.files/trial_4";
    std::filesystem::create_directories(log);
    std::ofstream(log + "/attempt_1.log") << "loading\rloaded\nSegmentation \x1b[31mfault\n";
  }

  // One failed, duplicate, infeasible, running and waiting.
  static void add_odd_trials(Store& store) {
    for (TrialId id = 4; id < 9; ++id) {
      Trial trial = small_trial(id);
      if (id == 5) {
        trial.state = TrialState::duplicate;
        trial.same_as = 1;
        trial.objective = 0.8;
        trial.why = "equal to trial 1";
      }
      if (id == 6) {
        trial.state = TrialState::infeasible;
        trial.cause = Cause::constraint;
        trial.why = "parameters is 2000000.0, the constraint allows at most 1500000.0";
      }
      store.put(TrialAdded{trial});
      if (id != 4 && id != 7) continue;
      store.put(AttemptStarted{id, 1, "here/2.0", "here", "cpu", "plain-1", 2'000'000, 1,
                               "q.db.files/trial_" + std::to_string(id) + "/attempt_1.log"});
      if (id == 4) {
        store.put(AttemptEnded{id, 1, 2'500'000, "signal", true, "killed by SIGSEGV", 0});
        trial.state = TrialState::failed;
        trial.cause = Cause::signal;
        trial.why = "killed by SIGSEGV";
      } else {
        store.put(Reported{id, small_report(1, 0.4), 3'000'000});
        trial.state = TrialState::running;
      }
      store.put(TrialChanged{trial});
    }
  }

  // Of what a question said, with the folder's name taken out.
  template <class Command, class Options>
  static std::string said(Command command, const Options& options, int expected_status = 0) {
    std::ostringstream out;
    EXPECT_EQ(command(options, out), expected_status);
    std::string text = out.str();
    const std::string own = *folder_ / "";
    for (auto at = text.find(own); at != std::string::npos; at = text.find(own))
      text.replace(at, own.size(), "FOLDER/");
    return text;
  }

  static void expect_golden(const std::string& name, const std::string& text) {
    const char* source = std::getenv("BROOD_SOURCE_DIR");
    ASSERT_NE(source, nullptr) << "run by ctest";
    const std::string file = std::string(source) + "/tests/golden/store/" + name;
    const char* wish = std::getenv("BROOD_GOLDEN");
    if (wish != nullptr && std::string(wish) == "rewrite") std::ofstream(file) << text;
    std::stringstream expected;
    expected << std::ifstream(file).rdbuf();
    EXPECT_EQ(text, expected.str()) << file;
  }

  static TestFolder* folder_;
};

TestFolder* Questions::folder_ = nullptr;

template <class Call>
std::string refusal(Call call) {
  try {
    call();
    return "no refusal";
  } catch (const UserError& error) {
    return error.what();
  }
}

TEST_F(Questions, BestRanksTiesByNumberAndLeavesOutWhatDoesNotCount) {
  expect_golden("best.txt", said(best_command, BestOptions{where(), 10, false, Format::people}));
  EXPECT_EQ(said(best_command, BestOptions{where(), 1, false, Format::csv}),
            "rank,trial,val_accuracy,learning_rate,filters[1],optimizer,nesterov,epochs,state\r\n"
            "1,1,0.8,0.05,64,adam,,3,completed\r\n");
  EXPECT_THAT(said(best_command, BestOptions{where(), 1, false, Format::json}),
              HasSubstr("\"nesterov\": null"));
}

TEST_F(Questions, BestAsConfigHoldsTheWinnerAsConstants) {
  expect_golden("best_config.json", said(best_command, BestOptions{where(), 10, true}));
}

// The config of a trial at the space's `point`-th covering point.
std::string winner_of(const std::string& config, std::size_t point) {
  const ExperimentSpec spec = read_config_text(config, "/there/search.json");
  Layout layout;
  layout.params = param_columns(spec.space);
  Trial trial;
  trial.id = 7;
  const std::vector<Point> points = covering_sample(spec.space);
  trial.params = spec.space.mask(points[point % points.size()]);
  return config_of(spec.config, layout, trial);
}

std::string search_of(const std::string& space, const std::string& trainer) {
  return R"({"version": 1, "experiment": {"name": "search", "seed": 3},
    "objective": {"metric": "val_accuracy", "goal": "maximize", "target": 0.9},
    "search": {"algorithm": "genetic", "settings": {"population_size": 4, "generations": 2}},
    "initial_points": [], "early_stopping": {"algorithm": "median"},
    "resources": {"executors": 2, "memory_per_trial": "1234MiB"},
    "search_space": )" +
         space + R"(, "trainer": )" + trainer + "}";
}

TEST(BestConfig, IsAcceptedOfEveryTrainerWithChoicesAndRepeats) {
  const std::string space = R"({"depth": [1, 2], "tail": ["none", "one"], "units[1..2]": [8, 16],
    "momentum": {"type": "float", "min": 0.1, "max": 0.9, "when": {"tail": ["one"]}}})";
  const std::string layers = R"([{"repeat": {"count": {"$param": "depth"}, "as": "i", "body": [
      {"dense": {"units": {"$param": "units[i]"}, "activation": "relu"}}]}},
    {"choose": {"by": {"$param": "tail"}, "cases": {"none": [],
      "one": [{"dropout": {"rate": {"$param": "momentum"}}}]}}}])";
  const std::string arguments = R"(["train", {"$expr": "depth * 2"},
    {"choose": {"by": {"$param": "tail"}, "cases": {"none": [], "one": ["--tail"]}}},
    {"repeat": {"count": {"$param": "depth"}, "as": "i", "body": [{"$param": "units[i]"}]}}])";
  const std::vector<std::string> configs = {
      search_of(space,
                R"({"name": "cnn", "dataset": "fashion_mnist", "validation": 0.1, "epochs": 2,
        "batch_size": 32, "optimizer": {"name": "adam", "learning_rate": 0.001}, "layers": )" +
                    layers + "}"),
      search_of(space, R"({"name": "command", "epochs": 2, "argv": )" + arguments + "}"),
      search_of(space, R"({"name": "synthetic", "epochs": 2, "function": "sphere",
        "noise": {"$expr": "depth / 10"}})")};
  for (const std::string& config : configs)
    for (std::size_t point = 0; point < 20; ++point) {
      const std::string winner = winner_of(config, point);
      const ExperimentSpec spec = read_config_text(winner, "/there/winner.json");
      EXPECT_EQ(make_strategy(spec)->total(), 1) << winner;
      EXPECT_EQ(spec.resources.executors, 2);
      EXPECT_THAT(winner, Not(HasSubstr("memory_per_trial")));
      for (const char* reference : {"$param", "$expr", "choose", "repeat"})
        EXPECT_THAT(winner, Not(HasSubstr(reference)));
    }
}

TEST_F(Questions, BestAsConfigIsJsonAlready) {
  EXPECT_THAT(refusal([&] {
                said(best_command, BestOptions{where(), 10, true, Format::json});
              }),
              HasSubstr("goes without --json"));
}

TEST_F(Questions, StatusOfARunThatIsGoneSaysHowToGoOn) {
  expect_golden("status.txt", [&] {
    // The times since the last sign of life grow.
    std::string text = said(status_command, StatusOptions{where()});
    return text.substr(0, text.find("\n\n") + 1);
  }());
  const std::string json = said(status_command, StatusOptions{where(), false, Format::json});
  EXPECT_THAT(json, HasSubstr("\"alive\": false"));
  EXPECT_THAT(json, HasSubstr("\"epochs_dropped\": 2"));
}

TEST_F(Questions, ShowTellsEverythingOfATrial) {
  expect_golden("show_1.txt", said(show_command, ShowOptions{where(), 1}));
  expect_golden("show_2.txt", said(show_command, ShowOptions{where(), 2}));
  expect_golden("show_4.json", said(show_command, ShowOptions{where(), 4, Format::json}));
  EXPECT_EQ(refusal([&] {
              said(show_command, ShowOptions{where(), 99});
            }),
            "experiment \"questions\" has no trial 99: it has 0 to 8");
}

TEST_F(Questions, LogsPrintWhatCannotSteerTheTerminal) {
  EXPECT_EQ(said(logs_command, LogsOptions{where(), 4}),
            "== trial 4, attempt 1 on here/2.0: FOLDER/q.db.files/trial_4/attempt_1.log ==\n"
            "loaded\nSegmentation ?[31mfault\n");
  EXPECT_THAT(said(logs_command, LogsOptions{where(), 1}), HasSubstr("its log is gone"));
  EXPECT_EQ(said(logs_command, LogsOptions{where(), 8}, 1),
            "trial 8 has not been started: it has no log\n");
  EXPECT_EQ(refusal([&] {
              said(logs_command, LogsOptions{where(), 4, 7});
            }),
            "trial 4 has no attempt 7");
}

TEST_F(Questions, WhyExplainsEveryState) {
  std::string all;
  for (TrialId id = 0; id < 9; ++id) all += said(why_command, WhyOptions{where(), id}) + "\n";
  all += said(why_command, WhyOptions{where(), std::nullopt});
  expect_golden("why.txt", all);
}

TEST_F(Questions, QueryFiltersSortsAndLimits) {
  QueryOptions options;
  options.where = where();
  options.filter = "val_accuracy >= 0.7 and optimizer = 'adam'";
  options.sort = {"-val_accuracy", "trial"};
  options.columns = {"trial", "state", "learning_rate", "val_accuracy"};
  EXPECT_EQ(said(query_command, options),
            "trial  state      learning_rate  val_accuracy\n"
            "-----  ---------  -------------  ------------\n"
            "    1  completed           0.05           0.8\n"
            "    3  completed          0.025           0.8\n"
            "    5  duplicate      0.0166667           0.8\n");
  options.limit = 1;
  options.format = Format::json;
  EXPECT_THAT(said(query_command, options),
              testing::StartsWith("[\n {\"trial\": 1, \"state\": \"completed\""));
  options.filter = "nesterov is missing and not state in ('completed', 'duplicate')";
  options.columns = {};
  options.sort = {};
  options.format = Format::csv;
  EXPECT_EQ(said(query_command, options),
            "trial,state,objective,epochs,learning_rate,filters[1],optimizer,nesterov\r\n"
            "7,running,,0,0.0125,64,adam,\r\n");
}

TEST_F(Questions, QueryRunsTheUsersSql) {
  QueryOptions options;
  options.where = where();
  options.sql = "SELECT optimizer, count(*) AS n FROM trials GROUP BY optimizer";
  options.format = Format::csv;
  EXPECT_EQ(said(query_command, options), "optimizer,n\r\nadam,4\r\nsgd,5\r\n");
}

TEST_F(Questions, QueryRefusesWhatItDoesNotKnow) {
  const auto refused = [&](auto set) {
    QueryOptions options;
    options.where = where();
    set(options);
    return refusal([&] { said(query_command, options); });
  };
  EXPECT_EQ(refused([](QueryOptions& o) { o.columns = {"learing_rate"}; }),
            "there is no parameter or metric \"learing_rate\" (did you mean \"learning_rate\"?)");
  EXPECT_THAT(refused([](QueryOptions& o) { o.sort = {"-nothing"}; }),
              HasSubstr("no parameter or metric \"nothing\"; known are trial objective"));
  EXPECT_EQ(refused([](QueryOptions& o) { o.limit = -1; }), "--limit is -1: it counts rows");
  EXPECT_THAT(refused([](QueryOptions& o) {
                o.sql = "SELECT 1";
                o.filter = "trial = 1";
              }),
              HasSubstr("--sql is a whole query"));
  EXPECT_THAT(refused([](QueryOptions& o) { o.sql = "DELETE FROM trial"; }),
              HasSubstr("only reads"));
}

TEST_F(Questions, CompareShowsWhatDiffers) {
  expect_golden("compare.txt", said(compare_command, CompareOptions{where(), {1, 2}}));
  EXPECT_THAT(refusal([&] {
                said(compare_command, CompareOptions{where(), {1}});
              }),
              HasSubstr("two trials or more"));
}

TEST_F(Questions, DuplicatesShowTheirOriginalsResult) {
  expect_golden("show_5.txt", said(show_command, ShowOptions{where(), 5}));
  const std::string json = said(show_command, ShowOptions{where(), 5, Format::json});
  EXPECT_THAT(json, HasSubstr("\"reports_of\": 1"));
  EXPECT_EQ(said(compare_command, CompareOptions{where(), {1, 5}, Format::csv}),
            "name,trial 1,trial 5,same\r\nstate,completed,duplicate,no\r\n"
            "objective,0.8,0.8,yes\r\nepochs,3,3,yes\r\n"
            "learning_rate,0.05,0.016666666666666666,no\r\nfilters[1],64,64,yes\r\n"
            "optimizer,adam,adam,yes\r\nnesterov,,,yes\r\nval_accuracy,0.8,0.8,yes\r\n"
            "seconds_per_epoch,0.5,0.5,yes\r\n");
  QueryOptions options;
  options.where = where();
  options.filter = "same_as = 1";
  options.columns = {"epochs", "val_accuracy"};
  options.format = Format::csv;
  EXPECT_EQ(said(query_command, options), "epochs,val_accuracy\r\n3,0.8\r\n");
  options.filter = "";
  options.columns = {};
  options.sql = "SELECT epochs FROM all_trials WHERE trial = 5";
  EXPECT_EQ(said(query_command, options), "epochs\r\n3\r\n");
}

// A failure whose reason ends with what its program had said.
TEST_F(Questions, WhyTellsTheEndOfALogOnce) {
  const std::string file = *folder_ / "log.db";
  const std::string reason =
      "the program ended with status 1; the last lines of its log:\nTraceback\n\x1b[31mno GPU";
  {
    SqliteStoreOptions options;
    options.power_safe = false;
    const auto store = open_sqlite_store(file, options);
    ExperimentSpec spec = small_spec("log");
    store->open(spec, small_session());
    Trial trial = small_trial(0);
    store->put(TrialAdded{trial});
    for (int attempt : {1, 2, 3}) {
      store->put(AttemptStarted{0, attempt, "here/1.0", "here", "cpu", "any", 2'000'000, 1,
                                "log.db.files/attempt.log"});
      store->put(AttemptEnded{0, attempt, 3'000'000, "exit_status", true, reason, 0});
      store->put(
          EventLogged{0, 3'000'000, "charged_crash", R"({"attempt":1,"cause":"exit_status"})"});
    }
    trial.state = TrialState::failed;
    trial.cause = Cause::exit_status;
    trial.why = reason;
    store->put(TrialChanged{trial});
    store->put(StateChanged{"failed", "1 trial failed, the last: " + reason});
    store->flush();
  }
  const std::string attempts =
      "Trial 0 failed (exit status): the program ended with status 1\n"
      "Attempt 1 on here/1.0 from epoch 1 ended: exit status after 1s, charged.\n"
      "Attempt 2 on here/1.0 from epoch 1 ended: exit status after 1s, charged.\n"
      "Attempt 3 on here/1.0 from epoch 1 ended: exit status after 1s, charged.\n"
      "(charged: it counts against fault_tolerance.max_retries_per_trial.)\n";
  EXPECT_EQ(said(why_command, WhyOptions{{file, ""}, 0}), attempts + "Traceback\n?[31mno GPU\n");
  std::filesystem::create_directories(*folder_ / "log.db.files");
  std::ofstream(*folder_ / "log.db.files/attempt.log") << "Traceback\nno GPU\n";
  EXPECT_EQ(said(why_command, WhyOptions{{file, ""}, 0}),
            attempts + "The end of FOLDER/log.db.files/attempt.log:\nTraceback\nno GPU\n");
  EXPECT_THAT(said(why_command, WhyOptions{{file, ""}}),
              testing::StartsWith("Experiment \"log\" is failed: 1 trial failed, the last: the "
                                  "program ended with status 1.\n"));
  const std::string shown = said(show_command, ShowOptions{{file, ""}, 0});
  EXPECT_THAT(shown, Not(HasSubstr("the last lines")));
  EXPECT_THAT(shown, HasSubstr("log of attempt 2: FOLDER/log.db.files/attempt.log\n"));
}

TEST_F(Questions, StatusCountsTheTrialsOfARunThatEnded) {
  const std::string file = *folder_ / "ended.db";
  {
    SqliteStoreOptions options;
    options.power_safe = false;
    const auto store = open_sqlite_store(file, options);
    store->open(small_spec("ended"), small_session());
    for (TrialId id = 0; id < 10; ++id) {
      Trial trial = small_trial(id);
      trial.state = id < 8 ? TrialState::completed : TrialState::duplicate;
      if (id >= 8) trial.same_as = 1;
      store->put(TrialAdded{trial});
    }
    store->flush();
    // More than the 8 that were expected.
    EXPECT_THAT(said(status_command, StatusOptions{{file, ""}}),
                HasSubstr("\ntrials      10 trials ended: 8 completed, 2 duplicates\n"));
    store->put(StateChanged{"interrupted", "asked to stop"});
    store->flush();
    EXPECT_THAT(said(status_command, StatusOptions{{file, ""}}),
                HasSubstr("interrupted: asked to stop (continue with `brood resume "));
    store->put(StateChanged{"completed", ""});
    store->flush();
  }
  EXPECT_THAT(said(status_command, StatusOptions{{file, ""}}),
              HasSubstr("\ntrials      10 trials: 8 completed, 2 duplicates\n"));
  // What the search's own order cost: 5 of the 20 seconds that two executors had, say.
  sqlite::Connection(file, sqlite::Access::write)
      .run("UPDATE session SET executors = 2, started_us = 0, ended_us = 10000000, "
           "horizon_seconds = 5");
  EXPECT_THAT(said(status_command, StatusOptions{{file, ""}}),
              HasSubstr("; 25 % idle while the next proposals waited for results\n"));
}

TEST_F(Questions, ResumeIsOfTheDatabaseAndNamesTheExperimentAmongSeveral) {
  const std::string file = *folder_ / "two runs.db";
  SqliteStoreOptions options;
  options.power_safe = false;
  open_sqlite_store(file, options)->open(small_spec("first"), small_session());
  EXPECT_THAT(said(status_command, StatusOptions{{file, ""}}),
              HasSubstr("`brood resume 'FOLDER/two runs.db'`"));
  open_sqlite_store(file, options)->open(small_spec("second"), small_session());
  EXPECT_THAT(said(why_command, WhyOptions{{file, "first"}}),
              HasSubstr("`brood resume 'FOLDER/two runs.db' -e first`"));
}

TEST_F(Questions, QueryUnderstandsAFileWhereAFilterStands) {
  QueryOptions options;
  options.filter = path();
  options.columns = {"trial"};
  options.limit = 1;
  options.format = Format::csv;
  EXPECT_EQ(said(query_command, options), "trial\r\n0\r\n");
  options.filter = "missing.json";
  EXPECT_THAT(refusal([&] { said(query_command, options); }), HasSubstr("--db missing.json"));
}

TEST_F(Questions, QueryTakesNamesPlainAndQuoted) {
  QueryOptions options;
  options.where = where();
  options.limit = 1;
  options.format = Format::csv;
  for (const char* filter : {"filters[1] = 64", "\"filters[1]\" = 64"})
    for (const char* column : {"filters[1]", "\"filters[1]\""})
      for (const char* sort : {"filters[1]", "-\"filters[1]\""}) {
        options.filter = filter;
        options.columns = {"trial", column};
        options.sort = {sort};
        EXPECT_EQ(said(query_command, options), "trial,filters[1]\r\n1,64\r\n");
      }
  // As a command line that is cut at every comma gives it.
  options.columns = {"trial", "\"odd", " name\""};
  EXPECT_THAT(refusal([&] { said(query_command, options); }), HasSubstr("\"odd, name\""));
  options.columns = {"\"odd"};
  EXPECT_THAT(refusal([&] { said(query_command, options); }), HasSubstr("never closed"));
}

TEST_F(Questions, FindTheDatabaseThatAConfigNames) {
  const std::string config = *folder_ / "sweep.json";
  std::ofstream(config) << "// a sweep\n{\"experiment\": {\"name\": \"questions\"}, "
                           "\"output\": {\"database\": \"q.db\"}}";
  EXPECT_EQ(said(best_command, BestOptions{{config, ""}, 1, false, Format::csv}),
            said(best_command, BestOptions{where(), 1, false, Format::csv}));
  EXPECT_EQ(refusal([&] {
              said(best_command, BestOptions{{path(), "question"}, 1});
            }),
            path() +
                ": has no experiment \"question\" (did you mean \"questions\"?); it has "
                "\"questions\"");
  EXPECT_THAT(refusal([&] {
                said(best_command, BestOptions{{*folder_ / "no.db", ""}, 1});
              }),
              HasSubstr("there is no such database"));
}

}  // namespace
}  // namespace brood
