#include "cli/plan_schedule.h"

#include <algorithm>
#include <queue>

#include "engine/rng.h"
#include "engine/verdicts.h"

namespace brood {

namespace {

class Simulation {
 public:
  Simulation(const Strategy& strategy, const Stopper* stopper, int verdict_lag,
             const std::vector<TrialCost>& costs, std::int64_t trials, int executors)
      : strategy_(strategy),
        verdicts_(stopper, verdict_lag),
        costs_(costs),
        trials_max_(trials),
        free_(executors),
        executors_(executors) {}

  Schedule run() {
    start_trials();
    while (!epochs_.empty()) {
      const EpochEnd end = epochs_.top();
      epochs_.pop();
      if (trials_[end.trial].ended) continue;  // stopped meanwhile; its executor is free already
      now_ = end.time;
      train(end.trial);
      for (auto ready = verdicts_.take_ready(); !ready.empty(); ready = verdicts_.take_ready())
        for (const TrialId k : ready) judge(static_cast<std::size_t>(k), true);
      start_trials();
    }
    out_.duration = now_;
    const double available = now_ * executors_;
    out_.busy = available > 0 ? std::min(1.0, busy_ / available) : 1.0;
    return out_;
  }

 private:
  struct Running {
    TrialCost cost;
    double quality = 0.0;
    std::vector<double> values;  // trained so far
    int official = 0;            // epochs with a verdict
    int reached = 0;             // the last epoch that peers know
    double begun = 0.0;          // the current epoch
    bool ended = false;
  };
  struct EpochEnd {
    double time = 0.0;
    std::size_t trial = 0;
    friend bool operator<(const EpochEnd& a, const EpochEnd& b) {
      return a.time != b.time ? a.time > b.time : a.trial > b.trial;  // earliest on top
    }
  };

  void start_trials() {
    while (free_ > 0 && static_cast<std::int64_t>(trials_.size()) < trials_max_) {
      while (settled_ < trials_.size() && trials_[settled_].ended) ++settled_;
      const auto k = static_cast<TrialId>(trials_.size());
      if (strategy_.horizon(k) > static_cast<TrialId>(settled_)) return;
      Running trial;
      trial.cost = costs_[trials_.size() % costs_.size()];
      trial.quality = Rng(0, static_cast<std::uint64_t>(k), Purpose::simulate).normal();
      trials_.push_back(std::move(trial));
      verdicts_.add();
      --free_;
      begin_epoch(trials_.size() - 1);
    }
  }

  void begin_epoch(std::size_t k) {
    Running& trial = trials_[k];
    trial.begun = now_;
    if (static_cast<int>(trial.values.size()) > trial.official) ++out_.blind;
    epochs_.push({now_ + trial.cost.epoch_cost, k});
  }

  void train(std::size_t k) {
    Running& trial = trials_[k];
    const double epoch = static_cast<double>(trial.values.size() + 1);
    Rng noise = Rng(0, k, Purpose::simulate).split(static_cast<std::uint32_t>(epoch));
    trial.values.push_back(trial.quality - 3.0 / epoch + 0.2 * noise.normal());
    ++out_.epochs;
    busy_ += trial.cost.epoch_cost;
    judge(k, false);
    if (static_cast<int>(trial.values.size()) == trial.cost.epochs)
      ++free_;  // trained to its end, though a verdict may still be open
    else if (!trial.ended)
      begin_epoch(k);
  }

  // under_way: the trial is in the middle of an epoch.
  void judge(std::size_t k, bool under_way) {
    Running& trial = trials_[k];
    const auto id = static_cast<TrialId>(k);
    while (!trial.ended && trial.official < static_cast<int>(trial.values.size())) {
      const int epoch = trial.official + 1;
      const std::vector<double> values(trial.values.begin(), trial.values.begin() + epoch);
      if (verdicts_.due(epoch) && trial.reached < epoch) verdicts_.reach(id, epoch, values);
      trial.reached = epoch;
      if (epoch < trial.cost.epochs) {
        const auto given = verdicts_.ask(id, epoch, values);
        if (!given) return;
        if (given->verdict == Verdict::stop) return stop(k, under_way);
      } else {
        end(k);
      }
      trial.official = epoch;
    }
  }

  void stop(std::size_t k, bool under_way) {
    const Running& trial = trials_[k];
    out_.dropped += static_cast<std::int64_t>(trial.values.size()) - trial.official - 1;
    ++out_.stopped;
    if (static_cast<int>(trial.values.size()) < trial.cost.epochs) {
      if (under_way) busy_ += now_ - trial.begun;  // the epoch is cut short
      ++free_;
    }
    end(k);
  }

  void end(std::size_t k) {
    trials_[k].ended = true;
    verdicts_.end(static_cast<TrialId>(k));
  }

  const Strategy& strategy_;
  Verdicts verdicts_;
  const std::vector<TrialCost>& costs_;
  std::int64_t trials_max_;
  int free_, executors_;
  std::vector<Running> trials_;
  std::size_t settled_ = 0;
  std::priority_queue<EpochEnd> epochs_;
  double now_ = 0.0, busy_ = 0.0;
  Schedule out_;
};

}  // namespace

Schedule simulate_schedule(const Strategy& strategy, const Stopper* stopper, int verdict_lag,
                           const std::vector<TrialCost>& costs, std::int64_t trials,
                           int executors) {
  return Simulation(strategy, stopper, verdict_lag, costs, trials, executors).run();
}

}  // namespace brood
