#include "cli/best_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/json.h"

namespace brood {

namespace {

// {"$param": name} of an inactive parameter.
bool inactive_reference(const Json& json, const std::vector<std::string>& inactive) {
  if (!json.is_object() || json.size() != 1 || !json.contains("$param")) return false;
  const Json& name = json["$param"];
  return name.is_string() &&
         std::find(inactive.begin(), inactive.end(), name.get<std::string>()) != inactive.end();
}

// Their key or list element goes, as it does when the trainer's config is resolved.
void drop_inactive(Json& json, const std::vector<std::string>& inactive) {
  if (json.is_object() || json.is_array()) {
    for (auto at = json.begin(); at != json.end();) {
      if (inactive_reference(*at, inactive)) {
        at = json.erase(at);
      } else {
        drop_inactive(*at, inactive);
        ++at;
      }
    }
  }
}

}  // namespace

std::string config_of(const std::string& experiment_config, const Layout& layout,
                      const Trial& trial) {
  Json config = parse_json(experiment_config);
  std::vector<std::string> inactive;
  Json space = Json::object();
  for (const ParamColumn& param : layout.params) {
    const Value* value = trial.params.find(param.name);
    if (value != nullptr)
      space[param.name] = to_json(*value);
    else
      inactive.push_back(param.name);
  }
  config["search_space"] = std::move(space);
  config["search"] = {{"algorithm", "grid"}};
  for (const char* key : {"early_stopping", "budget", "initial_points", "repeats"})
    config.erase(key);
  if (config.contains("objective")) config["objective"].erase("target");
  if (config.contains("experiment")) {
    Json& experiment = config["experiment"];
    experiment["name"] =
        experiment.value("name", "experiment") + "-trial-" + std::to_string(trial.id);
  }
  if (config.contains("trainer")) drop_inactive(config["trainer"], inactive);
  return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace brood
