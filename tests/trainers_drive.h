// Drives a trainer as a worker process would, and programs for the command trainer to run.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/trainer.h"

namespace brood {

// Calls advance() as a worker would until `enough`, or fails the test after a minute.
std::vector<Event> drive(Trainer& trainer,
                         const std::function<bool(const std::vector<Event>&)>& enough);

// Until the trial has ended or failed.
std::vector<Event> drive_to_end(Trainer& trainer);

// "report 1", "saved 1", "ended 2", "failed nan"; progress left out.
std::vector<std::string> story(const std::vector<Event>& events);

// The exact metrics of all reports, in order.
std::vector<Metric> exact_metrics(const std::vector<Event>& events);

Assignment trial_of(TrialId id, int epochs, double x = 0.5);

// Command trainer whose program is this test itself, run as `program BEHAVIOUR`.
TrainerSetup program_setup(const std::string& behaviour, const std::string& more_keys = "");

// The status of this process when it was started as such a program.
std::optional<int> program_of_test(int argc, char** argv);

// Fresh, removed with the object.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  std::string path(const std::string& name) const { return (root_ / name).string(); }

 private:
  std::filesystem::path root_;
};

}  // namespace brood
