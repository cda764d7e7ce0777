// Checkpoints, as the controller keeps them: a cache of deterministic computations. What the record
// names exists until something durable has replaced it; what the record does not name is removed.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "engine/controller.h"

namespace brood {

namespace {

// Saved on demand in the middle of an epoch (one_slot.cpp): good to go on from, no model of an
// epoch.
bool within_epoch(const std::string& path) {
  return std::filesystem::path(path).filename().string().find("_step_") != std::string::npos;
}

}  // namespace

std::string Controller::trial_dir(TrialId k) const {
  std::string number = std::to_string(k);
  if (number.size() < 6) number.insert(0, 6 - number.size(), '0');
  return options_.files_dir + "/trial_" + number;
}

// The newest checkpoint whose file is there; "" and epoch 0 when there is none.
std::string Controller::usable_checkpoint(TrialId k, int& epoch) {
  epoch = 0;
  const auto saved = checkpoints_.find(k);
  if (saved == checkpoints_.end()) return {};
  for (auto at = saved->second.rbegin(); at != saved->second.rend(); ++at) {
    std::error_code missing;
    if (!std::filesystem::is_regular_file(at->second.path, missing)) continue;
    epoch = at->first;
    return at->second.path;
  }
  return {};
}

void Controller::take_saved(TrialId k, Live& live, const Event& event) {
  auto& saved = checkpoints_[k];
  const Checkpoint before = saved[event.epoch];
  if (before.path == event.path) {  // it stood still between two saves
    ++live.saves;
    return;
  }
  checkpoint_bytes_ -= before.bytes;
  std::error_code missing;
  const auto bytes = std::filesystem::file_size(event.path, missing);
  saved[event.epoch] = {event.path, missing ? 0 : bytes};
  checkpoint_bytes_ += saved[event.epoch].bytes;
  live.gained_checkpoint = true;
  live.shared_crashes = 0;
  live.company_max = kAnyCompany;
  ++live.saves;
  put(CheckpointSaved{k, event.epoch, from_database(event.path), saved[event.epoch].bytes});
  if (!before.path.empty()) dropped_.push_back({last_ticket_, k, event.epoch, before.path});
  drop_checkpoints(k, event.epoch);
  // Over the cap the worst of the kept models go first; a running trial's own is never dropped.
  for (auto worst = best_.rbegin(); worst != best_.rend(); ++worst) {
    if (!spec_.output.max_bytes || checkpoint_bytes_ <= *spec_.output.max_bytes) break;
    drop_checkpoints(*worst, kAllEpochs);
  }
}

// Paths in the store are relative to the database, so that the two can be moved together.
std::string Controller::from_database(const std::string& path) const {
  return std::filesystem::path(path)
      .lexically_relative(std::filesystem::path(spec_.output.database).parent_path())
      .string();
}

// Forgets the trial's checkpoints of epochs below keep_from_epoch. Their files go when what made
// them needless is durable: until then a crash may still ask for them.
void Controller::drop_checkpoints(TrialId k, int keep_from_epoch) {
  const auto saved = checkpoints_.find(k);
  if (saved == checkpoints_.end()) return;
  auto& epochs = saved->second;
  while (!epochs.empty() && epochs.begin()->first < keep_from_epoch) {
    checkpoint_bytes_ -= epochs.begin()->second.bytes;
    dropped_.push_back({last_ticket_, k, epochs.begin()->first, epochs.begin()->second.path});
    epochs.erase(epochs.begin());
  }
  if (epochs.empty()) checkpoints_.erase(saved);
}

void Controller::delete_dropped() {
  const Ticket durable = store_.durable();
  while (!dropped_.empty() && dropped_.front().ticket <= durable) {
    const Dropped gone = std::move(dropped_.front());
    dropped_.pop_front();
    const auto kept = checkpoints_.find(gone.trial);
    const bool replaced = kept != checkpoints_.end() && kept->second.count(gone.epoch) > 0;
    if (replaced && kept->second.at(gone.epoch).path == gone.path) continue;  // saved anew
    std::error_code gone_already;
    std::filesystem::remove(gone.path, gone_already);
    remove_empty_dir(gone.trial);
    if (!replaced) put(CheckpointDropped{gone.trial, gone.epoch});
  }
}

// A million trials must not leave a million folders. Not while it runs: its worker writes there.
void Controller::remove_empty_dir(TrialId k) {
  if (live_.count(k) > 0) return;
  std::error_code not_empty;
  std::filesystem::remove(trial_dir(k), not_empty);
}

bool Controller::saves() const {
  return !options_.files_dir.empty() &&
         (spec_.fault_tolerance.checkpoint_every_epochs > 0 || spec_.output.keep_best > 0);
}

// Deletes checkpoint files that the record does not know: a worker's that came after the verdict,
// or one that was being written when its worker died.
void Controller::sweep_checkpoints(TrialId k) {
  if (!saves()) return;
  const auto known = [&](const std::filesystem::path& path) {
    const auto saved = checkpoints_.find(k);
    if (saved != checkpoints_.end())
      for (const auto& [epoch, checkpoint] : saved->second)
        if (path == checkpoint.path) return true;
    return std::any_of(dropped_.begin(), dropped_.end(),
                       [&](const Dropped& gone) { return path == gone.path; });
  };
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(trial_dir(k), ignored)) {
    const auto path = entry.path();
    const std::string name = path.filename().string();
    const bool half_written = (path.extension() == ".tmp" || path.extension() == ".part") &&
                              name.find(".ckpt.") != std::string::npos;
    if (half_written || (path.extension() == ".ckpt" && !known(path)))
      std::filesystem::remove(path, ignored);
  }
  remove_empty_dir(k);
}

