#include "trainers/cnn/cuda/fused.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

namespace brood::cnn::cuda {

namespace {

// What one slot sees of the engine.
class FusedTraining : public Training {
 public:
  FusedTraining(std::shared_ptr<FusedEngine> engine, TrainingInput input, Assignment assignment)
      : engine_(std::move(engine)), input_(std::move(input)), assignment_(std::move(assignment)) {
    admit();
  }
  ~FusedTraining() override {
    if (trial_) engine_->remove(*trial_);
  }

  // The engine trains; here is only asked what came of it.
  std::optional<Report> step() override {
    if (!trial_) admit();
    return trial_ ? engine_->take_report(*trial_) : std::nullopt;
  }
  void save(const std::string& path) const override {
    if (!trial_) throw UserError("the trial waits for a place on the device");
    engine_->save(*trial_, path);
  }
  bool saves_any_time() const override { return trial_.has_value(); }
  std::int64_t steps() const override { return trial_ ? engine_->steps(*trial_) : -1; }

 protected:
  FusedEngine& engine() const { return *engine_; }
  bool waits() const { return !trial_; }

 private:
  // Not again before there may be room.
  void admit() {
    if (std::exchange(tried_, engine_->changes()) == engine_->changes()) return;
    if (!needs_) needs_ = engine_->needs_of(input_);
    trial_ = engine_->admit(input_, *needs_, assignment_);
    if (trial_) needs_.reset();
  }

  const std::shared_ptr<FusedEngine> engine_;
  const TrainingInput input_;
  const Assignment assignment_;
  std::optional<FusedEngine::Needs> needs_;  // while it waits
  std::optional<int> trial_;                 // nullopt: it waits for room
  std::uint64_t tried_ = 0;                  // changes when it was last tried
};

// The only trial of its engine, which it drives itself.
class LoneTraining final : public FusedTraining {
 public:
  using FusedTraining::FusedTraining;

  std::optional<Report> step() override {
    constexpr Millis kSlice{50};
    if (waits()) std::this_thread::sleep_for(kSlice);  // others use the device's memory
    engine().advance(waits() ? Millis{0} : kSlice);
    return FusedTraining::step();
  }
  void save(const std::string& path) const override {
    if (waits())
      throw UserError("the training waits for memory of the GPU: there is nothing to save");
    FusedTraining::save(path);
  }
  std::int64_t steps() const override { return waits() ? 0 : FusedTraining::steps(); }
};

class Fused final : public Trainer {
 public:
  Fused(Offer offer, const std::string& objective, const MakeInput& make_input,
        std::shared_ptr<FusedEngine> engine)
      : offer_(std::move(offer)), engine_(std::move(engine)) {
    offer_.numeric_class = engine_->numeric_class();
    for (int i = 0; i < offer_.slots; ++i)
      slots_.push_back(
          one_slot(offer_, objective, [made = engine_, make_input](const Assignment& assignment) {
            return std::make_unique<FusedTraining>(made, make_input(assignment), assignment);
          }));
  }

  Offer offer() const override {
    Offer out = offer_;
    // None at all, as others use it, is not "no limit".
    out.bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(1, engine_->arena_bytes()));
    return out;
  }
  int wait_on() const override { return -1; }
  void start(int slot, const Assignment& assignment) override {
    at(slot).start(0, assignment);
    std::erase(order_, slot);
    order_.push_back(slot);
  }
  void stop(int slot) override { at(slot).stop(0); }
  void save(int slot) override { at(slot).save(0); }

  std::vector<Event> advance(Millis slice) override {
    engine_->advance(slice);
    std::vector<Event> out;
    for (const int slot : order_)
      for (Event& event : at(slot).advance(Millis{0})) {
        event.slot = slot;
        out.push_back(std::move(event));
      }
    // A slot takes every exception for its trial's; this one is everybody's.
    if (engine_->lost()) throw DeviceLost("the device is lost; its trials run again");
    return out;
  }

 private:
  Trainer& at(int slot) { return *slots_.at(static_cast<std::size_t>(slot)); }

  Offer offer_;
  std::shared_ptr<FusedEngine> engine_;
  std::vector<std::unique_ptr<Trainer>> slots_;
  // Slots by when they were given their trials: of those that wait for room the first comes first,
  // as verdicts on later trials wait for it.
  std::vector<int> order_;
};

}  // namespace

std::unique_ptr<Trainer> make_fused(Offer offer, std::string objective, MakeInput make_input,
                                    std::unique_ptr<Runtime> runtime, FusedOptions options) {
  return std::make_unique<Fused>(std::move(offer), objective, make_input,
                                 std::make_shared<FusedEngine>(std::move(runtime), options));
}

std::unique_ptr<Training> make_lone_training(std::unique_ptr<Runtime> runtime, FusedOptions options,
                                             TrainingInput input, Assignment assignment) {
  return std::make_unique<LoneTraining>(std::make_shared<FusedEngine>(std::move(runtime), options),
                                        std::move(input), std::move(assignment));
}

}  // namespace brood::cnn::cuda
