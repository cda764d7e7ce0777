// Goal: the reader's promises beyond its messages (tests/config_golden_test.cpp has those): files
// that are no config, overrides, defaults, the canonical text, and what may change on resume.
// Method: small configs in the test, files in a folder of their own.
#include "cli/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/config_document.h"
#include "engine/error.h"

namespace brood {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kConfig = R"({
  // a comment
  "version": 1, "experiment": {"name": "e", "description": "first"},
  "objective": {"metric": "loss", "goal": "minimize"},
  "search_space": {"zebra": {"type": "float", "min": 0, "max": 1}, "ant": [1, 2]},
  "search": {"algorithm": "random"}, "budget": {"max_trials": 5},
  "trainer": {"name": "synthetic", "epochs": 3}
})";

ExperimentSpec read(const std::vector<std::string>& overrides = {}) {
  return read_config_text(kConfig, "/data/x/e.json", overrides);
}

std::string refusal(const std::vector<std::string>& overrides) {
  try {
    read(overrides);
    return "";
  } catch (const UserError& error) {
    return error.what();
  }
}

class Files : public testing::Test {
 protected:
  Files() : folder_(fs::temp_directory_path() / ("brood_config_" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~Files() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return (folder_ / name).string();
  }

  static std::string refusal_of(const std::string& path) {
    try {
      read_config(path);
      return "";
    } catch (const UserError& error) {
      return error.what();
    }
  }

  fs::path folder_;
};

TEST_F(Files, ThatAreNoConfigAreRefusedByKind) {
  EXPECT_THAT(refusal_of(folder_.string()), HasSubstr("this is a folder"));
  EXPECT_THAT(refusal_of((folder_ / "none.json").string()), HasSubstr("there is no such file"));
  EXPECT_THAT(refusal_of((folder_ / "none" / "x.json").string()), HasSubstr("no such file"));
  EXPECT_THAT(refusal_of(write("empty.json", " \n")), HasSubstr("the file is empty"));
  EXPECT_THAT(refusal_of(write("x.bin", std::string("\x7f"
                                                    "ELF\0\0",
                                                    6))),
              HasSubstr("binary file"));
  EXPECT_THAT(refusal_of(write("x.db", std::string("SQLite format 3\0", 16))),
              HasSubstr("this is a database, not a config; try: brood status"));
  EXPECT_THAT(refusal_of(write("big.json", std::string((16U << 20) + 1, ' ') + "{}")),
              HasSubstr("above 16 MiB"));
  EXPECT_THAT(refusal_of(write("latin1.json", "{\"version\": \"\xe9\"}")),
              HasSubstr("not valid JSON"));
}

TEST_F(Files, NameTheirPlaceInEveryLine) {
  const std::string path = write("two.json", "{\"version\": 2, \"x\": 1}");
  const std::string text = refusal_of(path);
  std::size_t lines = 0;
  for (std::size_t at = 0; at != std::string::npos && at < text.size();) {
    EXPECT_EQ(text.compare(at, path.size() + 2, path + ": "), 0);
    ++lines;
    at = text.find('\n', at);
    if (at != std::string::npos) ++at;
  }
  EXPECT_EQ(lines, 7U);
}

TEST(Config, FillsInDefaults) {
  const ExperimentSpec spec = read();
  EXPECT_EQ(spec.seed, 0U);
  EXPECT_EQ(spec.objective.reduce, Objective::Reduce::last);
  EXPECT_FALSE(spec.objective.maximize);
  EXPECT_FALSE(spec.resources.executors);
  EXPECT_EQ(spec.fault_tolerance.max_retries_per_trial, 2);
  EXPECT_EQ(spec.output.keep_best, 1);
  EXPECT_FALSE(spec.stopper);
}

TEST(Config, TakesRelativePathsFromTheFilesFolder) {
  EXPECT_EQ(read().output.database, "/data/x/experiments.db");
  EXPECT_EQ(read({"output.database=../y.db"}).output.database, "/data/y.db");
  EXPECT_EQ(read({"output.database=/z/y.db"}).output.database, "/z/y.db");
  EXPECT_EQ(read({"data_dir=images"}).data_dir, "/data/x/images");
}

TEST(Config, NoneLiftsALimitFromTheCommandLine) {
  const std::vector<std::string> limits = {"objective.target=0.5", "budget.max_failed_trials=3"};
  ASSERT_TRUE(read(limits).objective.target);
  const ExperimentSpec spec =
      read({limits[0], limits[1], "objective.target=none", "/budget/max_failed_trials=none"});
  EXPECT_FALSE(spec.objective.target);
  EXPECT_FALSE(spec.budget.max_failed_trials);
  EXPECT_THROW(read({"budget.max_failed_trails=none"}), ConfigError);
  EXPECT_THROW(read({"budget=none"}), ConfigError);
}

TEST(Config, ASizeThatCanOnlyBeMeantInAnotherUnitIsRefused) {
  for (const std::string size : {"100", "512kB", "1000000"}) {
    try {
      read({"resources.memory_per_trial=" + size});
      FAIL() << size;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("should be at least 1MiB (is ")) << size;
    }
  }
  EXPECT_EQ(read({"resources.memory_per_trial=1048576"}).resources.memory_per_trial, 1048576U);
}

