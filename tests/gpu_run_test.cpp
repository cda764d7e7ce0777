// Goal: a config that asks for GPUs trains on them, whole: the plan's bytes, the choice of devices,
// one worker process for each with several trials fused in it, checkpoints, and every way in which
// a device or a process is lost. The table is the same, bit by bit. Method: the program itself on
// emulated GPUs (trainers/cnn/cuda/emulated_gpus.h), which fail on request in the real worker.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/gpu_run_fixture.h"

namespace brood {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST_F(OnGpus, TheTableIsTheSameForAnyNumberOfTrialsAndDevices) {
  const std::string one = expected();
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 1 + 4 * 3) << one;
  for (const std::string each : {"2", "4"}) {
    EXPECT_EQ(
        run(R"("gpus": 1)", on("\"cuda:0\"") + " --set resources.trials_per_device=" + each).status,
        0);
    EXPECT_EQ(table(), one) << each;
  }
  EXPECT_EQ(
      run(R"("gpus": 2)", on(R"("cuda:1", "cuda:0")") + " --set resources.trials_per_device=2")
          .status,
      0);
  EXPECT_EQ(table(), one);
  EXPECT_EQ(run(R"("gpus": 2)", "").status, 0);
  EXPECT_EQ(table(), one);
}

TEST_F(OnGpus, AKilledRunGoesOnToTheSameTable) {
  const std::string one = expected();
  const std::string gpus = R"("gpus": 1)", options = on("\"cuda:0\"");
  write("go.sh", "\"$1\" run x.json -q" + options +
                     " --set resources.trials_per_device=2 & pid=$!\n"
                     "while kill -0 $pid && [ $(ls x.db.files/x/trial_*/*.ckpt | wc -l) -lt 2 ]; "
                     "do sleep 0.01; done\n"
                     "kill -9 $pid; wait $pid\n");
  // Its trials may come to their end before: then the same again.
  for (std::int64_t cut = 0, tries = 0; cut == 0; ++tries) {
    ASSERT_LT(tries, 20);
    shell("rm -rf x.db*");
    shell(emulated(gpus, "bash go.sh $BROOD"));
    cut = database().whole("SELECT count(*) FROM attempt WHERE end IS NULL");
  }
  const Result again = run(gpus, options + " --set resources.trials_per_device=4");
  EXPECT_EQ(again.status, 0) << again.output;
  EXPECT_GT(database().whole("SELECT count(*) FROM attempt WHERE attempt > 1"), 0);
  EXPECT_EQ(table(), one);
}

TEST_F(OnGpus, ALostAndAHungDeviceCostNothingButTime) {
  const std::string one = expected();
  for (const std::string fault : {"illegal_address", "hang"}) {
    const Result result = run(
        R"("gpus": 1, "launch": 60, "once": ")" + path(fault) + R"(", "fault": ")" + fault + "\"",
        on("\"cuda:0\"") + " --set resources.trials_per_device=4");
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_TRUE(std::filesystem::exists(path(fault))) << "it never happened";
    // One that was alone there when it happened is charged.
    const std::string ends = " FROM attempt WHERE end IN ('lost', 'exit_status')";
    EXPECT_GE(database().whole("SELECT count(*)" + ends), 1);
    EXPECT_THAT(shell("$BROOD query --db x.db --sql \"SELECT why" + ends + "\"").output,
                HasSubstr("the device is lost"));
    EXPECT_EQ(table(), one) << fault;
  }
}

TEST_F(OnGpus, ATrialThatBreaksTheDeviceIsFoundAmongThoseFusedWithIt) {
  const std::string one = expected();
  // A hung device ends the worker itself, as a GPU's does: nothing comes back from it.
  for (const std::string fault : {"illegal_address", "hang"}) {
    const Result result =
        run(R"("gpus": 1, "learning_rate": 0.05, "step": 5, "fault": ")" + fault + "\"",
            on("\"cuda:0\"") + " --set resources.trials_per_device=4");
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_EQ(database().text("SELECT state || ' ' || cause FROM trial WHERE number = 2"),
              "failed exit_status");
    EXPECT_EQ(database().whole("SELECT count(*) FROM trial WHERE state = 'completed'"), 3);
    // They ran again together, then in halves, then the culprit alone, whose fault it was twice.
    EXPECT_EQ(database().whole("SELECT count(*) FROM attempt WHERE charged"), 2);
    EXPECT_GE(database().whole("SELECT count(*) FROM attempt WHERE NOT charged AND "
                               "why LIKE 'it shared a worker with%'"),
              2);
    EXPECT_THAT(shell("$BROOD why 2 x.db").output,
                HasSubstr(fault == "hang" ? "its work did not end within 120000 ms"
                                          : "illegal memory access"));
    // What the others came to, and the culprit before its fault, are lines of the same table.
    std::istringstream lines(table());
    for (std::string line; std::getline(lines, line);) EXPECT_THAT(one, HasSubstr(line));
  }
}

