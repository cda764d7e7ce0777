#include "engine/supervisor.h"

#include <sys/wait.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "engine/error.h"
#include "engine/spawn.h"

namespace brood {

namespace {

constexpr Millis kBeat{1000};
constexpr Millis kStoodStill{1000};  // between two ticks, which come every 50 ms
// A stopped trial's slot must come free within this; a worker that ignores a stop is hung.
constexpr Millis kStopGrace{15000};
constexpr int kEarlyDeathsMax = 3;
// Before a worker is replaced that did not come as far as its hello, times their number.
constexpr Millis kRestartPause{200};

std::string seconds(Millis time) {
  const auto tenths = (time.count() + 50) / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

// Of a worker with all its slots, itself included; the variable is for one trial. No key of the
// config: it says something about the host, where other programs run too.
int processes_limit(const Setup& setup) {
  constexpr int kUsual = 1000;
  const int trials = std::max(1, setup.trainer.slots);
  const char* const text = std::getenv("BROOD_MAX_PROCESSES");
  if (text == nullptr) return kUsual * trials;
  int limit = 0;
  const char* const end = text + std::strlen(text);
  const auto [rest, wrong] = std::from_chars(text, end, limit);
  if (wrong != std::errc() || rest != end || limit < 0 || limit > 1'000'000)
    throw UserError(std::string("BROOD_MAX_PROCESSES is \"") + text +
                    "\": it takes the number of processes that a trial may have, 0 for no limit");
  return limit * trials;
}

}  // namespace

Supervisor::Supervisor(int node, NodeHello self, ProcessHost& processes, Uplink uplink)
    : node_(node), self_(std::move(self)), processes_(processes), uplink_(std::move(uplink)) {}

void Supervisor::begin(Millis now) {
  next_beat_ = now;  // the free memory is known before the first trial starts
  uplink_({node_, 0}, encode(self_));
}

void Supervisor::from_controller(int worker, std::string_view frame, Millis now) {
  const Message message = decode(frame);
  if (worker == 0) return obey(message, now);
  const auto child = children_.find(worker);
  if (child == children_.end()) return;  // it ended meanwhile; its Lost is on the way
  if (const auto* assign = std::get_if<Assign>(&message)) {
    Slot& slot = child->second.slots[assign->slot];
    slot = {assign->assignment.trial, assign->assignment.attempt, now, now, std::nullopt, 0};
  } else if (const auto* stop = std::get_if<Stop>(&message)) {
    const auto slot = child->second.slots.find(stop->slot);
    if (slot != child->second.slots.end() && slot->second.trial == stop->trial)
      slot->second.stop_asked = now;
  }
  processes_.send(worker, frame);
}

void Supervisor::obey(const Message& message, Millis now) {
  if (const auto* setup = std::get_if<Setup>(&message)) {
    if (setup_) return;
    setup_ = *setup;
    leased_until_ = now + Millis(setup->lease_ms);
    for (int i = 0; i < setup->workers; ++i) start_worker(i);
  } else if (std::get_if<Lease>(&message) != nullptr) {
    if (setup_) leased_until_ = now + Millis(setup_->lease_ms);
  } else if (const auto* kill = std::get_if<Kill>(&message)) {
    end_child(kill->worker, Cause::lost, kill->why);
  } else if (std::get_if<Shutdown>(&message) != nullptr) {
    shutting_down_ = true;
    for (const auto& [worker, child] : children_) processes_.kill(worker);
  }
}

void Supervisor::start_worker(int place) {
  const int worker = next_worker_++;
  children_[worker].place = place;
  ProcessLimits limits;
  limits.memory = memory_limit();
  limits.processes = processes_limit(*setup_);
  if (!setup_->log_dir.empty())
    limits.log = setup_->log_dir + "/worker_" + std::to_string(node_) + "_" +
                 std::to_string(worker) + ".log";
  processes_.start(worker, limits);
  Setup setup = *setup_;
  if (const int devices = static_cast<int>(setup.devices.size()); devices > 0) {
    setup.trainer.device = setup.devices[static_cast<std::size_t>(place % devices)];
    setup.trainer.share = place / devices;
    setup.trainer.shares = std::max(1, setup.workers / devices);
  }
  processes_.send(worker, encode(setup));
}

void Supervisor::end_child(int worker, Cause cause, std::string why) {
  const auto at = children_.find(worker);
  if (at == children_.end() || at->second.killed_for) return;
  at->second.killed_for = cause;
  at->second.why = std::move(why);
  processes_.kill(worker);
}

void Supervisor::from_worker(int worker, std::string_view frame, Millis now) {
  const auto at = children_.find(worker);
  if (at == children_.end()) return;
  Child& child = at->second;
  if (child.killed_for) return;  // its last words would contradict the Lost that follows
  try {
    const Message message = decode(frame);
    if (std::get_if<Hello>(&message) != nullptr) {
      child.greeted = true;
      early_deaths_ = 0;
    } else if (const auto* idle = std::get_if<Idle>(&message)) {
      child.slots[idle->slot] = Slot{};
    } else if (const auto* told = std::get_if<Told>(&message)) {
      Slot& slot = child.slots[told->event.slot];
      if (told->event.kind == Event::Kind::progress) {
        slot.step = told->event.step;
        if (slot.step < 0) slot.assigned = slot.heard = now;  // it has not begun (Training::steps)
        return;
      }
      child.sequence = std::max(child.sequence, told->sequence);
      if (slot.trial == told->trial && slot.attempt == told->attempt) slot.heard = now;
    }
  } catch (const UserError& error) {
    end_child(worker, Cause::protocol, std::string("the worker sent ") + error.what());
    return;
  }
  uplink_({node_, worker}, frame);
}

Lost Supervisor::lost(int worker, const Child& child, const Exit& exit) const {
  Lost out;
  out.worker = worker;
  out.sequence = child.sequence;
  out.log_tail = exit.log_tail;
  out.max_rss = exit.max_rss;
  out.trial = child.culprit;
  if (child.killed_for) {
    out.cause = *child.killed_for;
    out.why = child.why;
  } else if (exit.broken_stream) {
    out.cause = Cause::protocol;
    out.why = "the worker wrote bytes into its control socket that are no frames";
  } else if (exit.over_processes) {
    out.cause = Cause::memory;
    out.why = "more than " + std::to_string(processes_limit(*setup_)) +
              " processes at a time (BROOD_MAX_PROCESSES): it starts them without end, or needs a "
              "greater limit";
  } else if (exit.over_memory) {
    out.cause = Cause::memory;
    out.why =
        "the worker went over its memory limit of " + std::to_string(memory_limit() >> 20) + " MiB";
  } else if (WIFSIGNALED(exit.status)) {
    const int signal = WTERMSIG(exit.status);
    out.cause = own_fault(signal) ? Cause::signal : Cause::lost;
    out.why = std::string("the worker was killed by signal ") + std::to_string(signal) + " (" +
              strsignal(signal) + ")" + (own_fault(signal) ? "" : " from outside");
  } else {
    out.cause = Cause::exit_status;
    out.why = "the worker ended with status " + std::to_string(WEXITSTATUS(exit.status));
  }
  return out;
}

void Supervisor::exited(int worker, const Exit& exit, Millis now) {
  const auto at = children_.find(worker);
  CHECK(at != children_.end(), "an unknown child ended");
  Lost out = lost(worker, at->second, exit);
  if (!at->second.greeted) ++early_deaths_;
  const int place = at->second.place;
  children_.erase(at);
  const bool others = std::any_of(children_.begin(), children_.end(),
                                  [](const auto& entry) { return entry.second.greeted; });
  out.last = (early_deaths_ >= kEarlyDeathsMax && !others) || lease_lost_;
  uplink_({node_, 0}, encode(out));
  if (shutting_down_ || out.last) return;
  if (early_deaths_ == 0)
    start_worker(place);
  else
    starts_.emplace_back(now + kRestartPause * early_deaths_, place);
}

// Of a worker with all its slots. On a GPU memory_per_trial is the device's, of which the trainer
// keeps account; its driver alone maps more of the host's than a small trial may have.
std::uint64_t Supervisor::memory_limit() const {
  if (!architecture_of(setup_->trainer.numeric_class).empty()) return 0;
  return setup_->trainer.memory_per_trial *
         static_cast<std::uint64_t>(std::max(1, setup_->trainer.slots));
}

void Supervisor::watch_slots(int worker, Child& child, Millis now) {
  for (const auto& [number, slot] : child.slots) {
    if (slot.trial < 0) continue;
    if (setup_->max_trial_ms > 0 && now - slot.assigned > Millis(setup_->max_trial_ms)) {
      if (!child.killed_for) child.culprit = slot.trial;
      end_child(worker, Cause::deadline,
                "trial " + std::to_string(slot.trial) + " ran longer than max_trial_time (" +
                    seconds(Millis(setup_->max_trial_ms)) + ")");
    } else if (setup_->report_timeout_ms > 0 &&
               now - slot.heard > Millis(setup_->report_timeout_ms))
      end_child(worker, Cause::silence,
                "trial " + std::to_string(slot.trial) + " did not report within report_timeout (" +
                    seconds(Millis(setup_->report_timeout_ms)) + ")");
    else if (slot.stop_asked && now - *slot.stop_asked > kStopGrace)
      end_child(worker, Cause::lost,
                "the worker did not stop trial " + std::to_string(slot.trial) + " within " +
                    seconds(kStopGrace));
  }
}

// Stopped and continued, this process has not listened for a while: what its workers and the
// controller said meanwhile, and whether that has given this node up, is heard next.
void Supervisor::forgive(Millis now, Millis stood_still) {
  leased_until_ = std::max(leased_until_, now + Millis(setup_->lease_ms));
  for (auto& [worker, child] : children_)
    for (auto& [number, slot] : child.slots) {
      slot.assigned += stood_still;
      slot.heard += stood_still;
      if (slot.stop_asked) *slot.stop_asked += stood_still;
    }
}

void Supervisor::tick(Millis now) {
  if (setup_ && ticked_ && now - *ticked_ > kStoodStill) forgive(now, now - *ticked_);
  ticked_ = now;
  if (setup_ && setup_->lease_ms > 0 && now > leased_until_ && !lease_lost_ && !shutting_down_) {
    lease_lost_ = true;
    for (auto& [worker, child] : children_)
      end_child(worker, Cause::lost,
                "the controller was silent for " + seconds(Millis(setup_->lease_ms)));
  }
  for (auto& [worker, child] : children_) watch_slots(worker, child, now);
  for (; !starts_.empty() && now >= starts_.front().first && !shutting_down_; starts_.pop_front())
    start_worker(starts_.front().second);
  if (now >= next_beat_) beat(now);
}

void Supervisor::beat(Millis now) {
  next_beat_ = now + kBeat;
  Beat out;
  for (auto& [worker, child] : children_) {
    const std::uint64_t rss = processes_.memory_in_use(worker);
    for (const auto& [number, slot] : child.slots)
      out.slots.push_back({worker, number, slot.trial, slot.step, rss});
  }
  out.free = processes_.memory_free();
  uplink_({node_, 0}, encode(out));
}

}  // namespace brood
