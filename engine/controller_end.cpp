// How a run ends: running trials are asked to save, what is known is made durable, the nodes are
// shut down.
#include <algorithm>
#include <map>
#include <utility>

#include "engine/controller.h"
#include "engine/error.h"

namespace brood {

namespace {

constexpr Millis kTurn{200};
// A trainer that reports so often without the checkpoint that it was asked for makes none.
constexpr int kReportsWithoutSave = 2;

}  // namespace

void Controller::interrupt(Millis save_time) noexcept {
  // Who asks for less is in a hurry, who asks for more comes late. In this order: who sees the
  // request must see its time.
  std::int64_t known = save_time_ms_.load();
  while (save_time.count() < known &&
         !save_time_ms_.compare_exchange_weak(known, save_time.count())) {
  }
  interrupted_ = true;
  transport_.wake();
}

// What running trials get now; a second request may have left less.
Millis Controller::save_time() const {
  return interrupted_ ? Millis{save_time_ms_.load()} : Millis{0};
}

// Gives running trials until the time is up to reach their next checkpoint.
void Controller::drain() {
  Millis given = save_time();
  if (!saves() || given <= Millis{0}) return;
  struct Asked {
    int saves = 0;
    int reports = 0;
  };
  std::map<TrialId, Asked> asked;
  for (const auto& [k, live] : live_) {
    if (!live.place || live.end) continue;
    asked[k] = {live.saves, live.reports};
    const Place place = *live.place;
    transport_.send(place.worker, encode(Save{place.slot, k, live.attempt}));
  }
  if (!asked.empty())
    observer_.note("waiting up to " + std::to_string((given.count() + 999) / 1000) +
                   " s for the checkpoints of " + std::to_string(asked.size()) + " trials");
  const auto settled = [this](const auto& entry) {
    const auto at = live_.find(entry.first);
    if (at == live_.end() || !at->second.place) return true;
    const Live& live = at->second;
    return live.saves > entry.second.saves ||
           live.reports >= entry.second.reports + kReportsWithoutSave;
  };
  Millis until = clock_.now() + given;
  while (true) {
    std::erase_if(asked, settled);
    if (const Millis less = save_time(); less < given) {
      given = less;
      until = std::min(until, clock_.now() + less);
    }
    const Millis left = until - clock_.now();
    if (asked.empty() || left <= Millis{0}) return;
    for (auto envelope = transport_.receive(std::min(left, kTurn)); envelope;
         envelope = transport_.receive(Millis{0}))
      take(*envelope);
    watch_nodes();
    obey_commands();
    for (auto ready = verdicts_.take_ready(); !ready.empty(); ready = verdicts_.take_ready())
      for (const TrialId k : ready) advance(k);
    acknowledge();
    show_progress();
  }
}

Ending Controller::close() {
  Ending ending = closing_.value_or(Ending{"completed", ""});
  if (ending.state == "interrupted") drain();
  std::vector<TrialId> running;
  for (const auto& [k, live] : live_) {
    // Of one that waits a worker that was given up may still have saved.
    if (saves()) stopped_now_.push_back(k);
    if (live.place || trial(k).state == TrialState::running) running.push_back(k);
  }
  std::sort(running.begin(), running.end());
  for (const TrialId k : running) {
    Live& live = live_.at(k);
    end_attempt(k, live, "interrupted", false, ending.why);
    requeue(k, live);
  }
  show_progress();
  record_use();
  put(StateChanged{ending.state, ending.why});
  try {
    store_.flush();
    answer_durable();
    delete_dropped();
    store_.flush();
  } catch (const UserError& error) {
    if (ending.state != "interrupted") throw;
    ending.why += "; " + std::string(error.what());
  }
  for (const auto& [number, node] : executors_.nodes())
    transport_.send({number, 0}, encode(Shutdown{}));
  return ending;
}

}  // namespace brood