// Another process holds nearly all of a GPU: no point is to blame for that.
TEST_F(OnGpus, MemoryThatOthersHoldIsWaitedForAndNoTrialIsChargedWithIt) {
  const std::string one = expected();
  const std::string held = R"("held": 3990000, "device": 0)";
  // Another GPU has room.
  EXPECT_EQ(run(R"("gpus": 2, )" + held, "").status, 0);
  EXPECT_EQ(database().text("SELECT DISTINCT device FROM attempt"), "cuda:1");
  EXPECT_THAT(read("x.db.files/x/run.log"), HasSubstr("the rest is held by other processes"));
  EXPECT_EQ(table(), one);
  // None has, until it is given back: then both train, as not all trials went to the first to come.
  write("held", "");
  write(
      "go.sh",
      "\"$1\" run x.json -q & pid=$!\n"
      "while kill -0 $pid && [ $(grep -ls 'waits for it' x.db.files/x/workers/*.log | wc -l) -lt 2 "
      "]; do sleep 0.02; done\n"
      "\"$1\" query --db x.db --csv --sql 'SELECT count(*) FROM curve' | tail -n1 | tr -d '\\r'\n"
      "rm held; wait $pid\n");
  const Result waited = shell(emulated(
      R"("gpus": 2, "held": 3990000, "held_while": ")" + path("held") + "\"", "bash go.sh $BROOD"));
  EXPECT_EQ(waited.status, 0) << waited.output;
  EXPECT_THAT(waited.output, HasSubstr("\n0\n")) << "it trained before it had room";
  EXPECT_THAT(read("x.db.files/x/run.log"), HasSubstr("its trials have 3.4 MiB now"));
  EXPECT_EQ(database().whole("SELECT count(*) FROM attempt"), 4);
  EXPECT_EQ(database().whole("SELECT count(DISTINCT device) FROM attempt"), 2);
  EXPECT_EQ(table(), one);
}

// Both trials fit the large GPU alone, whose memory others hold: the small one, where they could
// only fail, is no way out.
TEST_F(OnGpus, NoTrialFailsOnASmallGpuBecauseOthersUseALargeOne) {
  write("held", "");
  write("go.sh",
        "\"$1\" run x.json -q --set search_space.lr='[0.01, 0.02]' --set "
        "search_space.filters='[700]' --set trainer.epochs=1 --set "
        "resources.memory_per_trial=1790000 --set resources.trials_per_device=2 & pid=$!\n"
        "sql=\"SELECT count(*) FROM trial WHERE why LIKE '%waits for memory of%' OR state = "
        "'failed'\"\n"
        "while kill -0 $pid && [ \"$(\"$1\" query --db x.db --csv --sql \"$sql\" 2>&1 | tail -n1 | "
        "tr -d '\\r')\" != 1 ]; do sleep 0.05; done\n"
        "rm held; wait $pid\n");
  const Result result = shell(
      "BROOD_EMULATED_GPUS='{\"gpus\": 2, \"sizes\": [1000000, 2000000], \"device\": 1, "
      "\"held\": 1999000, \"held_while\": \"" +
      path("held") + "\"}' bash go.sh $BROOD");
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_EQ(database().whole("SELECT count(*) FROM trial WHERE state = 'completed'"), 2);
  EXPECT_EQ(database().text("SELECT DISTINCT device FROM attempt"), "cuda:1");
}

