// Ended trials, in the order of their numbers: counted, served to their duplicates, compared with
// the target. Whatever ends a run by its results is decided here.
#include <utility>

#include "engine/controller.h"

namespace brood {

void Controller::serve_duplicate(Trial& t) {
  const Trial& original = trial(*t.same_as);
  t.objective = original.objective;
  t.best_epoch = original.best_epoch;
  t.why = "equal to trial " + std::to_string(original.id);
  change(t);
}

// Counts the ended trials in id order, as far as they go.
void Controller::settle() {
  apply_limits();
  while (!closing_ && settled_ < static_cast<TrialId>(trials_.size()) &&
         ended(trial(settled_).state)) {
    Trial& t = trial(settled_++);
    if (t.same_as && t.why.empty()) serve_duplicate(t);
    if (t.id >= ended_before_) observer_.trial_ended(t);
    t.reports.clear();
    t.reports.shrink_to_fit();
    count_settled(t);
    apply_limits();
  }
}

bool Controller::better(const Trial& a, const Trial& b) const {
  const double left = oriented(*a.objective), right = oriented(*b.objective);
  return left != right ? left > right : a.id < b.id;
}

void Controller::count_settled(const Trial& t) {
  switch (t.state) {
    case TrialState::completed:
      ++progress_.completed;
      if (t.objective && (records_.empty() ||
                          oriented(*t.objective) > oriented(*trial(records_.back()).objective)))
        records_.push_back(t.id);
      break;
    case TrialState::stopped:
      ++progress_.stopped;
      break;
    case TrialState::infeasible:
      ++progress_.infeasible;
      break;
    case TrialState::known:
      ++progress_.known;
      break;
    case TrialState::cancelled:
      ++progress_.cancelled;
      break;
    case TrialState::failed:
      ++progress_.failed;
      ++failed_in_order_;
      last_failure_ = t.why;
      break;
    default:
      break;
  }
  retain_checkpoints(t);
  count_failure(t);
  check_failures();
  if (meets(t, limits_.target)) close_after(t.id, t.id);
}

// The target was met by `winner`: every trial after `last`, however far it came, does not count.
void Controller::close_after(TrialId last, TrialId winner) {
  for (TrialId k = last + 1; k < static_cast<TrialId>(trials_.size()); ++k) {
    Trial& t = trial(k);
    drop_checkpoints(k, kAllEpochs);
    if (t.state == TrialState::surplus) continue;
    if (saves()) stopped_now_.push_back(k);
    if (live_.count(k) > 0)
      finish(k, TrialState::surplus, Cause::none,
             "trial " + std::to_string(winner) + " met the target");
    else
      t.state = TrialState::surplus;
    change(t);
  }
  met_target_ = winner;
  closing_ = Ending{"completed", "trial " + std::to_string(winner) +
                                     " met the target: " + spec_.objective.metric + " is " +
                                     to_text(Value{*trial(winner).objective})};
  closed_by_failures_ = false;
}

}  // namespace brood