void Controller::sweep_last_words() {
  for (const TrialId k : stopped_now_) sweep_checkpoints(k);
}

// What the workers of a killed controller wrote after its last word on their trials.
void Controller::sweep_all_checkpoints() {
  if (!saves()) return;
  const std::string prefix = "trial_";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(options_.files_dir, ignored)) {
    const std::string name = entry.path().filename().string();
    const std::string number = name.substr(std::min(prefix.size(), name.size()));
    const bool digits = !number.empty() && number.size() <= 18 &&
                        number.find_first_not_of("0123456789") == std::string::npos;
    if (name.starts_with(prefix) && digits) sweep_checkpoints(std::stoll(number));
  }
}

// A trial that does not beat the last of the kept ones, all of which have smaller numbers, will
// not be kept. One that resumes no longer knows what it reached before.
std::optional<Assignment::Worth> Controller::worth_keeping(bool resumed) const {
  const bool any_epoch = spec_.objective.reduce == Objective::Reduce::best;
  const auto keep = static_cast<std::size_t>(std::max(1, spec_.output.keep_best));
  if (best_.size() < keep || (resumed && any_epoch)) return std::nullopt;
  const Trial& last = trials_[static_cast<std::size_t>(best_.back())];
  if (!std::isfinite(*last.objective)) return std::nullopt;
  return Assignment::Worth{*last.objective, spec_.objective.maximize, any_epoch};
}

// Keeps the checkpoints of the best keep_best trials; best_ also remembers the best of all.
void Controller::retain_checkpoints(const Trial& t) {
  const auto keep = static_cast<std::size_t>(std::max(1, spec_.output.keep_best));
  if (const auto saved = checkpoints_.find(t.id);
      saved != checkpoints_.end() && within_epoch(saved->second.rbegin()->second.path))
    drop_checkpoints(t.id, kAllEpochs);
  const bool ranks =
      t.objective && (t.state == TrialState::completed || t.state == TrialState::stopped);
  if (ranks) {
    const auto at =
        std::find_if(best_.begin(), best_.end(), [&](TrialId b) { return better(t, trial(b)); });
    best_.insert(at, t.id);
  } else {
    drop_checkpoints(t.id, kAllEpochs);
  }
  if (best_.size() > keep) {
    drop_checkpoints(best_.back(), kAllEpochs);
    best_.pop_back();
  }
  if (ranks && spec_.output.keep_best == 0) drop_checkpoints(t.id, kAllEpochs);
  if (t.id >= ended_before_) sweep_checkpoints(t.id);
}

}  // namespace brood