// `brood train` gives a trial the bits that it has in a run.
TEST_F(OnGpus, ATrialTrainedInTheForegroundHasItsBits) {
  const std::string one = expected();
  EXPECT_EQ(run(R"("gpus": 1)", "").status, 0);
  const std::string recorded =
      shell(
          "$BROOD query --db x.db --csv --sql 'SELECT val_loss FROM curve WHERE trial = 1 "
          "ORDER BY epoch' | tail -n +2 | tr -d '\\r'")
          .output;
  EXPECT_EQ(std::count(recorded.begin(), recorded.end(), '\n'), 3) << recorded;
  const std::string losses = " --json | grep -o '\"val_loss\":[^,]*' | cut -d: -f2";
  EXPECT_EQ(
      shell(emulated(R"("gpus": 1)", "$BROOD train x.db --trial 1 --save m 2>/dev/null" + losses))
          .output,
      recorded);
  // A config trains where its run would, and says where.
  EXPECT_THAT(shell(emulated(R"("gpus": 1)",
                             "$BROOD train x.json --param lr=0.02 --param "
                             "filters=4 --epoch 1"))
                  .output,
              HasSubstr("seed 3, cuda/emulated/bf16/"));
  EXPECT_THAT(shell("$BROOD train x.db --trial 1").output,
              HasSubstr("this machine has no GPU that computes in it"));
  EXPECT_EQ(table(), one);
}

TEST_F(OnGpus, NoTrialDiesOfMemory) {
  const std::string one = expected();
  // Room for one trial and a half: four at a time take turns. And a device without its first block.
  const std::string plan = shell(emulated(R"("gpus": 1)", "$BROOD plan x.json --json")).output;
  const std::size_t at = plan.find("\"memory_bytes\": ", plan.find("\"points\""));
  const std::size_t shared = plan.find("\"shared_bytes\": ");
  ASSERT_NE(at, std::string::npos) << plan;
  const auto number = [&](std::size_t from) {
    return std::stoll(plan.substr(plan.find(':', from) + 1));
  };
  const std::int64_t arena = number(shared) + number(at) + number(at) / 2;
  for (const std::string fault : {"none", "no_memory"}) {
    const Result result =
        shell("BROOD_EMULATED_GPUS='{\"gpus\": 1, \"fault\": \"" + fault +
              "\", \"bytes\": " + std::to_string(fault == "none" ? arena * 10 / 9 + 10 : 4000000) +
              "}' $BROOD run x.json -q --set resources.memory_per_trial=1MiB" + on("\"cuda:0\"") +
              " --set resources.trials_per_device=4");
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_EQ(database().whole("SELECT count(*) FROM attempt"), 4) << fault;
    EXPECT_EQ(table(), one) << fault;
  }
  // One that can never fit is infeasible, and said to be before anything runs.
  const std::string large = on("\"cuda:0\"") + " --set 'search_space.filters=[4, 3000]'";
  EXPECT_THAT(shell(emulated(R"("gpus": 1)", "$BROOD plan x.json" + large)).output,
              HasSubstr("memory_per_trial is 3 MiB"));
  EXPECT_EQ(run(R"("gpus": 1)", large).status, 0);
  EXPECT_EQ(database().whole("SELECT count(*) FROM trial WHERE state = 'infeasible'"), 4);
}

TEST_F(OnGpus, ASignalSavesInTheMiddleOfAnEpoch) {
  const std::string options = on("\"cuda:0\"") +
                              " --set trainer.epochs=1 --set resources.trials_per_device=2"
                              " --set trainer.dataset.synthetic.train=1600"
                              " --set 'search_space.lr=[0.01, 0.05]'";
  EXPECT_EQ(run(R"("gpus": 1)", options).status, 0);
  const std::string whole = table();
  // Once both trials have been given away.
  write("go.sh", "\"$1\" run x.json -q" + options +
                     " & pid=$!\n"
                     "begun() { \"$1\" query --db x.db --csv --sql 'SELECT count(*) FROM attempt' "
                     "2>/dev/null | tail -n1 | tr -dc 0-9; }\n"
                     "while kill -0 $pid && [ \"$(begun \"$1\")\" != 2 ]; do sleep 0.02; done\n"
                     "kill -USR1 $pid; wait $pid\n");
  // The signal may come before a trial's first step, or after the last: then the same again.
  std::int64_t saved = 0;
  for (int tries = 0; saved != 2; ++tries) {
    ASSERT_LT(tries, 20);
    shell("rm -rf x.db*");
    if (shell(emulated(R"("gpus": 1)", "bash go.sh $BROOD")).status == 75)
      saved = database().whole("SELECT count(*) FROM checkpoint WHERE path LIKE '%epoch_0_step_%'");
  }
  const Result again = run(R"("gpus": 1)", options);
  EXPECT_EQ(again.status, 0) << again.output;
  EXPECT_EQ(table(), whole);
}