TEST(Config, ReadsUnitsAndEveryBlock) {
  const ExperimentSpec spec =
      read({"budget.max_wall_time=1h30m", "resources.memory_per_trial=\"2GiB\"",
            "resources.executors=3", "output.checkpoints.max_bytes=2097152", "experiment.seed=77",
            "objective.target=-1.5", "fault_tolerance.report_timeout=5m",
            R"(constraints=[{"metric":"memory_bytes","max":"1MiB"}])",
            R"(early_stopping={"algorithm":"median","settings":{"verdict_lag":3}})"});
  EXPECT_EQ(spec.budget.max_wall_time, Millis(5400000));
  EXPECT_EQ(spec.resources.memory_per_trial, std::uint64_t{2} << 30);
  EXPECT_EQ(spec.resources.executors, 3);
  EXPECT_EQ(spec.output.max_bytes, 2097152U);
  EXPECT_EQ(spec.seed, 77U);
  EXPECT_EQ(spec.objective.target, -1.5);
  EXPECT_EQ(spec.fault_tolerance.report_timeout, Millis(300000));
  EXPECT_EQ(spec.constraints.at(0).max, 1048576.0);
  EXPECT_EQ(spec.stopper->name, "median");
  EXPECT_EQ(spec.verdict_lag, 3);
}

TEST(Config, SpreadsFamiliesInOrder) {
  const ExperimentSpec spec = read({R"(search_space={"f[2..4]": [1, 2], "g": 3})"});
  std::vector<std::string> names;
  for (const Field& field : spec.space.fields()) names.push_back(field.name);
  EXPECT_THAT(names, ElementsAre("f[2]", "f[3]", "f[4]", "g"));
}

TEST(Config, OrdersInitialPointsAsTheSpaceAndTypesThem) {
  const ExperimentSpec spec = read({R"(initial_points=[{"ant": 2, "zebra": 1}])"});
  EXPECT_EQ(to_text(spec.initial_points.at(0)), "zebra=1.0 ant=2");
}

TEST(Override, SetsValuesThatAreJsonOrElseText) {
  EXPECT_EQ(read({"budget.max_trials=9"}).budget.max_trials, 9);
  EXPECT_EQ(read({"experiment.description=two words"}).description, "two words");
  EXPECT_EQ(read({"/experiment/description=a=b"}).description, "a=b");
  EXPECT_EQ(read({"search_space.ant.1=7"}).space.fields()[1].allowed(), "one of 1, 7");
  EXPECT_EQ(read({"experiment.seed=1", "experiment.seed=2"}).seed, 2U);
}

TEST(Override, FindsKeysThatHoldDots) {
  const ExperimentSpec spec =
      read({R"(search_space={"f[1..2]": {"type": "int", "min": 1, "max": 3}})",
            "search_space.f[1..2].max=5"});
  EXPECT_EQ(spec.space.fields()[1].max, 5);
}

TEST(Override, OfUnknownPathsIsRefusedAndNamed) {
  EXPECT_EQ(refusal({"experment.seed=3"}),
            "/data/x/e.json: /experment: unknown key (did you mean \"experiment\"?) (from --set "
            "experment.seed=3)");
  EXPECT_THAT(refusal({"experiment.sede=3"}), HasSubstr("did you mean \"seed\"?"));
  EXPECT_THAT(refusal({"trainer.epoch=3"}), HasSubstr("(from --set trainer.epoch=3)"));
  EXPECT_THAT(refusal({"experiment"}), HasSubstr("expected a path and a value"));
  EXPECT_THAT(refusal({"=3"}), HasSubstr("expected a path and a value"));
  EXPECT_THAT(refusal({"version.x=3"}), HasSubstr("/version is 1, so it has no \"x\""));
  EXPECT_THAT(refusal({"search_space.ant.2=7"}), HasSubstr("is a list of 2 elements"));
}

