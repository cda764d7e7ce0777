// A data set with its split in device memory, shared by all trials that learn from it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "trainers/cnn/cuda/arena.h"
#include "trainers/cnn/cuda/program.h"
#include "trainers/cnn/dataset.h"
#include "trainers/cnn/training.h"

namespace brood::cnn::cuda {

class DeviceImages {
 public:
  // nullptr: there is no room.
  static std::unique_ptr<DeviceImages> load(const TrainingInput& input, Runtime& runtime,
                                            Arena& arena);
  ~DeviceImages();
  DeviceImages(const DeviceImages&) = delete;
  DeviceImages& operator=(const DeviceImages&) = delete;

  // What load() takes of the arena, for parts of such counts.
  static std::int64_t bytes(const NetworkSpec& spec, const data::Contents& data,
                            const DataShape& parts);

  // Inputs with one key use the same images in the same parts.
  static std::string key_of(const TrainingInput& input);

  const DeviceData& view() const { return view_; }
  const Split& split() const { return split_; }

 private:
  DeviceImages(const TrainingInput& input, Arena& arena);
  bool add(Runtime& runtime, const void* from, std::size_t bytes, const unsigned char*& to);

  std::shared_ptr<const Dataset> data_;  // so that its address stays its own
  Split split_;
  Arena& arena_;
  std::vector<std::int64_t> taken_;
  DeviceData view_;
};

}  // namespace brood::cnn::cuda
