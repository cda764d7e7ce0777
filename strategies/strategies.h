// The one list of all search algorithms and stoppers: what exists, what their settings may be, and
// how they are made. Settings are the config's own JSON; see docs/strategies.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/experiment.h"
#include "engine/stopper.h"
#include "engine/strategy.h"

namespace brood {

std::vector<std::string> strategy_names();
std::vector<std::string> stopper_names();

// The spec has passed check_search(). The strategy keeps a copy of what it needs.
std::unique_ptr<Strategy> make_strategy(const ExperimentSpec& spec);

// nullptr when the spec has no stopper.
std::unique_ptr<Stopper> make_stopper(const ExperimentSpec& spec);

// What is wrong with the block {"algorithm": name, "settings": {...}}, with pointers relative to it
// (/algorithm, /settings/mutation/sigma). Empty: nothing. `epochs` is how long a trial trains.
std::vector<Problem> check_search(const Algorithm& search, const SearchSpace& space);
std::vector<Problem> check_stopper(const Algorithm& stopper, int epochs);

// The settings as JSON text with every default filled in. The algorithm, strategy or stopper, has
// been checked.
std::string with_defaults(const Algorithm& algorithm);

// The stopper's L of DESIGN ("verdict_lag" among its settings).
int verdict_lag(const Algorithm& stopper);

// Pointers, relative to the block, of the settings that a strategy's proposals depend on. Only the
// others may change on resume.
std::vector<std::string> proposal_keys(const std::string& strategy);

}  // namespace brood
