// Goal: GPUs are found and named as the driver and CUDA_VISIBLE_DEVICES say; a program sees the one
// that its executor has; what cannot be had is refused with the reason; one trial that brings down
// a worker with several is found out. Method: the functions; then the program itself beside a
// made-up driver (fake_driver.cpp).
#include <gmock/gmock.h>

#include <cstdlib>

#include "engine/device.h"
#include "store/sqlite.h"
#include "tests/shell_fixture.h"

namespace brood {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Devices, AreCountedAmongThoseThatTheEnvironmentLeaves) {
  EXPECT_EQ(visible_alone("cuda:2", nullptr), "2");
  EXPECT_EQ(visible_alone("cuda:1", "3, 5,7"), "5");
  EXPECT_EQ(visible_alone("cuda:0", "GPU-8f2a,1"), "GPU-8f2a");
  EXPECT_EQ(visible_alone("cuda:3", "0,1"), "");
  EXPECT_EQ(visible_alone("cuda:0", ""), "");
  EXPECT_EQ(visible_alone("cpu", nullptr), "");
  EXPECT_EQ(cuda_number("cuda:17"), 17);
  for (const char* text : {"cuda:", "cuda:-1", "cuda:1a", "cuda", "1", "cuda:99999", ""})
    EXPECT_EQ(cuda_number(text), -1) << text;
}

TEST(Devices, AreDescribedByTheDriver) {
  ::unsetenv("CUDA_VISIBLE_DEVICES");
  const Devices all = find_devices(FAKE_DRIVER);
  ASSERT_EQ(all.found.size(), 2U);
  EXPECT_EQ(all.driver, "580.95");
  EXPECT_EQ(all.found[0].name, "cuda:0");
  EXPECT_EQ(all.found[0].model, "NVIDIA H200");
  EXPECT_EQ(all.found[0].architecture, "sm_90");
  EXPECT_EQ(all.found[0].bytes, 141ULL << 30);
  EXPECT_EQ(all.found[1].architecture, "sm_86");
  EXPECT_EQ(missing_devices({"cuda:1", "cpu"}, all.found), "");
  EXPECT_EQ(missing_devices({"cuda:1", "cuda:2"}, all.found),
            "it has no cuda:2; it has cuda:0, cuda:1");
  ::setenv("CUDA_VISIBLE_DEVICES", "GPU-1,7,0", 1);
  const Devices some = find_devices(FAKE_DRIVER);
  ASSERT_EQ(some.found.size(), 1U) << "what follows an unknown one is hidden";
  EXPECT_EQ(some.found[0].name, "cuda:0");
  EXPECT_EQ(some.found[0].model, "NVIDIA A10");
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_THAT(find_devices(FAKE_DRIVER).why_none, HasSubstr("hides all of them"));
  ::unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST(Devices, SayWhyThereAreNone) {
  EXPECT_THAT(find_devices("libthere-is-none.so.9").why_none, HasSubstr("no NVIDIA driver"));
  ::setenv("FAKE_GPU_STATUS", "9", 1);
  EXPECT_THAT(find_devices(FAKE_DRIVER).why_none, HasSubstr("not loaded"));
  ::setenv("FAKE_GPU_STATUS", "0", 1);
  ::setenv("FAKE_GPUS", "0", 1);
  EXPECT_THAT(find_devices(FAKE_DRIVER).why_none, HasSubstr("finds none"));
  ::unsetenv("FAKE_GPU_STATUS");
  ::unsetenv("FAKE_GPUS");
}

class WithGpus : public Shell {
 protected:
  WithGpus() {
    // Notes which GPUs it sees, and waits until WAIT programs have.
    write("see.sh",
          "echo \"${BROOD_DEVICE-none} ${BROOD_DEVICE_SHARE-none} ${CUDA_VISIBLE_DEVICES-all} "
          "${CUDA_DEVICE_ORDER-free}\" >> seen.txt\n"
          "for i in $(seq 1200); do\n"
          "  [ $(wc -l < seen.txt) -ge ${WAIT-1} ] && break; sleep 0.05\n"
          "done\n"
          "echo '{\"epoch\": 1, \"metrics\": {\"loss\": 1}}' >&$BROOD_FD\n");
    for (const char* name : {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}) ::unsetenv(name);
    write("see.json", R"({
      "version": 1, "experiment": {"name": "see"},
      "objective": {"metric": "loss", "goal": "minimize"},
      "search_space": {"x": [1, 2, 3, 4]}, "search": {"algorithm": "grid"},
      "trainer": {"name": "command", "argv": ["bash", "see.sh"], "epochs": 1},
      "output": {"database": "see.db"}
    })");
  }
  static std::string gpus(const std::string& command) {
    return "LD_LIBRARY_PATH=" FAKE_DRIVER_DIR " " + command;
  }
  std::string seen() { return shell("sort -u seen.txt; rm -rf see.db* seen.txt").output; }
};

