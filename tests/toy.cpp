#include "tests/toy.h"

#include <limits>

#include "engine/rng.h"

namespace brood {

namespace {

double share_of(const ParamSet& params, std::uint64_t salt) {
  return Rng(hash(params), salt, Purpose::synthetic).uniform();
}

class Toy final : public Trainer {
 public:
  explicit Toy(ToyOptions options) : options_(options) {}

  Offer offer() const override { return {"toy", "any", 1, 0}; }
  void start(int, const Assignment& assignment) override {
    assignment_ = assignment;
    epoch_ = assignment.first_epoch - 1;
    step_ = 0;
    busy_ = true;
  }
  void stop(int) override { busy_ = false; }
  void save(int) override {}
  int wait_on() const override { return -1; }

  std::vector<Event> advance(Millis) override {
    std::vector<Event> events;
    if (!busy_) return events;
    const auto steps =
        1 + Rng(assignment_.seed, static_cast<std::uint64_t>(epoch_), Purpose::synthetic)
                .below(static_cast<std::uint64_t>(options_.steps_max));
    Event event;
    if (++step_ < static_cast<int>(steps)) {
      event.step = step_;
      return {event};
    }
    step_ = 0;
    ++epoch_;
    const ParamSet& params = assignment_.params;
    if (epoch_ == 2 && share_of(params, 1) < options_.crash_share) throw ToyCrash{};
    if (epoch_ == 2 && share_of(params, 2) < options_.throw_share) {
      busy_ = false;
      event.kind = Event::Kind::failed;
      event.cause = Cause::trainer;
      event.why = "this point throws";
      return {event};
    }
    const bool nan = epoch_ == 3 && share_of(params, 3) < options_.nan_share;
    event.kind = Event::Kind::report;
    event.report.epoch = epoch_;
    event.report.metrics = {{"score",
                             nan ? std::numeric_limits<double>::quiet_NaN()
                                 : toy_score(params, assignment_.seed, epoch_),
                             true},
                            {"seconds", static_cast<double>(steps), false}};
    events.push_back(event);
    if (epoch_ == assignment_.last_epoch || nan) {
      busy_ = false;
      Event end;
      end.kind = nan ? Event::Kind::failed : Event::Kind::ended;
      end.epoch = epoch_;
      end.cause = nan ? Cause::nan : Cause::none;
      end.why = nan ? "score became NaN" : "";
      events.push_back(end);
    }
    return events;
  }

 private:
  ToyOptions options_;
  Assignment assignment_;
  int epoch_ = 0, step_ = 0;
  bool busy_ = false;
};

class ToyPlanner final : public Planner {
 public:
  explicit ToyPlanner(int epochs) : epochs_(epochs) {}
  Estimate estimate(const ParamSet&) const override {
    Estimate out;
    out.epochs = epochs_;
    return out;
  }

 private:
  int epochs_;
};

}  // namespace

double toy_score(const ParamSet& params, std::uint64_t seed, int epoch) {
  double quality = 0.0;
  for (const auto& [name, value] : params.entries()) {
    double real = 0.0;
    if (!as_real(value, real)) real = 0.25 * static_cast<double>(to_text(value).size());
    quality -= (real - 0.3) * (real - 0.3);
  }
  const double noise = Rng(seed, static_cast<std::uint64_t>(epoch), Purpose::synthetic).uniform();
  return quality - 1.0 / (1.0 + epoch) + 0.05 * noise;
}

std::unique_ptr<Trainer> make_toy(ToyOptions options) { return std::make_unique<Toy>(options); }

std::unique_ptr<Planner> make_toy_planner(int epochs) {
  return std::make_unique<ToyPlanner>(epochs);
}

}  // namespace brood