TEST_F(OnGpus, AutoTakesWhatThereIsAndSaysSo) {
  EXPECT_EQ(shell("$BROOD run x.json -q").status, 0);
  EXPECT_THAT(database().text("SELECT numeric_class FROM experiment"), HasSubstr("cpu/"));
  EXPECT_THAT(shell("$BROOD plan x.json").output, HasSubstr("no GPU: "));
  // An experiment stays where its bits are.
  EXPECT_THAT(run(R"("gpus": 1)", on("\"cuda:0\"")).output, HasSubstr("would get other bits"));
  EXPECT_EQ(run(R"("gpus": 1)", "").status, 0);
  table();

  const std::string two = R"("gpus": 2, "architectures": ["emulated", "other"])";
  EXPECT_EQ(run(two, "").status, 0);
  EXPECT_EQ(database().text("SELECT numeric_class FROM experiment"), "cuda/emulated/bf16/2");
  EXPECT_EQ(database().text("SELECT DISTINCT device FROM attempt"), "cuda:0");
  EXPECT_THAT(shell("$BROOD run x.json -q --set resources.devices=cpu").output,
              HasSubstr("the experiment computes in cuda/emulated/bf16/2"));
  EXPECT_THAT(shell("$BROOD run x.json -q").output, HasSubstr("this machine has no such GPU"));
  EXPECT_THAT(shell(emulated(R"("gpus": 1)", "$BROOD replay 1 x.db")).output,
              HasSubstr("all bits the same"));
  table();
  EXPECT_THAT(shell(emulated(two, "$BROOD plan x.json")).output,
              HasSubstr("cuda:1 (other) is not used"));
  EXPECT_THAT(run(two, on(R"("cuda:0", "cuda:1")")).output,
              HasSubstr("name GPUs of one architecture"));
  EXPECT_EQ(run(R"("gpus": 1)", "--set trainer.precision=fp32").status, 0);
  EXPECT_EQ(database().text("SELECT numeric_class FROM experiment"), "cuda/emulated/fp32/2");
  EXPECT_THAT(
      run(R"("gpus": 1)", "--set trainer.precision=fp32 --set resources.executors=2").output,
      HasSubstr("resources.executors has no effect on GPUs"));
  table();
  // One that is not of the first one's architecture.
  EXPECT_EQ(run(two, on("\"cuda:1\"")).status, 0);
  EXPECT_EQ(database().text("SELECT numeric_class FROM experiment"), "cuda/other/bf16/2");
}

TEST_F(OnGpus, WhatCannotBeDoneThereIsRefusedWithTheReason) {
  const auto says = [&](const std::string& options) {
    return shell("$BROOD plan x.json " + options).output;
  };
  EXPECT_THAT(shell("$BROOD run x.json" + on("\"cuda:0\"")).output,
              HasSubstr("this machine cannot be used: it has no cuda:0"));
  EXPECT_THAT(shell("$BROOD run x.json --set trainer.precision=bf16").output,
              HasSubstr("/trainer/precision: bf16 is for GPUs"));
  EXPECT_FALSE(std::filesystem::exists(path("x.db")));
  EXPECT_THAT(shell("$BROOD train x.json" + on("\"cuda:0\"")).output,
              HasSubstr("this machine cannot be used: it has no cuda:0"));
  EXPECT_THAT(says("--set resources.devices=cpu --set trainer.precision=bf16"),
              HasSubstr("/trainer/precision: bf16 is for GPUs"));
  EXPECT_THAT(
      says("--set 'trainer.precision={\"$param\": \"p\"}' --set "
           "'search_space.p={\"type\": \"categorical\", \"values\": [\"bf16\", \"fp32\"]}'"),
      HasSubstr("/trainer/precision: cannot be searched"));
  const std::string refused =
      "--set trainer.batch_size=65536 --set trainer.dataset.synthetic.train=70000 "
      "--set 'search_space.filters=[3000]'";
  EXPECT_THAT(says(on("\"cuda:0\"") + " " + refused), HasSubstr("too large for a device"));
  EXPECT_THAT(says(refused), Not(HasSubstr("too large for a device")));
  EXPECT_THAT(shell("BROOD_EMULATED_GPUS='{\"gpu\": 1}' $BROOD plan x.json").output,
              HasSubstr("BROOD_EMULATED_GPUS: "));
}

}  // namespace
}  // namespace brood
