#include "engine/trainer.h"

namespace brood {

TrainerSetup trainer_setup(const ExperimentSpec& spec, const std::string& base_dir,
                           const std::string& numeric_class) {
  TrainerSetup setup;
  setup.name = spec.trainer_name;
  setup.config = spec.trainer;
  setup.objective = spec.objective.metric;
  setup.seed = spec.seed;
  setup.data_dir = spec.data_dir;
  setup.cache_dir = spec.cache_dir;
  setup.base_dir = base_dir;
  setup.numeric_class = numeric_class == "any" ? "" : numeric_class;
  setup.memory_per_trial = spec.resources.memory_per_trial.value_or(0);
  return setup;
}

}  // namespace brood
