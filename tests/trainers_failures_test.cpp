// Goal: whatever a user's program or a trial does wrong is a failed trial with its cause and a
// sentence that helps; nothing of it stays behind.
// Method: this very program misbehaves as it is told; the synthetic trainer fails on request.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "tests/trainers_drive.h"
#include "trainers/command_line.h"
#include "trainers/trainers.h"

namespace brood {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Program : public testing::Test {
 protected:
  std::vector<Event> run(const TrainerSetup& setup, Assignment assignment) {
    trainer_ = make_trainer(setup);
    assignment.log = folder_.path("trial.log");
    trainer_->start(0, assignment);
    return drive_to_end(*trainer_);
  }
  std::vector<Event> run(const std::string& behaviour) {
    return run(program_setup(behaviour), trial_of(7, 3));
  }
  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(folder_.path("trial.log")).rdbuf();
    return text.str();
  }

  TestFolder folder_;
  std::unique_ptr<Trainer> trainer_;
};

TEST_F(Program, ANonZeroStatusIsToldWithTheLastLinesOfTheLog) {
  const auto events = run("status");
  EXPECT_THAT(story(events), ElementsAre("report 1", "failed exit_status"));
  EXPECT_THAT(events.back().why, AllOf(HasSubstr("ended with status 3"),
                                       HasSubstr("last lines of its log:\nthe last words")));
}

TEST_F(Program, ASignalIsToldByName) {
  const auto events = run("signal");
  EXPECT_THAT(story(events), ElementsAre("report 1", "failed signal"));
  EXPECT_THAT(events.back().why, HasSubstr("signal 11 (Segmentation fault)"));
}

TEST_F(Program, ALineThatIsNoJsonIsShown) {
  const auto events = run("broken");
  EXPECT_THAT(story(events), ElementsAre("report 1", "failed protocol"));
  EXPECT_THAT(events.back().why, HasSubstr("epoch 2: loss 0.4"));
}

TEST_F(Program, AMistypedKeyIsNamed) {
  EXPECT_THAT(run("unknown key").back().why,
              HasSubstr("unknown key \"metric\" (did you mean \"metrics\"?)"));
}

TEST_F(Program, EpochsMustComeOneByOne) {
  const auto events = run("gap");
  EXPECT_THAT(story(events), ElementsAre("report 1", "failed protocol"));
  EXPECT_THAT(events.back().why, HasSubstr("epoch 3 after epoch 1"));
}

TEST_F(Program, AReportAfterTheEndFails) {
  const auto events = run("after the end");
  EXPECT_THAT(story(events), ElementsAre("report 1", "report 2", "report 3", "failed protocol"));
  EXPECT_THAT(events.back().why, HasSubstr("the trial ends with epoch 3"));
}

TEST_F(Program, AnEndWithoutAReportFails) {
  EXPECT_THAT(story(run("silent")), ElementsAre("failed protocol"));
}

TEST_F(Program, AnEarlyEndWithReportsIsAnEnd) {
  EXPECT_THAT(story(run("early")), ElementsAre("report 1", "ended 1"));
}

TEST_F(Program, AMissingObjectiveIsNamed) {
  EXPECT_THAT(run("no objective").back().why,
              HasSubstr("lacks the objective \"loss\" (did you mean \"los\"?)"));
}

TEST_F(Program, ANanObjectiveIsReportedAndFailsTheTrial) {
  for (const char* how : {"nan", "nan as text"})
    EXPECT_THAT(story(run(how)), ElementsAre("report 1", "report 2", "failed nan")) << how;
}

TEST_F(Program, AnInfiniteObjectiveIsAResult) {
  EXPECT_THAT(story(run("infinite")), ElementsAre("report 1", "report 2", "ended 2"));
}

TEST_F(Program, AnEndlessLineIsNotAwaited) {
  const auto events = run("long line");
  EXPECT_THAT(story(events), ElementsAre("report 1", "failed protocol"));
  EXPECT_THAT(events.back().why, HasSubstr("1 MiB"));
}

TEST_F(Program, ALineCutByTheEndIsBroken) {
  EXPECT_THAT(story(run("torn line")), ElementsAre("report 1", "failed protocol"));
}

TEST_F(Program, AReportForAnotherTrialIsRefused) {
  EXPECT_THAT(story(run("wrong trial")), ElementsAre("report 1", "failed protocol"));
}

