// The worker's side of the protocol: obeys frames, drives the trainer, tells what became of trials
// until it is acknowledged.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/message.h"
#include "engine/trainer.h"

namespace brood {

// One thread. No system calls of its own, so the simulation runs this very class.
class Worker {
 public:
  using Send = std::function<void(std::string_view frame)>;

  // hello.offer is filled from the trainer.
  Worker(std::unique_ptr<Trainer> trainer, Hello hello, Send send);

  // Says hello and offers every slot.
  void begin();

  // Assign, Stop, Save, Ack; anything else throws UserError.
  void receive(std::string_view frame, Millis now);

  // Lets the trainer work for about `slice` and sends what happened; resends what was not
  // acknowledged for a while.
  void turn(Millis slice, Millis now);

  bool busy() const;  // a slot holds a trial
  int wait_on() const { return trainer_->wait_on(); }
  bool unacknowledged() const { return !unacknowledged_.empty(); }

 private:
  struct Slot {
    TrialId trial = -1;
    int attempt = 0;
    Millis progress_sent{-1000};
  };
  void start(const Assign& assign);
  void tell(const Event& event, Millis now);
  void free_slot(int slot);

  std::unique_ptr<Trainer> trainer_;
  Hello hello_;
  Send send_;
  std::vector<Slot> slots_;
  std::int64_t sequence_ = 0;
  std::deque<std::pair<std::int64_t, std::string>> unacknowledged_;
  Millis last_sent_{0};
  Millis resend_after_;
};

}  // namespace brood
