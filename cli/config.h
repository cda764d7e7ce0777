// Reads an experiment's config. docs/config.md is the reference of the dialect.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/experiment.h"

namespace brood {

// overrides: "trainer.epochs=3", of --set. Throws ConfigError with everything that is wrong with
// the config, in the order of the file, and UserError for a file that cannot be read at all.
ExperimentSpec read_config(const std::string& path, const std::vector<std::string>& overrides = {});

// The same for a text that is at hand. `path` is for messages and for relative paths in the config;
// the file need not exist.
ExperimentSpec read_config_text(std::string_view text, const std::string& path,
                                const std::vector<std::string>& overrides = {});

// One difference between two canonical configs (ExperimentSpec::config).
struct ConfigChange {
  std::string pointer;
  std::string before, after;  // JSON; empty: not there
  bool allowed = false;       // it changes no proposal and no result of the trials already there
  friend bool operator==(const ConfigChange&, const ConfigChange&) = default;
};

// Keys that are left out count as their defaults. Throws UserError when a text is no config.
std::vector<ConfigChange> compare_configs(const std::string& before, const std::string& after);

// "/search/settings/mutation/sigma: 0.1 -> 0.2"
std::string to_text(const ConfigChange& change);

}  // namespace brood