TEST_F(Program, AStatusAfterTheLastReportStillCounts) {
  EXPECT_THAT(story(run("late status")),
              ElementsAre("report 1", "report 2", "report 3", "failed exit_status"));
}

TEST_F(Program, AChildThatOutlivesTheProgramDoesNotHoldTheTrial) {
  EXPECT_THAT(story(run("leaves a child")),
              ElementsAre("report 1", "report 2", "report 3", "ended 3"));
}

TEST_F(Program, AProgramThatIsNotThereIsNamed) {
  TrainerSetup setup = program_setup("");
  setup.config = R"({"name": "command", "argv": ["pyhton3", "train.py"], "epochs": 3})";
  const auto events = run(setup, trial_of(1, 3));
  EXPECT_THAT(story(events), ElementsAre("failed trainer"));
  EXPECT_THAT(events.back().why, AllOf(HasSubstr("\"pyhton3\""), HasSubstr("PATH")));
}

TEST_F(Program, OneThatIgnoresAStopIsKilledBeforeTheNextTrialStarts) {
  trainer_ = make_trainer(program_setup("deaf", R"("stop_grace": "100ms", )"));
  for (TrialId id = 1; id <= 3; ++id) {
    Assignment assignment = trial_of(id, 3);
    assignment.log = folder_.path("trial.log");
    trainer_->start(0, assignment);
    const auto events = drive(*trainer_, [](const auto& seen) { return !seen.empty(); });
    EXPECT_THAT(story(events), ElementsAre("report 1"));
    trainer_->stop(0);
  }
  trainer_.reset();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
}

TEST_F(Program, ArgumentsEnvironmentAndFolderAreThoseOfTheConfig) {
  TrainerSetup setup = program_setup("honest");
  setup.config.replace(setup.config.find("\"honest\""), 8,
                       R"("honest", {"$expr": "x * 2"}], "environment": {"MADE": {"$param": "x"}},
                          "stop_grace": "1s", "persistent": false)");
  setup.config.erase(setup.config.rfind(']'), 1);
  setup.base_dir = folder_.path("");
  EXPECT_THAT(story(run(setup, trial_of(1, 1, 0.25))), ElementsAre("report 1", "ended 1"));
  EXPECT_THAT(log(), HasSubstr("x=0.5 "));
  EXPECT_THAT(log(), HasSubstr("variable 0.25"));
  EXPECT_THAT(log(), HasSubstr("folder " + folder_.path("").substr(0, 10)));
}

TEST_F(Program, APersistentOneServesManyTrialsAndEachHasItsLog) {
  trainer_ = make_trainer(program_setup("persistent", R"("persistent": true, )"));
  for (TrialId id = 1; id <= 2; ++id) {
    Assignment assignment = trial_of(id, 2);
    assignment.log = folder_.path(std::to_string(id) + ".log");
    trainer_->start(0, assignment);
    EXPECT_THAT(story(drive_to_end(*trainer_)), ElementsAre("report 1", "report 2", "ended 2"));
  }
  const auto text = [&](const std::string& name) {
    std::ostringstream out;
    out << std::ifstream(folder_.path(name)).rdbuf();
    return out.str();
  };
  EXPECT_EQ(text("1.log"), "started\ntrial 1\n");
  EXPECT_EQ(text("2.log"), "trial 2\n");
}

TEST_F(Program, APersistentOneMustNameTheTrial) {
  const auto events = run(program_setup("status", R"("persistent": true, )"), trial_of(1, 3));
  EXPECT_THAT(story(events), ElementsAre("failed protocol"));
}

