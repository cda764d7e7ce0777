// The limits that end a run by its results, also those that change while it goes on. A change holds
// from a trial on (engine/interventions.h), so that a resume or a repetition ends the same.
#include <algorithm>
#include <cctype>
#include <utility>

#include "engine/controller.h"
#include "engine/error.h"

namespace brood {

namespace {

// The one that may be refused comes first.
constexpr Limits::Key kKeys[] = {Limits::Key::target, Limits::Key::max_trials,
                                 Limits::Key::max_failed_trials};

// The first line with each number as one sign: what two failures for the same reason share.
std::string shape_of(const std::string& why) {
  std::string out;
  for (const char c : why.substr(0, why.find('\n'))) {
    const bool digit = std::isdigit(static_cast<unsigned char>(c)) != 0;
    if (!digit)
      out += c;
    else if (out.empty() || out.back() != '#')
      out += '#';
  }
  return out;
}

std::string first_line(const std::string& why) { return why.substr(0, why.find('\n')); }

}  // namespace

// The limits as they were when the first trial was made.
void Controller::load_limits(const History& history) {
  limits_ = history.created ? limits_of(spec_) : limits_of(history.config);
  const auto& changes = facts_.interventions().changes();
  for (auto change = changes.rbegin(); change != changes.rend(); ++change)
    limits_[change->key] = change->before;
  max_wall_time_ = spec_.budget.max_wall_time;
  config_ = spec_.config;
}

// The config at hand may have other limits than the run had when it ended.
void Controller::follow_config() {
  if (facts_.replays()) return;  // there the log says what holds when
  Limits wanted = limits_of(spec_);
  for (const Limits::Key key : kKeys) {
    if (limits_[key] == wanted[key]) continue;
    if (key == Limits::Key::target && met_target_ && !meets(trial(*met_target_), wanted.target))
      throw UserError("experiment \"" + spec_.name + "\": trial " + std::to_string(*met_target_) +
                      " met the target, and what came after it was dropped: the target cannot be "
                      "set further now. Start a new experiment, with warm_start for what this one "
                      "knows");
    change_limit(key, wanted[key]);
  }
  settle();
}

void Controller::change_limit(Limits::Key key, std::optional<double> to) {
  LimitChange made;
  made.number = static_cast<int>(facts_.interventions().changes().size());
  made.from = key == Limits::Key::max_trials ? static_cast<TrialId>(trials_.size()) : settled_;
  made.key = key;
  made.before = limits_[key];
  made.after = to;
  intervene(made);
  apply_limits();
}

// Puts every change into effect whose trial has come.
void Controller::apply_limits() {
  const auto& changes = facts_.interventions().changes();
  for (; limits_seen_ < changes.size(); ++limits_seen_) {
    const LimitChange& seen = changes[limits_seen_];
    (seen.key == Limits::Key::max_trials ? limits_for_made_ : limits_for_settled_)
        .emplace(seen.from, limits_seen_);
  }
  std::vector<std::size_t> come;
  const auto take = [&come](auto& waiting, TrialId reached) {
    for (; !waiting.empty() && waiting.begin()->first <= reached; waiting.erase(waiting.begin()))
      come.push_back(waiting.begin()->second);
  };
  take(limits_for_made_, static_cast<TrialId>(trials_.size()));
  take(limits_for_settled_, settled_);
  std::sort(come.begin(), come.end());
  for (const std::size_t i : come) {
    limits_[changes[i].key] = changes[i].after;
    if (changes[i].key == Limits::Key::max_trials) {
      upcoming_.reset();
      proposing_done_ = false;
    }
    check_failures();
    check_target();
  }
}

// The breaker: trials that were trained and failed, all for one reason, from the first on.
void Controller::count_failure(const Trial& t) {
  FirstFailures& seen = first_failures_;
  const bool trained = t.state == TrialState::completed || t.state == TrialState::stopped ||
                       t.state == TrialState::failed;
  if (seen.over || !trained) return;
  // A NaN says something about a point, not about the program.
  const bool failed = t.state == TrialState::failed && t.cause != Cause::nan;
  const std::string reason = std::string(to_text(t.cause)) + " " + shape_of(t.why);
  if (!failed || (seen.count > 0 && reason != seen.reason)) {
    seen.over = true;
    seen.count = 0;
    return;
  }
  if (seen.count++ == 0) {
    seen.reason = reason;
    seen.why = first_line(t.why);
    seen.first = t.id;
  }
}

// Ends the run, or lets one that had ended so go on, by the failures that are settled.
void Controller::check_failures() {
  if (closing_ && !closed_by_failures_) return;
  closing_.reset();
  const int first = spec_.fault_tolerance.max_initial_failures;
  if (limits_.max_failed_trials &&
      static_cast<double>(failed_in_order_) > *limits_.max_failed_trials)
    closing_ = Ending{"failed",
                      std::to_string(failed_in_order_) + " trials failed, max_failed_trials is " +
                          std::to_string(static_cast<std::int64_t>(*limits_.max_failed_trials)) +
                          "; the last: " + last_failure_};
  else if (first > 0 && first_failures_.count >= first)
    closing_ =
        Ending{"failed",
               "the first " + std::to_string(first_failures_.count) +
                   " trials all failed for one reason (fault_tolerance.max_initial_failures is " +
                   std::to_string(first) + "; with 0 the run goes on), trial " +
                   std::to_string(first_failures_.first) + " with: " + first_failures_.why};
  closed_by_failures_ = closing_.has_value();
}

bool Controller::meets(const Trial& t, const std::optional<double>& target) const {
  return t.state == TrialState::completed && target && t.objective &&
         oriented(*t.objective) >= oriented(*target);
}

// A target that was changed may have been met already.
void Controller::check_target() {
  if (closing_ || !limits_.target) return;
  const auto first = std::partition_point(records_.begin(), records_.end(), [this](TrialId k) {
    return !meets(trial(k), limits_.target);
  });
  if (first != records_.end()) close_after(settled_ - 1, *first);
}

}  // namespace brood