TEST_F(WithGpus, AProgramSeesTheOneThatItsExecutorHas) {
  const std::string run = gpus("$BROOD run see.json -q ");
  EXPECT_EQ(shell("WAIT=4 " + run + "--set 'resources.devices=[\"cuda:1\",\"cuda:0\"]' "
                        "--set resources.trials_per_device=2")
                .status,
            0);
  sqlite::Connection db(path("see.db"), sqlite::Access::read);
  EXPECT_EQ(db.whole("SELECT count(DISTINCT device) FROM attempt"), 2);
  EXPECT_EQ(seen(),
            "cuda:0 0/2 0 PCI_BUS_ID\ncuda:0 1/2 0 PCI_BUS_ID\n"
            "cuda:1 0/2 1 PCI_BUS_ID\ncuda:1 1/2 1 PCI_BUS_ID\n");
  EXPECT_EQ(
      shell("CUDA_VISIBLE_DEVICES=1 " + run + "--set 'resources.devices=[\"cuda:0\"]'").status, 0);
  EXPECT_EQ(seen(), "cuda:0 0/1 1 PCI_BUS_ID\n");
  EXPECT_EQ(shell(run + "-j 2 --set resources.devices=cpu").status, 0);
  EXPECT_THAT(seen(), HasSubstr("cpu 0/2  PCI_BUS_ID\n"));
  EXPECT_EQ(shell(run + "-j 2").status, 0);
  EXPECT_EQ(seen(), "none none all free\n");
}

TEST_F(WithGpus, WhatCannotBeHadIsRefusedWithTheReason) {
  const std::string one = " --set 'resources.devices=[\"cuda:0\"]'";
  EXPECT_THAT(shell(gpus("FAKE_GPUS=0 $BROOD run see.json" + one)).output, HasSubstr("finds none"));
  EXPECT_THAT(shell(gpus("$BROOD run see.json --set 'resources.devices=[\"cuda:2\"]'")).output,
              HasSubstr("it has no cuda:2; it has cuda:0, cuda:1"));
  const auto refused = [&](const std::string& options, const std::string& words) {
    const Result result = shell("$BROOD plan see.json " + options);
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.output, HasSubstr(words)) << options;
  };
  refused(one + " -j 3", "--executors has no effect on GPUs");
  refused(one + " --set resources.executors=3", "/resources/executors: has no effect");
  refused("--set resources.trials_per_device=3", "/resources/trials_per_device: has no effect");
  refused("--set resources.devices=gpu", "/resources/devices: should be \"auto\", \"cpu\" or");
  refused("--set 'resources.devices=[\"cuda:0\",\"cuda:0\"]'", "/resources/devices: should be");
  refused(one + " --set 'trainer={\"name\":\"synthetic\",\"point\":[1],\"epochs\":1}'",
          "/resources/devices: the synthetic trainer uses no GPU");
  EXPECT_FALSE(std::filesystem::exists(path("see.db")));
}

TEST_F(WithGpus, ThePlanAndTheDoctorNameThem) {
  EXPECT_THAT(shell("$BROOD plan see.json --set 'resources.devices=[\"cuda:0\",\"cuda:3\"]' --set "
                    "resources.trials_per_device=2")
                  .output,
              HasSubstr("4 (2 on each of cuda:0 cuda:3)"));
  const std::string found = shell(gpus("$BROOD doctor")).output;
  EXPECT_THAT(found, HasSubstr("NVIDIA H200"));
  EXPECT_THAT(found, HasSubstr("141 GiB, sm_90, driver 580.95"));
  EXPECT_THAT(found, HasSubstr("cuda:1"));
  EXPECT_THAT(shell(gpus("CUDA_VISIBLE_DEVICES= $BROOD doctor")).output,
              HasSubstr("hides all of them"));
}

// Eight trials in one process; the fifth brings it down each time.
TEST_F(Shell, ATrialThatBringsDownAWorkerWithSeveralIsFoundAndChargedAlone) {
  write("slots.json", R"({
    "version": 1, "experiment": {"name": "slots"},
    "objective": {"metric": "loss", "goal": "minimize"},
    "search_space": {"x": [1, 2, 3, 4, 5, 6, 7, 8]}, "search": {"algorithm": "grid"},
    "fault_tolerance": {"max_retries_per_trial": 1},
    "resources": {"executors": 8},
    "trainer": {"name": "synthetic", "epochs": 3, "slots": 8,
      "fail": [{"how": "segfault", "epoch": 2, "trials": [4]}]},
    "output": {"database": "slots.db", "checkpoints": {"keep_best": 0}}
  })");
  const Result result = shell("$BROOD run slots.json -q");
  EXPECT_EQ(result.status, 0) << result.output;
  sqlite::Connection db(path("slots.db"), sqlite::Access::read);
  EXPECT_EQ(db.whole("SELECT count(*) FROM trial WHERE state = 'completed'"), 7);
  EXPECT_EQ(db.text("SELECT state || ' ' || cause FROM trial WHERE number = 4"), "failed signal");
  EXPECT_EQ(db.whole("SELECT count(*) FROM attempt WHERE charged"), 2);
  EXPECT_GT(db.whole("SELECT count(*) FROM attempt WHERE end = 'lost'"), 7);
  const Result why = shell("$BROOD why 4 slots.db");
  EXPECT_THAT(why.output, HasSubstr("Segmentation fault"));
}

}  // namespace
}  // namespace brood
