#include "tests/toy.h"

#include <bit>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/rng.h"

namespace brood {

namespace {

double share_of(const ParamSet& params, std::uint64_t salt) {
  return Rng(hash(params), salt, Purpose::synthetic).uniform();
}

double size_of(const ParamSet& params) {
  const Value* depth = params.find("depth");
  double real = 0.0;
  return depth != nullptr && as_real(*depth, real) ? 2.0 + real : 1.0;
}

double quality_of(const ParamSet& params) {
  double quality = 0.0;
  for (const auto& [name, value] : params.entries()) {
    double real = 0.0;
    if (!as_real(value, real)) real = 0.25 * static_cast<double>(to_text(value).size());
    quality -= (real - 0.3) * (real - 0.3);
  }
  return quality;
}

class Toy final : public Trainer {
 public:
  explicit Toy(ToyOptions options) : options_(options) {}

  Offer offer() const override { return {"toy", "any", 1, 0}; }
  void start(int, const Assignment& assignment) override {
    assignment_ = assignment;
    epoch_ = assignment.first_epoch - 1;
    state_ = 0.0;
    step_ = 0;
    saving_.clear();
    save_asked_ = false;
    if (!assignment.resume_from.empty()) load(assignment.resume_from);
    if (options_.nondeterministic) state_ += 0.01 * assignment.attempt;
    busy_ = true;
  }
  void stop(int) override { busy_ = false; }
  void save(int) override { save_asked_ = !assignment_.save_dir.empty(); }
  int wait_on() const override { return -1; }

  std::vector<Event> advance(Millis) override {
    std::vector<Event> events;
    if (!busy_) return events;
    if (!saving_.empty()) {
      finish_saving(events);
      if (epoch_ == assignment_.last_epoch) end(Event::Kind::ended, Cause::none, "", events);
      return events;
    }
    const auto steps =
        1 + Rng(assignment_.seed, static_cast<std::uint64_t>(epoch_), Purpose::synthetic)
                .below(static_cast<std::uint64_t>(options_.steps_max));
    if (++step_ < static_cast<int>(steps)) {
      Event event;
      event.step = step_;
      return {event};
    }
    step_ = 0;
    ++epoch_;
    train(static_cast<double>(steps), events);
    return events;
  }

 private:
  void train(double steps, std::vector<Event>& events) {
    const ParamSet& params = assignment_.params;
    if (epoch_ == 2 && share_of(params, 1) < options_.crash_share) throw ToyCrash{};
    if (epoch_ == 2 && share_of(params, 2) < options_.throw_share)
      return end(Event::Kind::failed, Cause::trainer, "this point throws", events);
    const bool nan = epoch_ == 3 && share_of(params, 3) < options_.nan_share;
    state_ =
        0.5 * state_ +
        Rng(assignment_.seed, static_cast<std::uint64_t>(epoch_), Purpose::synthetic).uniform();
    const double score = quality_of(params) - 1.0 / (1.0 + epoch_) + 0.05 * state_;
    Event event;
    event.kind = Event::Kind::report;
    event.report.epoch = epoch_;
    event.report.metrics = {{"score", nan ? std::numeric_limits<double>::quiet_NaN() : score, true},
                            {"size", size_of(params), true},
                            {"seconds", steps, false}};
    events.push_back(event);
    if (nan) return end(Event::Kind::failed, Cause::nan, "score became NaN", events);
    const bool last = epoch_ == assignment_.last_epoch;
    const int every = assignment_.save_every_epochs;
    const bool due = every > 0 && (last || epoch_ % every == 0);
    if (!assignment_.save_dir.empty() && (due || save_asked_))
      begin_saving();
    else if (last)
      end(Event::Kind::ended, Cause::none, "", events);
  }

  void begin_saving() {
    save_asked_ = false;
    std::filesystem::create_directories(assignment_.save_dir);
    saving_ = assignment_.save_dir + "/epoch_" + std::to_string(epoch_) + ".ckpt";
    std::ofstream(beside()) << "toy " << assignment_.seed << ' ' << epoch_ << ' '
                            << std::bit_cast<std::uint64_t>(state_) << " whole\n";
  }

  void finish_saving(std::vector<Event>& events) {
    std::error_code gone;  // an attempt that was given up finds its file swept away
    std::filesystem::rename(beside(), saving_, gone);
    Event saved;
    saved.kind = Event::Kind::saved;
    saved.epoch = epoch_;
    saved.path = saving_;
    if (!gone) events.push_back(saved);
    saving_.clear();
  }
  // As if with the process's number.
  std::string beside() const {
    return saving_ + "." + std::to_string(assignment_.attempt) + ".tmp";
  }

  void load(const std::string& path) {
    std::ifstream file(path);
    std::string tag, whole;
    std::uint64_t seed = 0, bits = 0;
    int epoch = 0;
    if (!(file >> tag >> seed >> epoch >> bits >> whole) || whole != "whole" || epoch != epoch_ ||
        seed != assignment_.seed)
      throw TrialFailure(Cause::checkpoint, path + " is not the checkpoint that was asked for");
    state_ = std::bit_cast<double>(bits);
  }

  void end(Event::Kind kind, Cause cause, const std::string& why, std::vector<Event>& events) {
    busy_ = false;
    Event event;
    event.kind = kind;
    event.epoch = epoch_;
    event.cause = cause;
    event.why = why;
    events.push_back(event);
  }

  ToyOptions options_;
  Assignment assignment_;
  int epoch_ = 0, step_ = 0;
  double state_ = 0.0;
  std::string saving_;  // the checkpoint that has its content, but not its name yet
  bool busy_ = false, save_asked_ = false;
};

class ToyPlanner final : public Planner {
 public:
  explicit ToyPlanner(int epochs) : epochs_(epochs) {}
  Estimate estimate(const ParamSet& params) const override {
    Estimate out;
    out.epochs = epochs_;
    out.parameters = static_cast<std::int64_t>(1000.0 * size_of(params));
    double x = 0.0;
    const Value* value = params.find("x");
    const bool large = value != nullptr && as_real(*value, x) && x > 0.3;
    out.bytes = std::uint64_t{large ? 100U : 1U} << 20;
    return out;
  }

 private:
  int epochs_;
};

}  // namespace

std::unique_ptr<Trainer> make_toy(ToyOptions options) { return std::make_unique<Toy>(options); }

std::unique_ptr<Planner> make_toy_planner(int epochs) {
  return std::make_unique<ToyPlanner>(epochs);
}

}  // namespace brood
