#include "cli/best_config.h"

#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/resolve.h"

namespace brood {

namespace {

// The user's program and the made-up functions are given the parameters; the built-in network is
// all in its block.
bool gets_parameters(const Json& trainer) { return trainer.value("name", "") != "cnn"; }

}  // namespace

std::string config_of(const std::string& experiment_config, const Layout& layout,
                      const Trial& trial) {
  Json config = parse_json(experiment_config);
  Json& trainer = config.at("trainer");
  Json space = Json::object();
  if (gets_parameters(trainer))
    for (const ParamColumn& param : layout.params)
      if (const Value* value = trial.params.find(param.name)) space[param.name] = to_json(*value);
  // Written out: of a choose or a repeat by a constant the other cases could never happen.
  trainer = parse_json(Template(trainer.dump()).resolve(trial.params).json);
  config["search_space"] = std::move(space);
  config["search"] = {{"algorithm", "grid"}};
  for (const char* key : {"early_stopping", "budget", "initial_points", "warm_start", "repeats"})
    config.erase(key);
  if (config.contains("objective")) config["objective"].erase("target");
  // A run puts its machine's share of the memory into the stored config.
  if (config.contains("resources")) {
    config["resources"].erase("memory_per_trial");
    if (config["resources"].empty()) config.erase("resources");
  }
  if (config.contains("experiment")) {
    Json& experiment = config["experiment"];
    experiment["name"] =
        experiment.value("name", "experiment") + "-trial-" + std::to_string(trial.id);
  }
  return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace brood
