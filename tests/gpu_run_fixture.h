// Whole runs on emulated GPUs: a small config, and what it comes to with one trial at a time.
#pragma once

#include <gmock/gmock.h>

#include <cstdlib>
#include <string>

#include "store/sqlite.h"
#include "tests/shell_fixture.h"

namespace brood {

class OnGpus : public Shell {
 protected:
  OnGpus() {
    ::unsetenv("BROOD_EMULATED_GPUS");
    ::setenv("CUDA_VISIBLE_DEVICES", "", 1);  // a real one is not for these
    write("x.json", R"({
      "version": 1, "experiment": {"name": "x", "seed": 3},
      "objective": {"metric": "val_loss", "goal": "minimize"},
      "search_space": {"lr": [0.01, 0.02, 0.05, 0.1], "filters": [4]},
      "search": {"algorithm": "grid"},
      "fault_tolerance": {"checkpoint_every_epochs": 1, "max_retries_per_trial": 1},
      "trainer": {"name": "cnn", "epochs": 3, "batch_size": 8, "validation": 10,
        "dataset": {"synthetic": {"classes": 3, "size": 4, "train": 34, "test": 2}},
        "optimizer": {"name": "sgd", "learning_rate": {"$param": "lr"}, "momentum": 0.9},
        "layers": [{"conv": {"filters": {"$param": "filters"}, "kernel": 3,
                             "activation": "relu"}}]},
      "output": {"database": "x.db"}
    })");
  }

  static std::string on(const std::string& device) {
    return " --set 'resources.devices=[" + device + "]'";
  }
  // `more`: keys of BROOD_EMULATED_GPUS.
  static std::string emulated(const std::string& more, const std::string& command) {
    return "BROOD_EMULATED_GPUS='{\"bytes\": 4000000, " + more + "}' " + command;
  }
  Result run(const std::string& gpus, const std::string& options) {
    return shell(emulated(gpus, "$BROOD run x.json -q " + options));
  }
  // Every exact number of the experiment; and forgets it.
  std::string table() {
    return shell(
               "$BROOD query --db x.db --csv --sql 'SELECT trial, epoch, train_loss, "
               "train_accuracy, "
               "val_loss, val_accuracy FROM curve ORDER BY trial, epoch'; rm -rf x.db*")
        .output;
  }
  // The table of one trial at a time.
  const std::string& expected() {
    static std::string known;
    if (!known.empty()) return known;
    const Result result =
        run(R"("gpus": 1)", on("\"cuda:0\"") + " --set resources.trials_per_device=1");
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_THAT(result.output, testing::HasSubstr("EMULATED GPUs"));
    return known = table();
  }
  sqlite::Connection database() { return {path("x.db"), sqlite::Access::read}; }
};

}  // namespace brood
