// Facts from outside in a controller's life: learnt from the record or from the log of another
// run, written down when they happen here, obeyed when their epoch has come.
#include <utility>

#include "engine/controller.h"
#include "engine/error.h"

namespace brood {

// Before anything is judged or proposed.
void Controller::load_facts(const History& history) {
  for (const EventLogged& event : history.facts) facts_.add(event);
  if (!options_.replay) {
    if (facts_.replays() && facts_.size() < *facts_.replays())
      throw UserError("experiment \"" + spec_.name +
                      "\" repeats the event log of another, of which only a part was copied "
                      "before it was cut off: name that database again (--events)");
    return;
  }
  if (!facts_.replays() && !history.trials.empty())
    throw UserError("experiment \"" + spec_.name + "\" has " +
                    std::to_string(history.trials.size()) +
                    " trials already, made without the event log of another: give the repetition "
                    "a database of its own (--set output.database=...)");
  Facts given;
  for (const EventLogged& event : *options_.replay) given.add(event);
  if (!facts_.replays()) put(replay_event(given.size(), clock_.wall_us()));
  for (const EventLogged& event : *options_.replay) {
    const bool knew = facts_.known_trials().has_value();
    const bool fresh = facts_.add(event);
    if (fresh || knew != facts_.known_trials().has_value()) put(event);
  }
  facts_.add(replay_event(given.size(), 0));
}

// Ends the training of trial k where its reports stand, by something other than itself.
void Controller::end_early(TrialId k, Live& live, Cause cause, const std::string& why) {
  const Trial& t = trial(k);
  const EarlyEnd end{t.reports.empty() ? t.first_epoch - 1 : t.reports.back().epoch, cause, why};
  live.end = Live::End{cause, why};
  const EventLogged event = end_event(k, end, clock_.wall_us());
  if (facts_.add(event)) put(event);
}

// Does the log end trial k where its reports stand?
void Controller::obey_facts(TrialId k, Live& live) {
  const EarlyEnd* end = facts_.early_end(k);
  const Trial& t = trial(k);
  const int reported = t.reports.empty() ? t.first_epoch - 1 : t.reports.back().epoch;
  if (end == nullptr || live.end || reported < end->after_epoch) return;
  live.end = Live::End{end->cause, end->why};
  if (!live.place) return;
  const Place place = *live.place;
  // What had to be killed then may not hear a stop now.
  const bool hangs = end->cause == Cause::deadline || end->cause == Cause::silence;
  if (hangs && executors_.worker(place.worker)->slots.size() == 1)
    transport_.send({place.worker.node, 0}, encode(Kill{place.worker.worker, end->why}));
  else
    transport_.send(place.worker, encode(Stop{place.slot, k, live.attempt}));
  end_attempt(k, live, std::string(to_text(end->cause)), false, end->why);
}

}  // namespace brood
