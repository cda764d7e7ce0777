// The usual trainer: one trial at a time, trained in this process.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <utility>

#include "engine/trainer.h"

namespace brood {

namespace {

class OneSlot final : public Trainer {
 public:
  OneSlot(Offer offer, std::string objective, TrainingFactory factory)
      : offer_(std::move(offer)), objective_(std::move(objective)), factory_(std::move(factory)) {
    offer_.slots = 1;
  }

  Offer offer() const override { return offer_; }
  int wait_on() const override { return -1; }

  // The training itself is made in advance(): reading data takes its time, and a failure to do so
  // is an event like any other.
  void start(int slot, const Assignment& assignment) override {
    CHECK(slot == 0 && !assigned_, "slot " + std::to_string(slot) + " is taken");
    assigned_ = true;
    assignment_ = assignment;
    reported_epoch_ = assignment.first_epoch - 1;
    save_asked_ = false;
    worth_saving_ = false;
  }

  void stop(int) override { release(); }

  void save(int) override {
    if (assigned_ && !assignment_.save_dir.empty()) save_asked_ = true;
  }

  std::vector<Event> advance(Millis slice) override;

 private:
  void work(Millis slice, std::vector<Event>& events);
  void after_report(Report report, std::vector<Event>& events);
  void save_checkpoint(const std::string& within_epoch, std::vector<Event>& events);
  void weigh(const Metric* objective);
  void release() {
    training_.reset();
    assigned_ = false;
  }
  void fail(Cause cause, std::string why, std::vector<Event>& events) {
    Event event;
    event.kind = Event::Kind::failed;
    event.cause = cause;
    event.why = std::move(why);
    events.push_back(std::move(event));
    release();
  }

  Offer offer_;
  std::string objective_;
  TrainingFactory factory_;

  bool assigned_ = false;
  Assignment assignment_;
  std::unique_ptr<Training> training_;
  int reported_epoch_ = 0;
  bool save_asked_ = false;
  bool worth_saving_ = false;  // after the last epoch
};

std::vector<Event> OneSlot::advance(Millis slice) {
  std::vector<Event> events;
  if (!assigned_) return events;
  try {
    work(slice, events);
  } catch (const TrialFailure& failure) {
    fail(failure.cause(), failure.what(), events);
  } catch (const std::bad_alloc&) {
    fail(Cause::memory, "an allocation failed: the memory limit is reached", events);
  } catch (const std::exception& error) {
    fail(Cause::trainer, error.what(), events);
  }
  return events;
}

void OneSlot::work(Millis slice, std::vector<Event>& events) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point until = Clock::now() + slice;
  if (!training_) training_ = factory_(assignment_);
  while (true) {
    if (reported_epoch_ >= assignment_.last_epoch) {
      Event ended;
      ended.kind = Event::Kind::ended;
      ended.epoch = reported_epoch_;
      events.push_back(std::move(ended));
      release();
      return;
    }
    if (std::optional<Report> report = training_->step()) {
      after_report(std::move(*report), events);
      // A report is told at once, so that a verdict is not delayed; the end comes with the last.
      if (!assigned_ || reported_epoch_ < assignment_.last_epoch) return;
      continue;
    }
    if (save_asked_ && training_->saves_any_time())
      save_checkpoint("_step_" + std::to_string(training_->steps()), events);
    if (Clock::now() >= until) break;
  }
  Event progress;
  progress.kind = Event::Kind::progress;
  progress.step = training_->steps();
  events.push_back(std::move(progress));
}

void OneSlot::after_report(Report report, std::vector<Event>& events) {
  CHECK(report.epoch == reported_epoch_ + 1, "epoch " + std::to_string(report.epoch) +
                                                 " was reported after epoch " +
                                                 std::to_string(reported_epoch_));
  reported_epoch_ = report.epoch;
  const Metric* const objective = report.find(objective_);
  weigh(objective);
  const bool nan = objective != nullptr && std::isnan(objective->value);
  Event event;
  event.kind = Event::Kind::report;
  event.report = std::move(report);
  events.push_back(std::move(event));
  if (nan) {
    fail(Cause::nan, objective_ + " became NaN in epoch " + std::to_string(reported_epoch_),
         events);
    return;
  }
  const int every = assignment_.save_every_epochs;
  const bool last = reported_epoch_ == assignment_.last_epoch;
  const bool due = every > 0 && (last ? worth_saving_ : reported_epoch_ % every == 0);
  if ((due || save_asked_) && !assignment_.save_dir.empty()) save_checkpoint("", events);
}

// Is what was just reported better than what is kept already?
void OneSlot::weigh(const Metric* objective) {
  const auto& worth = assignment_.save_last_if;
  if (!worth) {
    worth_saving_ = true;
    return;
  }
  const bool better =
      objective != nullptr && (worth->maximize ? objective->value > worth->better_than
                                               : objective->value < worth->better_than);
  worth_saving_ = better || (worth->any_epoch && worth_saving_);
}

// within_epoch: how the name goes on for one that holds more than whole epochs.
void OneSlot::save_checkpoint(const std::string& within_epoch, std::vector<Event>& events) {
  save_asked_ = false;
  namespace fs = std::filesystem;
  const fs::path path = fs::path(assignment_.save_dir) /
                        ("epoch_" + std::to_string(reported_epoch_) + within_epoch + ".ckpt");
  // A checkpoint saves time, never an answer: a full disk must not fail the trial.
  try {
    fs::create_directories(path.parent_path());
    training_->save(path.string());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trial %lld: no checkpoint after epoch %d: %s\n",
                 static_cast<long long>(assignment_.trial), reported_epoch_, error.what());
    return;
  }
  Event saved;
  saved.kind = Event::Kind::saved;
  saved.epoch = reported_epoch_;
  saved.path = path.string();
  events.push_back(std::move(saved));
}

}  // namespace

std::unique_ptr<Trainer> one_slot(Offer offer, std::string objective, TrainingFactory factory) {
  return std::make_unique<OneSlot>(std::move(offer), std::move(objective), std::move(factory));
}

}  // namespace brood
