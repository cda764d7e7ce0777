// A worker with several trials, each trained by a trainer of its own in turn.
#include <algorithm>
#include <utility>

#include "engine/trainer.h"

namespace brood {

namespace {

class ManySlots final : public Trainer {
 public:
  explicit ManySlots(std::vector<std::unique_ptr<Trainer>> slots) : slots_(std::move(slots)) {
    CHECK(!slots_.empty(), "a trainer without slots");
  }

  Offer offer() const override {
    Offer out = slots_.front()->offer();
    out.slots = static_cast<int>(slots_.size());
    return out;
  }
  int wait_on() const override { return -1; }

  void start(int slot, const Assignment& assignment) override { at(slot).start(0, assignment); }
  void stop(int slot) override { at(slot).stop(0); }
  void save(int slot) override { at(slot).save(0); }

  std::vector<Event> advance(Millis slice) override {
    const Millis each = std::max(slice / static_cast<int>(slots_.size()), Millis{1});
    std::vector<Event> out;
    for (std::size_t slot = 0; slot < slots_.size(); ++slot)
      for (Event& event : slots_[slot]->advance(each)) {
        event.slot = static_cast<int>(slot);
        out.push_back(std::move(event));
      }
    return out;
  }

 private:
  Trainer& at(int slot) { return *slots_.at(static_cast<std::size_t>(slot)); }

  std::vector<std::unique_ptr<Trainer>> slots_;
};

}  // namespace

std::unique_ptr<Trainer> many_slots(std::vector<std::unique_ptr<Trainer>> slots) {
  return std::make_unique<ManySlots>(std::move(slots));
}

}  // namespace brood
