#include "strategies/strategies.h"

#include <algorithm>

#include "engine/suggest.h"
#include "strategies/asha.h"
#include "strategies/genetic.h"
#include "strategies/grid.h"
#include "strategies/grid_walk.h"
#include "strategies/median.h"
#include "strategies/random.h"
#include "strategies/settings.h"

namespace brood {

namespace {

struct StrategyEntry {
  std::string name;
  std::vector<Setting> settings;
  std::unique_ptr<Strategy> (*make)(const ExperimentSpec&);
};

const std::vector<StrategyEntry>& strategies() {
  static const std::vector<StrategyEntry> list = {
      {"grid", grid_settings(), make_grid},
      {"random", random_settings(), make_random},
      {"genetic", genetic_settings(), make_genetic},
  };
  return list;
}

struct StopperEntry {
  std::string name;
  std::vector<Setting> settings;
  std::unique_ptr<Stopper> (*make)(const Settings&);
};

// The controller's share of every stopper's settings.
std::vector<Setting> with_lag(std::vector<Setting> settings) {
  settings.push_back({.path = "verdict_lag", .fallback = 16, .min = 1, .max = 1000000});
  return settings;
}

const std::vector<StopperEntry>& stoppers() {
  static const std::vector<StopperEntry> list = {
      {"median", with_lag(median_settings()), make_median},
      {"asha", with_lag(asha_settings()), make_asha},
  };
  return list;
}

template <class Entry>
const Entry* find(const std::vector<Entry>& list, const std::string& name) {
  for (const Entry& entry : list)
    if (entry.name == name) return &entry;
  return nullptr;
}

template <class Entry>
std::vector<std::string> names(const std::vector<Entry>& list) {
  std::vector<std::string> all;
  for (const Entry& entry : list) all.push_back(entry.name);
  return all;
}

Problem unknown(const std::string& what, const std::string& name,
                const std::vector<std::string>& known) {
  std::string list;
  for (const std::string& one : known) list += (list.empty() ? "" : ", ") + one;
  const std::string hint = did_you_mean(name, known);
  return {"/algorithm", "there is no " + what + " \"" + name + "\"" +
                            (hint.empty() ? "; there are: " + list : hint)};
}

const std::vector<Setting>& settings_of(const std::string& name) {
  if (const StrategyEntry* entry = find(strategies(), name)) return entry->settings;
  const StopperEntry* entry = find(stoppers(), name);
  CHECK(entry != nullptr, "no algorithm " + name);
  return entry->settings;
}

std::vector<Problem> continuous_fields(const SearchSpace& space) {
  std::vector<Problem> problems;
  for (const Field& field : space.fields())
    if (!field.cardinality())
      problems.push_back({"/algorithm", "\"grid\" needs countable parameters, and \"" + field.name +
                                            "\" is continuous: give it a \"step\" or \"values\", "
                                            "or use \"random\""});
  return problems;
}

}  // namespace

std::vector<std::string> strategy_names() { return names(strategies()); }
std::vector<std::string> stopper_names() { return names(stoppers()); }

std::unique_ptr<Strategy> make_strategy(const ExperimentSpec& spec) {
  const StrategyEntry* entry = find(strategies(), spec.search.name);
  CHECK(entry != nullptr, "no strategy " + spec.search.name);
  return entry->make(spec);
}

std::unique_ptr<Stopper> make_stopper(const ExperimentSpec& spec) {
  if (!spec.stopper) return nullptr;
  const StopperEntry* entry = find(stoppers(), spec.stopper->name);
  CHECK(entry != nullptr, "no stopper " + spec.stopper->name);
  return entry->make(Settings(entry->settings, spec.stopper->settings));
}

std::vector<Problem> check_search(const Algorithm& search, const SearchSpace& space) {
  const StrategyEntry* entry = find(strategies(), search.name);
  if (entry == nullptr) return {unknown("search algorithm", search.name, strategy_names())};
  std::vector<Problem> problems = check_settings(entry->settings, search.settings);
  if (!problems.empty()) return problems;
  if (search.name == "grid") return continuous_fields(space);
  if (search.name == "genetic") return check_genetic(search.settings, space);
  return problems;
}

std::vector<Problem> check_stopper(const Algorithm& stopper, int epochs) {
  const StopperEntry* entry = find(stoppers(), stopper.name);
  if (entry == nullptr) return {unknown("stopper", stopper.name, stopper_names())};
  std::vector<Problem> problems = check_settings(entry->settings, stopper.settings);
  if (!problems.empty()) return problems;
  const int min_epochs = Settings(entry->settings, stopper.settings).whole("min_epochs");
  if (min_epochs >= epochs)
    problems.push_back({"/settings/min_epochs",
                        "should be below the epochs of a trial (" + std::to_string(epochs) +
                            "), or none is ever judged (is " + std::to_string(min_epochs) + ")"});
  return problems;
}

std::string with_defaults(const Algorithm& algorithm) {
  return filled_in(settings_of(algorithm.name), algorithm.settings);
}

int verdict_lag(const Algorithm& stopper) {
  return Settings(settings_of(stopper.name), stopper.settings).whole("verdict_lag");
}

std::vector<std::string> proposal_keys(const std::string& strategy) {
  std::vector<std::string> keys;
  for (const Setting& setting : settings_of(strategy))
    if (setting.shapes_proposals) keys.push_back("/settings/" + setting.path);
  return keys;
}

}  // namespace brood
