#include "engine/interventions.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

namespace {

using Key = Limits::Key;

struct LimitName {
  Key key;
  std::string_view name, block;  // in the config
};
constexpr std::array<LimitName, 3> kLimits = {{
    {Key::max_trials, "max_trials", "budget"},
    {Key::max_failed_trials, "max_failed_trials", "budget"},
    {Key::target, "target", "objective"},
}};

constexpr const char* kCancel = "cancel";
constexpr const char* kAdd = "add";
constexpr const char* kSet = "set";

template <class T>
std::optional<double> real(const std::optional<T>& whole) {
  if (!whole) return std::nullopt;
  return static_cast<double>(*whole);
}

Json limit_to_json(const std::optional<double>& limit) {
  if (!limit) return nullptr;
  // Beyond that a double has no fraction, and soon no place in 64 bits.
  const auto whole = std::abs(*limit) < 9e15 ? static_cast<std::int64_t>(*limit) : 0;
  if (static_cast<double>(whole) == *limit) return whole;
  return *limit;
}

std::optional<double> limit_from_json(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return number_from_json(json);
}

EventLogged event(TrialId trial, const char* kind, std::int64_t at_us, const Json& body) {
  return {trial, at_us, kind, body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

}  // namespace

std::optional<double>& Limits::operator[](Key key) {
  switch (key) {
    case Key::max_trials:
      return max_trials;
    case Key::max_failed_trials:
      return max_failed_trials;
    case Key::target:
      break;
  }
  return target;
}

std::string_view to_text(Key key) { return kLimits[static_cast<std::size_t>(key)].name; }

std::optional<Key> limit_key(std::string_view text) {
  for (const LimitName& limit : kLimits)
    if (limit.name == text) return limit.key;
  return std::nullopt;
}

Limits limits_of(const ExperimentSpec& spec) {
  return {real(spec.budget.max_trials), real(spec.budget.max_failed_trials), spec.objective.target};
}

Limits limits_of(const std::string& config) {
  Limits limits;
  const Json json = Json::parse(config, nullptr, false);
  if (!json.is_object()) return limits;
  for (const LimitName& limit : kLimits) {
    const auto block = json.find(limit.block);
    if (block == json.end() || !block->is_object()) continue;
    const auto value = block->find(limit.name);
    if (value != block->end() && value->is_number()) limits[limit.key] = value->get<double>();
  }
  return limits;
}

EventLogged to_event(const Intervention& made, std::int64_t at_us) {
  if (const auto* cancelled = std::get_if<Cancellation>(&made))
    return event(cancelled->trial, kCancel, at_us,
                 {{"judged_epoch", cancelled->judged_epoch},
                  {"epoch", cancelled->epoch},
                  {"why", cancelled->why}});
  if (const auto* added = std::get_if<Addition>(&made))
    return event(added->trial, kAdd, at_us, {{"params", to_json(added->params)}});
  const auto& set = std::get<LimitChange>(made);
  return event(set.from, kSet, at_us,
               {{"number", set.number},
                {"key", to_text(set.key)},
                {"before", limit_to_json(set.before)},
                {"after", limit_to_json(set.after)}});
}

std::optional<Intervention> to_intervention(const EventLogged& logged) {
  if (logged.kind != kCancel && logged.kind != kAdd && logged.kind != kSet) return std::nullopt;
  if (logged.at_trial < 0) return std::nullopt;  // a note for people: max_wall_time cuts, no more
  try {
    const Json body = parse_json(logged.body);
    if (logged.kind == kCancel)
      return Cancellation{logged.at_trial, body.at("judged_epoch").get<int>(),
                          body.at("epoch").get<int>(), body.at("why").get<std::string>()};
    if (logged.kind == kAdd) return Addition{logged.at_trial, params_from_json(body.at("params"))};
    const auto key = limit_key(body.at("key").get<std::string>());
    if (!key) throw UserError("an unknown limit");
    return LimitChange{body.at("number").get<int>(), logged.at_trial, *key,
                       limit_from_json(body.at("before")), limit_from_json(body.at("after"))};
  } catch (const std::exception& error) {
    throw UserError("the event log is damaged: \"" + logged.kind + "\" at trial " +
                    std::to_string(logged.at_trial) + " holds " + logged.body + " (" +
                    error.what() + "): restore a copy of the database");
  }
}

bool Interventions::add(Intervention made) {
  if (const auto* cancelled = std::get_if<Cancellation>(&made))
    return cancellations_.emplace(cancelled->trial, *cancelled).second;
  if (const auto* added = std::get_if<Addition>(&made))
    return additions_.emplace(added->trial, *added).second;
  const auto& set = std::get<LimitChange>(made);
  if (set.number != static_cast<int>(changes_.size())) return false;
  changes_.push_back(set);
  return true;
}

const Cancellation* Interventions::cancellation(TrialId trial) const {
  const auto at = cancellations_.find(trial);
  return at == cancellations_.end() ? nullptr : &at->second;
}

const Addition* Interventions::addition(TrialId trial) const {
  const auto at = additions_.find(trial);
  return at == additions_.end() ? nullptr : &at->second;
}

}  // namespace brood
