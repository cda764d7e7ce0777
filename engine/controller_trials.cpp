// A trial's life, as the controller leads it: proposed, assigned, reported, judged, ended, settled.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

#include "engine/controller.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

namespace {

// Known from the planner, and judged before a trial trains.
bool planned_metric(const std::string& name) {
  return name == "parameters" || name == "flops" || name == "memory_bytes";
}

// Proposals that lead to no training (duplicates, infeasible points) made before the loop looks at
// the executors again.
constexpr int kIdleProposals = 256;
// A search that proposes nothing but what was tried has nothing left to say.
constexpr int kDuplicatesInARow = 10000;
// Kills from outside are never charged; but a program may kill itself the same way, for ever.
constexpr int kLossesMax = 20;

// Does this failure say something about one attempt (it may go better the next time), or is it the
// trial's result?
bool concerns_attempt(Cause cause) {
  switch (cause) {
    case Cause::exit_status:
    case Cause::signal:
    case Cause::memory:
    case Cause::deadline:
    case Cause::silence:
    case Cause::protocol:
    case Cause::lost:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool Controller::used_up() const {
  return limits_.max_trials && static_cast<double>(counted_) >= *limits_.max_trials;
}

// Makes sure that upcoming_ holds the next proposal, if there is one and if it can be made yet.
void Controller::prepare_next() {
  if (upcoming_ || proposing_done_) return;
  const auto k = static_cast<TrialId>(trials_.size());
  const auto given = [this](ParamSet params, Origin from) {
    upcoming_.emplace().proposal.params = std::move(params);
    upcoming_origin_ = from;
  };
  if (const Addition* added = facts_.interventions().addition(k))
    return given(added->params, Origin::user);
  if (used_up() || duplicates_in_a_row_ >= kDuplicatesInARow) {
    proposing_done_ = true;
    return;
  }
  if (initial_used_ < spec_.initial_points.size())
    return given(spec_.initial_points[initial_used_], Origin::initial);
  upcoming_origin_ = Origin::strategy;
  const TrialId horizon = strategy_.horizon(k);
  CHECK(horizon <= k, "a strategy wants to know the future");
  if (horizon > settled_) return;
  for (; told_ < horizon; ++told_) strategy_.tell(trial(told_));
  upcoming_ = strategy_.propose(k, Rng(spec_.seed, static_cast<std::uint64_t>(k), Purpose::propose),
                                points_);
  if (!upcoming_) proposing_done_ = true;
}

std::optional<TrialId> Controller::next_trial() {
  if (!retry_.empty()) {
    const TrialId k = *retry_.begin();
    retry_.erase(retry_.begin());
    return k;
  }
  for (int i = 0; i < kIdleProposals; ++i) {
    prepare_next();
    if (!upcoming_) return std::nullopt;
    const auto k = static_cast<TrialId>(trials_.size());
    Suggestion suggestion = std::move(*upcoming_);
    upcoming_.reset();
    if (add_trial(std::move(suggestion), upcoming_origin_)) return k;
    settle();
    if (closing_) return std::nullopt;
  }
  more_to_do_ = true;
  return std::nullopt;
}

// Returns whether the new trial, trials_.size(), is one to train.
bool Controller::add_trial(Suggestion suggestion, Origin origin) {
  Trial fresh;
  fresh.id = static_cast<TrialId>(trials_.size());
  fresh.origin = origin;
  if (origin == Origin::initial) ++initial_used_;
  fresh.params = std::move(suggestion.proposal.params);
  fresh.parent = suggestion.proposal.parent;
  fresh.lineage = std::move(suggestion.lineage);
  fresh.seed = Rng(spec_.seed, static_cast<std::uint64_t>(fresh.id), Purpose::train).bits();
  fresh.same_as = points_.find(fresh.params);
  std::optional<Estimate> planned;
  if (fresh.same_as) {
    // The first of its kind, never a copy of a copy.
    if (trial(*fresh.same_as).same_as) fresh.same_as = trial(*fresh.same_as).same_as;
    fresh.state = TrialState::duplicate;
    ++duplicates_in_a_row_;
    ++progress_.duplicates;
  } else {
    const Estimate estimate = planner_.estimate(fresh.params);
    planned = estimate;
    fresh.last_epoch = suggestion.proposal.epochs.value_or(estimate.epochs);
    fresh.why = estimate.infeasible;
    const auto limit = spec_.resources.memory_per_trial;
    if (fresh.why.empty() && limit && estimate.bytes > *limit)
      fresh.why = "needs " + std::to_string(estimate.bytes >> 20) + " MiB, memory_per_trial is " +
                  std::to_string(*limit >> 20) + " MiB";
    for (const Constraint& c : spec_.constraints) {
      const double value = c.metric == "parameters"     ? static_cast<double>(estimate.parameters)
                           : c.metric == "flops"        ? estimate.flops
                           : c.metric == "memory_bytes" ? static_cast<double>(estimate.bytes)
                                                        : std::nan("");
      if (!fresh.why.empty() || !((c.min && value < *c.min) || (c.max && value > *c.max))) continue;
      fresh.why = c.metric + " is " + to_text(Value{value}) + ", the constraint allows " +
                  (c.max && value > *c.max ? "at most " + to_text(Value{*c.max})
                                           : "at least " + to_text(Value{*c.min}));
    }
    if (!fresh.why.empty()) {
      fresh.state = TrialState::infeasible;
      fresh.cause = Cause::constraint;
    }
    duplicates_in_a_row_ = 0;
    ++counted_;
  }
  points_.add(fresh.params);
  verdicts_.add();
  const bool trains = !ended(fresh.state);
  if (trains) {
    live_[fresh.id].planned = std::move(planned);
    open_epochs_ += fresh.last_epoch - fresh.first_epoch + 1;
  } else {
    verdicts_.end(fresh.id);
  }
  trials_.push_back(fresh);
  const TrialId k = fresh.id;
  put(TrialAdded{std::move(fresh)});
  if (trains) {
    Live& live = live_.at(k);
    obey_facts(k, live);
    if (live.end || facts_.interventions().cancellation(k) != nullptr) advance(k);
  }
  apply_limits();
  return live_.count(k) > 0;
}

void Controller::dispatch() {
  // A store that cannot write must not be given more to remember.
  if (paused_ || !store_.trouble().empty()) return;
  while (!executors_.idle().empty()) {
    const auto k = next_trial();
    if (!k) break;
    const auto place = place_for(*k);
    if (!place) break;
    assign(*k, *place);
  }
}

void Controller::assign(TrialId k, Place place) {
  Trial& t = trial(k);
  Live& live = live_.at(k);
  live.place = place;
  placed_.insert(k);
  live.gained_checkpoint = false;
  ++live.attempt;
  if (live.attempt > 1) sweep_checkpoints(k);

  Assign out;
  out.session = session_;
  out.slot = place.slot;
  Assignment& a = out.assignment;
  a.trial = k;
  a.attempt = live.attempt;
  a.params = t.params;
  a.last_epoch = t.last_epoch;
  a.seed = t.seed;
  int epoch = 0;
  a.resume_from = usable_checkpoint(k, epoch);
  a.first_epoch = epoch > 0 ? epoch + 1 : t.first_epoch;
  if (epoch >= t.last_epoch) {
    // Everything was trained and saved, but the reports of it were lost with the power.
    a.resume_from.clear();
    a.first_epoch = t.first_epoch;
  }
  if (!options_.files_dir.empty()) {
    a.save_dir = trial_dir(k);
    a.log = trial_dir(k) + "/attempt_" + std::to_string(live.attempt) + ".log";
    const int every = spec_.fault_tolerance.checkpoint_every_epochs;
    a.save_every_epochs = every > 0 ? every : spec_.output.keep_best > 0 ? t.last_epoch : 0;
    if (a.save_every_epochs == 0) a.save_dir.clear();
    a.save_last_if = worth_keeping(a.first_epoch > t.first_epoch);
  }
  const WorkerRecord& worker = *executors_.worker(place.worker);
  t.state = TrialState::running;
  t.why.clear();  // why it waited
  put(AttemptStarted{k, live.attempt, executors_.name(place), worker.hello.host,
                     worker.hello.offer.device, worker.hello.offer.numeric_class, clock_.wall_us(),
                     a.first_epoch, a.log.empty() ? "" : from_database(a.log)});
  change(t);
  executors_.occupy(place, k, planned_for(k).bytes);
  transport_.send(place.worker, encode(out));
}

void Controller::take_event(TrialId k, Live& live, const Event& event) {
  switch (event.kind) {
    case Event::Kind::progress:
      break;
    case Event::Kind::report:
      take_report(k, live, event.report);
      break;
    case Event::Kind::saved:
      take_saved(k, live, event);
      if (live.parking) park(k, live);
      break;
    case Event::Kind::ended: {
      const Trial& t = trial(k);
      if (t.reports.empty() || t.reports.back().epoch < t.last_epoch) {
        const int reached = t.reports.empty() ? t.first_epoch - 1 : t.reports.back().epoch;
        return crash(k, live, Cause::protocol,
                     "the trainer ended after epoch " + std::to_string(reached) + " of " +
                         std::to_string(t.last_epoch),
                     0);
      }
      end_attempt(k, live, "completed", false, "");
      live.end = Live::End{};
      advance(k);
      break;
    }
    case Event::Kind::failed:
      if (event.cause == Cause::checkpoint) {
        // A checkpoint is a cache: losing one costs time, never an answer.
        observer_.note("trial " + std::to_string(k) + ": " + event.why + "; it starts over");
        drop_checkpoints(k, kAllEpochs);
        end_attempt(k, live, std::string(to_text(event.cause)), false, event.why);
        requeue(k, live);
      } else if (concerns_attempt(event.cause)) {
        crash(k, live, event.cause, event.why, 0);
      } else {
        end_attempt(k, live, std::string(to_text(event.cause)), false, event.why);
        live.end = Live::End{event.cause, event.why};
        advance(k);
      }
      break;
  }
}

void Controller::take_report(TrialId k, Live& live, const Report& report) {
  if (live.end) return;
  ++live.reports;
  if (live.parking && !live.reported_while_parking) live.reported_while_parking = clock_.now();
  Trial& t = trial(k);
  const int expected = t.reports.empty() ? t.first_epoch : t.reports.back().epoch + 1;
  if (report.epoch < expected && report.epoch >= t.first_epoch) {
    // A repeated epoch of a later attempt: the record stands, and is a check of the trainer.
    const Report& known = t.reports[static_cast<std::size_t>(report.epoch - t.first_epoch)];
    const bool same = std::all_of(known.metrics.begin(), known.metrics.end(), [&](const auto& m) {
      const Metric* again = report.find(m.name);
      return !m.exact || (again != nullptr && (again->value == m.value ||
                                               (std::isnan(again->value) && std::isnan(m.value))));
    });
    if (!same && !live.noted_difference) {
      live.noted_difference = true;
      const std::string note = "trial " + std::to_string(k) + " gave other metrics at epoch " +
                               std::to_string(report.epoch) + " in attempt " +
                               std::to_string(live.attempt) +
                               " than before: its trainer is not deterministic; the first stand";
      observer_.note(note);
      put(EventLogged{-1, clock_.wall_us(), "nondeterministic_trainer", Json(note).dump()});
    }
    return;
  }
  const Metric* metric = report.find(spec_.objective.metric);
  std::string wrong;
  if (report.epoch != expected || report.epoch > t.last_epoch) {
    wrong = "it reported epoch " + std::to_string(report.epoch) + ", expected was " +
            (expected > t.last_epoch ? "its end" : std::to_string(expected));
  } else if (metric == nullptr) {
    wrong = "its report of epoch " + std::to_string(report.epoch) + " lacks the objective \"" +
            spec_.objective.metric + "\"; it has";
    for (const Metric& m : report.metrics) wrong += " " + m.name;
  }
  if (!wrong.empty()) {
    const Place place = *live.place;
    transport_.send(place.worker, encode(Stop{place.slot, k, live.attempt}));
    crash(k, live, Cause::protocol, wrong, 0);
    return;
  }
  t.reports.push_back(report);
  live.values.push_back(oriented(metric->value));
  --open_epochs_;
  live.losses = 0;
  ++progress_.epochs;
  put(Reported{k, report, clock_.wall_us()});
  if (!std::isfinite(metric->value)) {
    live.end = nan_end(report.epoch, metric->value);
    const Place place = *live.place;
    transport_.send(place.worker, encode(Stop{place.slot, k, live.attempt}));
    end_attempt(k, live, std::string(to_text(Cause::nan)), false, live.end->why);
  }
  obey_facts(k, live);
  advance(k);
}

Controller::Live::End Controller::nan_end(int epoch, double value) const {
  return {Cause::nan, spec_.objective.metric + " became " +
                          (std::isnan(value) ? "NaN" : "infinite") + " at epoch " +
                          std::to_string(epoch)};
}

// The row without its reports, which have rows of their own.
void Controller::change(Trial& t) {
  std::vector<Report> reports;
  reports.swap(t.reports);
  put(TrialChanged{t});
  t.reports.swap(reports);
}

void Controller::end_attempt(TrialId k, Live& live, const std::string& end, bool charged,
                             const std::string& why, std::uint64_t max_rss) {
  if (!live.place) return;
  live.place.reset();
  placed_.erase(k);
  put(AttemptEnded{k, live.attempt, clock_.wall_us(), end, charged, why, max_rss});
}

// The attempt died: by its own fault (charged) or not.
void Controller::crash(TrialId k, Live& live, Cause cause, const std::string& why,
                       std::uint64_t max_rss) {
  const bool charged = cause != Cause::lost && !live.gained_checkpoint && !facts_.replays();
  end_attempt(k, live, std::string(to_text(cause)), charged, why, max_rss);
  ++progress_.retried;
  const Trial& t = trial(k);
  if (live.end || (!t.reports.empty() && t.reports.back().epoch == t.last_epoch)) {
    // It had said how it ends before its worker died.
    advance(k);
    return;
  }
  if (!charged && ++live.losses >= kLossesMax) {
    const std::string lost = "lost " + std::to_string(live.losses) + " times in a row";
    if (facts_.replays())
      throw UserError("trial " + std::to_string(k) + " was " + lost +
                      " here, which the event log " + "that is repeated does not know: " + why);
    end_early(k, live, cause, lost + ", which looks like its own doing: " + why);
    return advance(k);
  }
  if (charged) {
    ++live.charged;
    put(EventLogged{k, clock_.wall_us(), "charged_crash",
                    Json({{"attempt", live.attempt}, {"cause", to_text(cause)}}).dump()});
  }
  if (live.charged > spec_.fault_tolerance.max_retries_per_trial) {
    end_early(k, live, cause, why);
    advance(k);
    return;
  }
  observer_.note("trial " + std::to_string(k) + " runs again: " + why.substr(0, why.find('\n')));
  requeue(k, live);
}

void Controller::requeue(TrialId k, Live& live) {
  live.place.reset();
  placed_.erase(k);
  live.parking = false;
  trial(k).state = TrialState::waiting;
  change(trial(k));
  // All epochs are on record: only verdicts are missing, nothing has to run.
  const Trial& t = trial(k);
  if (!live.end && (t.reports.empty() || t.reports.back().epoch < t.last_epoch)) retry_.insert(k);
}

// Takes every step that the trial's reports and the known verdicts allow.
void Controller::advance(TrialId k) {
  const auto at = live_.find(k);
  if (at == live_.end()) return;
  Live& live = at->second;
  while (judge(k, live)) {
  }
}

// One step; false when the trial has ended or must wait.
bool Controller::judge(TrialId k, Live& live) {
  Trial& t = trial(k);
  const int reported = t.reports.empty() ? t.first_epoch - 1 : t.reports.back().epoch;
  const int epoch = std::max(t.judged_epoch + 1, t.first_epoch);
  const Cancellation* cancelled = facts_.interventions().cancellation(k);
  if (cancelled != nullptr && epoch > cancelled->judged_epoch && reported >= cancelled->epoch) {
    end_cancelled(k, live, *cancelled);
    return false;
  }
  if (epoch > reported) {
    if (live.end && live.end->cause != Cause::none)
      finish(k, TrialState::failed, live.end->cause, live.end->why);
    return false;
  }
  const bool nan_here = epoch == reported && !std::isfinite(live.values.back());
  std::vector<double> values;
  if (verdicts_.due(epoch))
    values.assign(live.values.begin(), live.values.begin() + (epoch - t.first_epoch + 1));
  if (verdicts_.due(epoch)) {
    if (live.official < epoch) live.score = verdicts_.reach(k, epoch, values);
    live.official = epoch;
  }
  const bool last = epoch == t.last_epoch;
  // The checkpoint of the last epoch may still be on its way.
  if (last && live.place && !live.end) return false;
  if (last || nan_here) {
    if (verdicts_.due(epoch)) put(Judged{k, epoch, live.score, Verdict::proceed, -1});
    t.judged_epoch = epoch;
    if (nan_here) return true;
    const std::string broken = broken_constraint(t, epoch);
    finish(k, broken.empty() ? TrialState::completed : TrialState::infeasible,
           broken.empty() ? Cause::none : Cause::constraint, broken);
    return false;
  }
  const auto given = verdicts_.ask(k, epoch, values);
  if (!given) return false;
  if (verdicts_.due(epoch)) put(Judged{k, epoch, live.score, given->verdict, given->horizon});
  t.judged_epoch = epoch;
  if (given->verdict == Verdict::proceed) return true;
  if (const std::string broken = broken_constraint(t, epoch); !broken.empty()) {
    finish(k, TrialState::infeasible, Cause::constraint, broken);
    return false;
  }
  finish(k, TrialState::stopped, Cause::stopper,
         "stopped after epoch " + std::to_string(epoch) + " of " + std::to_string(t.last_epoch));
  return false;
}

std::string Controller::broken_constraint(const Trial& t, int epoch) const {
  const Report& report = t.reports[static_cast<std::size_t>(epoch - t.first_epoch)];
  for (const Constraint& c : spec_.constraints) {
    const Metric* m = report.find(c.metric);
    if (m == nullptr) {
      if (planned_metric(c.metric)) continue;
      return "its report of epoch " + std::to_string(epoch) + " lacks " + c.metric +
             ", which a constraint is about";
    }
    if (c.max && !(m->value <= *c.max))
      return c.metric + " is " + to_text(Value{m->value}) + ", the constraint allows at most " +
             to_text(Value{*c.max});
    if (c.min && !(m->value >= *c.min))
      return c.metric + " is " + to_text(Value{m->value}) + ", the constraint asks for at least " +
             to_text(Value{*c.min});
  }
  return {};
}

// The objective over the official reports.
void Controller::reduce(Trial& t, const Live& live) const {
  const int official = t.judged_epoch - t.first_epoch + 1;
  for (int i = 0; i < official; ++i) {
    const double value = live.values[static_cast<std::size_t>(i)];
    const bool take = spec_.objective.reduce == Objective::Reduce::last
                          ? i == official - 1
                          : !t.objective || value > oriented(*t.objective);
    if (!take || std::isnan(value)) continue;
    t.objective = oriented(value);
    t.best_epoch = t.first_epoch + i;
  }
}

void Controller::finish(TrialId k, TrialState state, Cause cause, std::string why) {
  Trial& t = trial(k);
  Live& live = live_.at(k);
  if (live.place) {
    const Place place = *live.place;
    if (!live.end) {
      transport_.send(place.worker, encode(Stop{place.slot, k, live.attempt}));
      if (saves()) stopped_now_.push_back(k);
    }
    end_attempt(k, live, state == TrialState::completed ? "completed" : std::string(to_text(cause)),
                false, "");
  }
  t.state = state;
  t.cause = cause;
  t.why = std::move(why);
  if (state == TrialState::completed || state == TrialState::stopped) reduce(t, live);
  const int reported = t.reports.empty() ? 0 : t.reports.back().epoch;
  if (state == TrialState::stopped) progress_.epochs_dropped += reported - t.judged_epoch;
  retry_.erase(k);
  change(t);
  open_epochs_ -= t.last_epoch - t.first_epoch + 1 - static_cast<std::int64_t>(live.values.size());
  live_.erase(k);
  verdicts_.end(k);
}

}  // namespace brood