TEST(ProgramLine, ReadsWhatPythonWritesAndRefusesTheRest) {
  const ProgramLine line =
      parse_line(R"({"epoch": 2, "metrics": {"NaN of \"x\"": NaN, "b": -Infinity},)"
                 R"( "measured": {"seconds": 1}})");
  ASSERT_TRUE(line.report);
  EXPECT_TRUE(std::isnan(line.report->find("NaN of \"x\"")->value));
  EXPECT_EQ(line.report->find("b")->value, -std::numeric_limits<double>::infinity());
  EXPECT_FALSE(line.report->find("seconds")->exact);
  for (const char* broken :
       {"", "7", "[]", "{}", R"({"epoch": 1})", R"({"epoch": 1, "metrics": {}})",
        R"({"epoch": 0, "metrics": {"a": 1}})", R"({"epoch": 1.5, "metrics": {"a": 1}})",
        R"({"epoch": 1, "metrics": {"a": "x"}})", R"({"epoch": 1, "metrics": {"": 1}})",
        R"({"epoch": 1, "metrics": {"a": 1}, "measured": {"a": 1}})", R"({"ended": false})",
        R"({"epoch": 1, "metrics": {"a": 1, "a": 1}})",
        R"({"epoch": 1, "epoch": 2, "metrics": {"a": 1}})",
        R"({"epoch": 1, "metrics": {"a\u0007": 1}})", R"({"epoch": 1, "metrics": {"a": 1e400}})",
        R"({"ended": true, "attempt": 0})", R"({"epoch": 1, "metrics": {"a": 1)"})
    EXPECT_THROW(parse_line(broken), UserError) << broken;
}

class Synthetic : public testing::Test {
 protected:
  std::vector<Event> run(const std::string& keys, const Assignment& assignment) {
    TrainerSetup setup;
    setup.name = "synthetic";
    setup.config = R"({"name": "synthetic", "epochs": 3, )" + keys + "}";
    setup.objective = "loss";
    trainer_ = make_trainer(setup);
    trainer_->start(0, assignment);
    return drive_to_end(*trainer_);
  }
  std::unique_ptr<Trainer> trainer_;
};

TEST_F(Synthetic, FailsAsRequestedInThatEpochOfThoseTrialsAndAttempts) {
  const std::string nan = R"("fail": [{"how": "nan", "epoch": 2, "trials": [4], "attempts": 1}])";
  EXPECT_THAT(story(run(nan, trial_of(4, 3))), ElementsAre("report 1", "report 2", "failed nan"));
  EXPECT_EQ(story(run(nan, trial_of(5, 3))).back(), "ended 3");
  Assignment again = trial_of(4, 3);
  again.attempt = 2;
  EXPECT_EQ(story(run(nan, again)).back(), "ended 3");
}

TEST_F(Synthetic, FailsWhereTheParametersSaySo) {
  const std::string fail = R"("fail": [{"how": "throw", "when": {"x": [0.25, 1]}}])";
  const auto events = run(fail, trial_of(1, 3, 0.25));
  EXPECT_THAT(story(events), ElementsAre("failed trainer"));
  EXPECT_EQ(events.back().why, "a failure on request in epoch 1");
  EXPECT_EQ(story(run(fail, trial_of(1, 3, 0.5))).back(), "ended 3");
}

TEST_F(Synthetic, ApproachesTheFunctionItIsNamedAfter) {
  Assignment assignment = trial_of(1, 40, 3.141592653589793);
  assignment.params.set("y", 2.275);
  const auto events = run(R"("function": "branin")", assignment);
  // The published least value of Branin's function.
  EXPECT_NEAR(events[39].report.find("loss")->value, 0.397887, 1e-5);
}

TEST(CheckTrainer, AllProblemsAreToldWithTheirPlace) {
  const auto problems =
      check_trainer("command", R"({"name": "command", "argv": [], "epoch": 3, "persistent": 1,
                     "environment": {"A=B": 1}, "stop_grace": "soon"})");
  std::vector<std::string> places;
  for (const Problem& problem : problems) places.push_back(problem.pointer);
  EXPECT_THAT(places, testing::UnorderedElementsAre("/argv", "/environment", "/epochs",
                                                    "/persistent", "/stop_grace", "/epoch"));
  EXPECT_THAT(problems.back().message, HasSubstr("did you mean \"epochs\"?"));
  EXPECT_TRUE(check_trainer("synthetic", R"({"name": "synthetic", "epochs": 3})").empty());
  const auto nested = check_trainer(
      "synthetic", R"({"epochs": 3, "fail": [{"how": "nan"}, {"how": "explode", "epok": 1}]})");
  ASSERT_EQ(nested.size(), 2U);
  EXPECT_EQ(nested[0].pointer, "/fail/1/how");
  EXPECT_EQ(nested[1].pointer, "/fail/1/epok");
}

}  // namespace
}  // namespace brood

int main(int argc, char** argv) {
  if (const auto status = brood::program_of_test(argc, argv)) return *status;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
