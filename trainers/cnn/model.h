// A trained network as one file that needs nothing else: safetensors whose "__metadata__" says what
// the arrays are of.
//
//   format   "brood.model.1"; of a trial's checkpoint "brood.cnn.1"
//   epochs   how many it was trained
//   model    JSON: {"trainer": the resolved block of the config, "data": {"height": 28, "width",
//            "channels", "classes", "train", "validation", "test"}, "classes": [names],
//            "pixels": {"divide": 255, "mean": 0.5, "std": 0.5}, "numeric_class",
//            "experiment_seed", "trial_seed"}
//
// A checkpoint holds the same text as "model", and is a model that carries the optimizer's state
// along.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainers/cnn/dataset.h"
#include "trainers/cnn/network.h"
#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn {

inline constexpr const char* kModelFormat = "brood.model.1";
inline constexpr const char* kCheckpointFormat = "brood.cnn.1";

// All that decides the bits of a training, and what its classes are called.
struct Description {
  std::string trainer;  // the resolved block, JSON
  DataShape data;       // after limits and split
  std::vector<std::string> classes;
  std::string numeric_class;
  std::uint64_t experiment_seed = 0, trial_seed = 0;
  friend bool operator==(const Description&, const Description&) = default;
};

// Throws UserError when the data leave nothing to train on.
Description describe(const NetworkSpec& spec, const Dataset& data, const std::string& numeric_class,
                     std::uint64_t experiment_seed, std::uint64_t trial_seed);

std::string to_json(const Description& description);
// Throws UserError for anything that to_json cannot have made.
Description description_from_json(const std::string& json);

// The network that a description speaks of. Throws UserError when there is none.
struct DescribedNetwork {
  NetworkSpec spec;
  Plan plan;
};
DescribedNetwork network_of(const Description& description);

struct Model {
  Description description;
  NetworkSpec spec;
  Plan plan;
  int epochs = 0;
  // As the plan's tables; averaged ones where the config keeps an average.
  std::vector<NamedArray> parameters, states;
};

// A model or a checkpoint. known: taken for a checkpoint of a version that did not describe itself.
// Throws UserError, naming the file and the reason.
Model read_model(const std::string& path, const std::optional<Description>& known = std::nullopt);

// Throws UserError when the disk does not take it.
void write_model(const std::string& path, const Model& model);

// Does the file begin like a safetensors file?
bool looks_like_model(const std::string& path);

}  // namespace brood::cnn
