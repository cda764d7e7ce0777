// Trials that can share their launches: networks of one shape on the same images.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "trainers/cnn/cuda/arena.h"
#include "trainers/cnn/cuda/device_images.h"
#include "trainers/cnn/cuda/device_memory.h"
#include "trainers/cnn/cuda/program.h"
#include "trainers/cnn/progress.h"
#include "trainers/cnn/training.h"

namespace brood::cnn::cuda {

// All that trials of one class have in common, as text: what a plan says but for dropout rates, and
// what decides the layout of their memory. Everything else varies from slot to slot.
std::string shape_key(const Plan& plan, const OptimizerSpec& optimizer, Precision precision);

class ShapeClass {
 public:
  ShapeClass(const NetworkSpec& spec, Plan plan, Precision precision, const DeviceImages& images,
             Runtime& runtime, Arena& arena);
  ~ShapeClass();
  ShapeClass(const ShapeClass&) = delete;
  ShapeClass& operator=(const ShapeClass&) = delete;

  static constexpr int kTrialsMax = 2048;  // of a launch
  // Who is active, for each part: the class's own share of the arena.
  static constexpr std::int64_t kListBytes = 4 * kTrialsMax;
  static constexpr std::int64_t kListsBytes =
      static_cast<std::int64_t>(TrialProgress::kParts) * kListBytes;

  // False: there was none for its lists, it must not be run.
  bool has_room() const { return lists_ != nullptr; }

  // For `times` batches of a part for the trials at these offsets of the arena: first what has to
  // be there, true when it took a while; then the work, which is not waited for.
  bool prepare(TrialProgress::Phase part, const std::vector<std::int64_t>& offsets);
  void run(TrialProgress::Phase part, std::size_t active, std::int64_t times, int stream);

  const Plan& plan() const { return plan_; }
  const DeviceMemory& memory() const { return memory_; }
  const DeviceImages& images() const { return images_; }

  // Its maker's notes.
  std::string key;
  int number = 0;
  bool overlap = false;                                            // launches (launch.h)
  int trials = 0;                                                  // that are there now
  std::map<std::pair<TrialProgress::Phase, int>, double> seconds;  // of a batch of so many trials

 private:
  struct Graph {
    int number = 0;
    int bucket = 0;
  };
  Graph& graph(TrialProgress::Phase part, std::size_t active);

  const Plan plan_;
  const DeviceMemory memory_;
  const DeviceImages& images_;
  const Program program_;
  Runtime& runtime_;
  Arena& arena_;
  unsigned char* lists_ = nullptr;  // who is active, for each part; device memory
  std::int64_t lists_offset_ = -1;
  std::map<std::pair<TrialProgress::Phase, int>, Graph> graphs_;
};

}  // namespace brood::cnn::cuda
