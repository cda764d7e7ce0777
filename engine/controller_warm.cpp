// What is known before the first trial: results of another experiment, which become rows of this
// one, so that a resume needs nothing else.
#include <utility>

#include "engine/controller.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

// Before anything is loaded: the first rows of the record. A power cut leaves a part of them.
void Controller::import_known(History& history) {
  if (!spec_.warm_start || !options_.known_trials) return;
  const std::optional<std::int64_t> expected = facts_.known_trials();
  const auto have = static_cast<std::int64_t>(history.trials.size());
  if (expected && have >= *expected) return;
  std::vector<Trial> known = options_.known_trials();
  const auto count = static_cast<std::int64_t>(known.size());
  if (expected && *expected != count)
    throw UserError("experiment \"" + spec_.name + "\": taking over " + std::to_string(*expected) +
                    " trials from " + spec_.warm_start->database + " was cut off after " +
                    std::to_string(have) + ", and there are " + std::to_string(count) +
                    " now: remove this experiment and start it anew");
  if (!expected) {
    const EventLogged event = known_trials_event(count, clock_.wall_us());
    facts_.add(event);
    put(event);
  }
  for (std::int64_t k = have; k < count; ++k) {
    Trial& t = known[static_cast<std::size_t>(k)];
    t.id = k;
    t.origin = Origin::warm;
    t.state = TrialState::known;
    t.seed = Rng(spec_.seed, static_cast<std::uint64_t>(k), Purpose::train).bits();
    for (const Report& report : t.reports) put(Reported{k, report, clock_.wall_us()});
    t.reports.clear();
    put(TrialAdded{t});
    history.trials.push_back(std::move(t));
  }
  history.attempts.resize(history.trials.size());
  history.charged.resize(history.trials.size());
  history.last_ends.resize(history.trials.size());
}

}  // namespace brood
