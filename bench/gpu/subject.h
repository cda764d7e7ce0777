// What the benches of GPUs train: a network of nets.json on made-up images, with settings from the
// command line.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "trainers/cnn/cuda/device_memory.h"
#include "trainers/cnn/cuda/fused_engine.h"
#include "trainers/cnn/cuda/runtime.h"
#include "trainers/cnn/training.h"

namespace brood::cnn::cuda {

// --name value, and --name alone for those without a value (""). Throws UserError for others.
class Options {
 public:
  Options(int argc, char** argv, std::vector<std::string> known);

  std::string text(const std::string& name, const std::string& otherwise) const;
  double number(const std::string& name, double otherwise) const;
  std::int64_t whole(const std::string& name, std::int64_t otherwise) const;
  std::vector<int> list(const std::string& name, std::vector<int> otherwise) const;
  bool has(const std::string& name) const { return values_.contains(name); }

 private:
  std::map<std::string, std::string> values_;
};

// --nets FILE --net NAME --batch N --samples N --validation N --size PIXELS (in place of the net's
// own) --precision bf16|fp32 --device emulated|cuda:0 --overlap (launches, as FusedOptions has it)
class Subject {
 public:
  static std::vector<std::string> options();
  // net, device: in place of --net and --device.
  explicit Subject(const Options& options, const std::string& net = "",
                   const std::string& device = "");

  // Trial 1, 2, ...: each with a learning rate of its own.
  TrainingInput input(TrialId trial) const;
  Assignment assignment(TrialId trial, int epochs) const;
  std::unique_ptr<Runtime> runtime() const;
  bool emulated() const { return device_ == "emulated"; }

  // For so many trials of the network at a time, with their images.
  FusedOptions fused_options(int trials) const;
  std::int64_t trial_bytes() const;
  Plan plan() const;
  DeviceMemory memory() const;
  int launches() const;  // of a training step

  std::string net, precision_name;
  int batch = 128;

 private:
  NetworkSpec spec_;
  std::shared_ptr<const Dataset> data_;
  std::string device_;
  Precision precision_ = Precision::bf16;
  bool overlap_ = false;
};

// emulated, or cuda:0 and so on.
std::unique_ptr<Runtime> make_bench_runtime(const std::string& device);

// The main of a bench: the status of `run`, or 2 with what was thrown on standard error.
int run_bench(const char* name, int (*run)(int, char**), int argc, char** argv);

}  // namespace brood::cnn::cuda
