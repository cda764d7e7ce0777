#include "engine/facts.h"

#include <array>
#include <string_view>
#include <utility>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

namespace {

constexpr std::string_view kEnd = "end";
constexpr std::string_view kReplay = "replay";
constexpr std::string_view kKnown = "warm_start";
// They name a trial for people's sake: what they tell of is seen in the rows already.
constexpr std::array<std::string_view, 2> kNotes = {"charged_crash", "given_up"};

[[noreturn]] void refuse(const EventLogged& event, const std::string& what) {
  throw UserError("the event log has at trial " + std::to_string(event.at_trial) + " \"" +
                  event.kind + "\" " + event.body + ": " + what +
                  "; it was made by a newer version of brood, or is damaged");
}

EarlyEnd end_from(const EventLogged& event) {
  const Json body = parse_json(event.body);
  const auto epoch = body.find("after_epoch");
  const auto why = body.find("cause");
  if (!body.is_object() || epoch == body.end() || !epoch->is_number_integer() ||
      why == body.end() || !why->is_string())
    refuse(event, "its body should have after_epoch and cause");
  EarlyEnd end;
  end.after_epoch = epoch->get<int>();
  end.cause = cause(why->get<std::string>());
  end.why = body.value("why", "");
  return end;
}

}  // namespace

bool Facts::add(const EventLogged& event) {
  if (event.at_trial < 0) {
    if (event.kind == kReplay) replays_ = parse_json(event.body).value("facts", std::int64_t{0});
    return false;
  }
  if (event.kind == kKnown) {  // no fact to repeat: the rows themselves are
    known_trials_ = parse_json(event.body).value("trials", std::int64_t{0});
    return false;
  }
  for (const std::string_view note : kNotes)
    if (event.kind == note) return false;
  if (auto made = to_intervention(event)) {
    if (!interventions_.add(std::move(*made))) return false;
    ++size_;
    return true;
  }
  if (event.kind != kEnd) refuse(event, "this kind of event is not known");
  if (!ends_.emplace(event.at_trial, end_from(event)).second) return false;
  ++size_;
  return true;
}

const EarlyEnd* Facts::early_end(TrialId trial) const {
  const auto at = ends_.find(trial);
  return at == ends_.end() ? nullptr : &at->second;
}

EventLogged end_event(TrialId trial, const EarlyEnd& end, std::int64_t at_us) {
  const Json body = {
      {"after_epoch", end.after_epoch}, {"cause", to_text(end.cause)}, {"why", end.why}};
  return {trial, at_us, std::string(kEnd), body.dump()};
}

EventLogged known_trials_event(std::int64_t count, std::int64_t at_us) {
  return {0, at_us, std::string(kKnown), Json({{"trials", count}}).dump()};
}

EventLogged replay_event(std::int64_t facts, std::int64_t at_us) {
  return {-1, at_us, std::string(kReplay), Json({{"facts", facts}}).dump()};
}

}  // namespace brood
