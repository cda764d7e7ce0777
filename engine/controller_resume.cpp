// How an experiment goes on: the record is loaded, the strategy is told it, and a sample of the
// stored proposals is made again and compared. Nothing of a strategy or a stopper was ever saved.
#include <cmath>
#include <filesystem>
#include <utility>

#include "engine/controller.h"
#include "engine/error.h"

namespace brood {

void Controller::resume() {
  History history = store_.open(spec_, options_.session);
  session_ = history.session;
  const bool created = history.created;
  const bool changed = history.config != spec_.config;
  numeric_class_ = history.numeric_class;
  load_facts(history);
  load_limits(history);
  import_known(history);
  load(std::move(history));
  verify_proposals();
  follow_config();
  if (changed) store_.set_config(spec_.config);
  if (options_.on_open) options_.on_open(created);
}

void Controller::load(History history) {
  trials_ = std::move(history.trials);
  for (std::size_t i = 0; i < trials_.size(); ++i) verdicts_.add();
  for (const Judged& judged : history.verdicts)
    if (ended(trial(judged.trial).state))
      verdicts_.restore(judged.trial, judged.epoch, judged.score);
  const std::filesystem::path folder = std::filesystem::path(spec_.output.database).parent_path();
  for (const CheckpointSaved& saved : history.checkpoints) {
    const std::string path = (folder / saved.path).string();
    std::error_code missing;
    if (!std::filesystem::is_regular_file(path, missing)) {
      put(CheckpointDropped{saved.trial, saved.epoch});
      continue;
    }
    checkpoints_[saved.trial][saved.epoch] = {path, saved.bytes};
    checkpoint_bytes_ += saved.bytes;
  }
  // The last session may have ended before it had deleted what the next save made needless.
  for (auto& [k, epochs] : checkpoints_) drop_checkpoints(k, epochs.rbegin()->first);
  if (!history.created) sweep_all_checkpoints();
  std::vector<TrialId> open;
  for (Trial& t : trials_) {
    if (!t.same_as && t.state != TrialState::known) ++counted_;
    if (t.same_as) ++progress_.duplicates;
    if (t.origin == Origin::initial) ++initial_used_;
    duplicates_in_a_row_ = t.same_as ? duplicates_in_a_row_ + 1 : 0;
    const auto i = static_cast<std::size_t>(t.id);
    if (ended(t.state)) {
      verdicts_.end(t.id);
    } else {
      load_live(t, history.attempts[i], history.charged[i], history.last_ends[i]);
      open.push_back(t.id);
    }
  }
  ended_before_ = open.empty() ? static_cast<TrialId>(trials_.size()) : open.front();
  // Verdicts are given anew from the reports: they are functions of them.
  for (const TrialId k : open) advance(k);
  for (auto ready = verdicts_.take_ready(); !ready.empty(); ready = verdicts_.take_ready())
    for (const TrialId k : ready) advance(k);
  settle();
}

void Controller::load_live(Trial& t, int attempts, int charged, const AttemptEnded& last) {
  Live& live = live_[t.id];
  live.attempt = attempts;
  live.charged = charged;
  t.judged_epoch = 0;
  t.why.clear();  // why it waited
  for (const Report& report : t.reports) {
    const Metric* metric = report.find(spec_.objective.metric);
    CHECK(metric != nullptr, "a stored report lacks the objective");
    live.values.push_back(oriented(metric->value));
    if (!std::isfinite(metric->value)) live.end = nan_end(report.epoch, metric->value);
  }
  open_epochs_ += t.last_epoch - t.first_epoch + 1 - static_cast<std::int64_t>(live.values.size());
  // What the trainer had come to before the verdicts on its reports were known.
  for (const Cause said : {Cause::trainer, Cause::nan})
    if (!live.end && last.end == to_text(said)) live.end = Live::End{said, last.why};
  obey_facts(t.id, live);
  // The record of an older version, which wrote no event of it.
  if (!live.end && last.charged && charged > spec_.fault_tolerance.max_retries_per_trial)
    end_early(t.id, live, cause(last.end), last.why);
  requeue(t.id, live);
}

void Controller::verify_proposals() {
  const auto count = static_cast<TrialId>(trials_.size());
  for (TrialId k = 0; k < count; ++k) {
    const Trial& t = trial(k);
    const bool sampled = k % options_.verify_every == 0 || k == count - 1;
    if (sampled && t.origin == Origin::strategy) {
      const TrialId horizon = strategy_.horizon(k);
      // A budget that was lowered ended the run, as it now seems, before this trial.
      if (closing_ && horizon > settled_) break;
      CHECK(horizon <= settled_, "a trial was proposed before its time");
      for (; told_ < horizon; ++told_) strategy_.tell(trial(told_));
      const auto again = strategy_.propose(
          k, Rng(spec_.seed, static_cast<std::uint64_t>(k), Purpose::propose), points_);
      // No proposal any more: the search was told to end earlier than it had come already.
      if (again && again->proposal.params != t.params)
        throw UserError("experiment \"" + spec_.name + "\": trial " + std::to_string(k) + " (" +
                        to_text(t.params) + ") would be proposed as (" +
                        to_text(again->proposal.params) +
                        ") now: the record was made by another version of brood; resume it with "
                        "that version, or start a new experiment");
    }
    points_.add(t.params);
  }
}

}  // namespace brood
