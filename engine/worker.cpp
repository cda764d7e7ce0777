#include "engine/worker.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "engine/error.h"

namespace brood {

namespace {

// Unacknowledged frames a worker may hold before it pauses its trials: far above what a group
// commit leaves open, so only a controller that has stopped ever reaches it.
constexpr std::size_t kCredit = 4096;
constexpr Millis kResendFirst{2000};
constexpr Millis kResendLast{30000};
constexpr Millis kProgress{500};

}  // namespace

Worker::Worker(std::unique_ptr<Trainer> trainer, Hello hello, Send send)
    : trainer_(std::move(trainer)),
      hello_(std::move(hello)),
      send_(std::move(send)),
      resend_after_(kResendFirst) {
  hello_.offer = trainer_->offer();
  slots_.resize(static_cast<std::size_t>(hello_.offer.slots));
}

void Worker::begin() {
  send_(encode(hello_));
  for (int slot = 0; slot < hello_.offer.slots; ++slot) send_(encode(Idle{slot}));
}

bool Worker::busy() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const Slot& s) { return s.trial >= 0; });
}

void Worker::free_slot(int slot) {
  slots_[static_cast<std::size_t>(slot)] = {};
  send_(encode(Idle{slot}));
}

void Worker::receive(std::string_view frame, Millis now) {
  const Message message = decode(frame);
  const auto holds = [&](const auto& m) {
    const auto slot = static_cast<std::size_t>(m.slot);
    return slot < slots_.size() && slots_[slot].trial == m.trial &&
           slots_[slot].attempt == m.attempt;
  };
  if (const auto* assign = std::get_if<Assign>(&message)) {
    start(*assign);
  } else if (const auto* stop = std::get_if<Stop>(&message)) {
    if (!holds(*stop)) return;  // it ended meanwhile
    trainer_->stop(stop->slot);
    free_slot(stop->slot);
  } else if (const auto* save = std::get_if<Save>(&message)) {
    if (holds(*save)) trainer_->save(save->slot);
  } else if (const auto* ack = std::get_if<Ack>(&message)) {
    while (!unacknowledged_.empty() && unacknowledged_.front().first <= ack->sequence)
      unacknowledged_.pop_front();
    last_sent_ = now;
    resend_after_ = kResendFirst;
  } else {
    throw UserError("a worker cannot obey this frame: " + std::string(frame.substr(0, 80)));
  }
}

void Worker::start(const Assign& assign) {
  const auto index = static_cast<std::size_t>(assign.slot);
  if (index >= slots_.size() || slots_[index].trial >= 0)
    throw UserError("trial " + std::to_string(assign.assignment.trial) + " was assigned to slot " +
                    std::to_string(assign.slot) + ", which is not free");
  slots_[index] = {assign.assignment.trial, assign.assignment.attempt, Millis{-1000}};
  Event failed;
  failed.kind = Event::Kind::failed;
  failed.slot = assign.slot;
  try {
    trainer_->start(assign.slot, assign.assignment);
    return;
  } catch (const TrialFailure& failure) {
    failed.cause = failure.cause();
    failed.why = failure.what();
  } catch (const std::exception& error) {
    failed.cause = Cause::trainer;
    failed.why = error.what();
  }
  tell(failed, last_sent_);
  free_slot(assign.slot);
}

void Worker::tell(const Event& event, Millis now) {
  Slot& slot = slots_[static_cast<std::size_t>(event.slot)];
  if (slot.trial < 0) return;
  if (event.kind == Event::Kind::progress) {
    if (now - slot.progress_sent < kProgress) return;
    slot.progress_sent = now;
    send_(encode(Told{0, slot.trial, slot.attempt, event}));
    return;
  }
  std::string frame = encode(Told{++sequence_, slot.trial, slot.attempt, event});
  send_(frame);
  if (unacknowledged_.empty()) last_sent_ = now;
  unacknowledged_.emplace_back(sequence_, std::move(frame));
}

void Worker::turn(Millis slice, Millis now) {
  if (!unacknowledged_.empty() && now - last_sent_ > resend_after_) {
    for (const auto& [sequence, frame] : unacknowledged_) send_(frame);
    last_sent_ = now;
    resend_after_ = std::min(2 * resend_after_, kResendLast);
  }
  if (unacknowledged_.size() >= kCredit) return;
  const std::vector<Event> events = trainer_->advance(slice);
  if (const Offer offer = trainer_->offer(); offer.bytes != hello_.offer.bytes) {
    hello_.offer.bytes = offer.bytes;  // others have left a device memory
    send_(encode(hello_));
  }
  for (const Event& event : events) {
    tell(event, now);
    if (event.kind == Event::Kind::ended || event.kind == Event::Kind::failed)
      free_slot(event.slot);
  }
}

}  // namespace brood