TEST(Canonical, SortsKeysButKeepsTheOrderOfTheSpace) {
  const std::string config = read().config;
  EXPECT_LT(config.find("budget"), config.find("experiment"));
  EXPECT_LT(config.find("description"), config.find("\"name\""));
  EXPECT_LT(config.find("zebra"), config.find("ant"));
  EXPECT_EQ(config.find("comment"), std::string::npos);
}

TEST(Canonical, ReadsBackAsItself) {
  const std::string config = read({"experiment.seed=5"}).config;
  const ExperimentSpec again = read_config_text(config, "/data/x/e.json");
  EXPECT_EQ(again.config, config);
  EXPECT_EQ(again.seed, 5U);
}

std::vector<std::string> changes(const std::vector<std::string>& before,
                                 const std::vector<std::string>& after) {
  std::vector<std::string> out;
  for (const ConfigChange& change : compare_configs(read(before).config, read(after).config))
    out.push_back((change.allowed ? "ok " : "no ") + to_text(change));
  return out;
}

TEST(Changes, ThatAlterNoResultAreAllowed) {
  EXPECT_THAT(changes({}, {}), ElementsAre());
  EXPECT_THAT(changes({}, {"budget.max_trials=9"}), ElementsAre("ok /budget/max_trials: 5 -> 9"));
  EXPECT_THAT(changes({}, {"resources.executors=3"}),
              ElementsAre("ok /resources/executors: \"auto\" -> 3"));
  EXPECT_THAT(changes({}, {"experiment.description=second", "output.database=y.db"}),
              ElementsAre("ok /experiment/description: \"first\" -> \"second\"",
                          "ok /output/database: \"experiments.db\" -> \"y.db\""));
  EXPECT_THAT(changes({}, {"data_dir=/images", "fault_tolerance.max_retries_per_trial=5"}),
              ElementsAre("ok /data_dir: (none) -> \"/images\"",
                          "ok /fault_tolerance/max_retries_per_trial: 2 -> 5"));
}

TEST(Changes, ThatAlterProposalsOrResultsAreNot) {
  EXPECT_THAT(changes({}, {"experiment.seed=1"}), ElementsAre("no /experiment/seed: 0 -> 1"));
  EXPECT_THAT(changes({}, {"trainer.epochs=4"}), ElementsAre("no /trainer/epochs: 3 -> 4"));
  EXPECT_THAT(changes({}, {"search_space.ant.1=3"}), ElementsAre("no /search_space/ant/1: 2 -> 3"));
  EXPECT_THAT(changes({}, {"resources.memory_per_trial=1GiB"}),
              ElementsAre("no /resources/memory_per_trial: (none) -> \"1GiB\""));
  EXPECT_THAT(changes({}, {R"(constraints=[{"metric":"loss","max":1}])"}),
              ElementsAre(R"(no /constraints: [] -> [{"max":1,"metric":"loss"}])"));
  EXPECT_THAT(changes({"early_stopping.algorithm=median"},
                      {"early_stopping.algorithm=median", "early_stopping.settings.verdict_lag=4"}),
              ElementsAre("no /early_stopping/settings/verdict_lag: 16 -> 4"));
  EXPECT_THAT(changes({}, {"objective.target=3"}),
              ElementsAre("ok /objective/target: (none) -> 3"));
}

TEST(Changes, CountLeftOutKeysAsTheirDefaults) {
  EXPECT_THAT(changes({}, {"experiment.seed=0", "resources.executors=auto",
                           "output.checkpoints.keep_best=1", "objective.reduce=last",
                           "search.settings={}"}),
              ElementsAre());
  EXPECT_THAT(changes({"search.algorithm=genetic"},
                      {"search.algorithm=genetic", "search.settings.elitism=1"}),
              ElementsAre());
}

TEST(Changes, KnowWhichSettingsShapeProposals) {
  const std::vector<std::string> genetic = {"search.algorithm=genetic",
                                            "search.settings.generations=3"};
  std::vector<std::string> more = genetic, other = genetic;
  more[1] = "search.settings.generations=4";
  other.push_back("search.settings.mutation.sigma=0.2");
  EXPECT_THAT(changes(genetic, more), ElementsAre("ok /search/settings/generations: 3 -> 4"));
  EXPECT_THAT(changes(genetic, other),
              ElementsAre("no /search/settings/mutation/sigma: 0.1 -> 0.2"));
}

TEST(Changes, NoticeAnotherOrderOfTheParameters) {
  EXPECT_THAT(changes({R"(search_space={"a": [1, 2], "b": [1, 2]})"},
                      {R"(search_space={"b": [1, 2], "a": [1, 2]})"}),
              ElementsAre(R"(no /search_space: ["a", "b"] -> ["b", "a"])"));
}

}  // namespace
}  // namespace brood
