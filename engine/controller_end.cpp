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
  // In this order: who sees the request must see its time.
  save_time_ms_ = save_time.count();
  interrupted_ = true;
  transport_.wake();
}

// Gives running trials until the time is up to reach their next checkpoint.
void Controller::drain(Millis save_time) {
  if (!saves() || save_time <= Millis{0}) return;
  struct Asked {
    int saves = 0;
    std::size_t reports = 0;
  };
  std::map<TrialId, Asked> asked;
  for (const auto& [k, live] : live_) {
    if (!live.place || live.end) continue;
    asked[k] = {live.saves, live.values.size()};
    const Place place = *live.place;
    transport_.send(place.worker, encode(Save{place.slot, k, live.attempt}));
  }
  if (!asked.empty())
    observer_.note("waiting up to " + std::to_string((save_time.count() + 999) / 1000) +
                   " s for the checkpoints of " + std::to_string(asked.size()) + " trials");
  const auto settled = [this](const auto& entry) {
    const auto at = live_.find(entry.first);
    if (at == live_.end() || !at->second.place) return true;
    const Live& live = at->second;
    return live.saves > entry.second.saves ||
           live.values.size() >= entry.second.reports + kReportsWithoutSave;
  };
  const Millis until = clock_.now() + save_time;
  while (true) {
    std::erase_if(asked, settled);
    const Millis left = until - clock_.now();
    if (asked.empty() || left <= Millis{0}) return;
    for (auto envelope = transport_.receive(std::min(left, kTurn)); envelope;
         envelope = transport_.receive(Millis{0}))
      take(*envelope);
    watch_nodes();
    for (auto ready = verdicts_.take_ready(); !ready.empty(); ready = verdicts_.take_ready())
      for (const TrialId k : ready) advance(k);
    acknowledge();
    show_progress();
  }
}

Ending Controller::close() {
  Ending ending = closing_.value_or(Ending{"completed", ""});
  if (ending.state == "interrupted") drain(Millis{save_time_ms_.load()});
  std::vector<TrialId> running;
  for (const auto& [k, live] : live_)
    if (live.place || trial(k).state == TrialState::running) running.push_back(k);
  std::sort(running.begin(), running.end());
  for (const TrialId k : running) {
    Live& live = live_.at(k);
    if (saves()) stopped_now_.push_back(k);
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
