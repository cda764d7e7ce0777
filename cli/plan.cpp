#include "cli/plan.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>

#include "cli/config.h"
#include "cli/places.h"
#include "cli/warm_start.h"
#include "engine/units.h"
#include "strategies/strategies.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

constexpr std::int64_t kPointsMax = 300;
constexpr std::int64_t kSampleMin = 100;  // points looked at when the trials are not known yet
constexpr std::int64_t kSimulatedMax = 2000;
constexpr std::int64_t kEpochsMax = 200000;
constexpr double kAboutTheSame = 1.15;

TrainerSetup setup_of(const ExperimentSpec& spec) {
  TrainerSetup setup;
  setup.name = spec.trainer_name;
  setup.config = spec.trainer;
  setup.objective = spec.objective.metric;
  setup.seed = spec.seed;
  setup.data_dir = spec.data_dir;
  setup.cache_dir = spec.cache_dir;
  setup.base_dir = std::filesystem::absolute(spec.file).parent_path().lexically_normal().string();
  setup.memory_per_trial = spec.resources.memory_per_trial.value_or(0);
  return setup;
}

std::string broken_constraint(const ExperimentSpec& spec, const Estimate& estimate) {
  const auto limit = spec.resources.memory_per_trial;
  if (limit && estimate.bytes > *limit)
    return "needs " + size_text(estimate.bytes) + ", memory_per_trial is " + size_text(*limit);
  for (const Constraint& constraint : spec.constraints) {
    double value = 0.0;
    if (constraint.metric == "parameters")
      value = static_cast<double>(estimate.parameters);
    else if (constraint.metric == "flops")
      value = estimate.flops;
    else if (constraint.metric == "memory_bytes")
      value = static_cast<double>(estimate.bytes);
    else
      continue;  // known only after training
    const std::string is = constraint.metric + " is " + number_text(value);
    if (constraint.max && value > *constraint.max)
      return is + ", the constraint allows at most " + number_text(*constraint.max);
    if (constraint.min && value < *constraint.min)
      return is + ", the constraint asks for at least " + number_text(*constraint.min);
  }
  return "";
}

PlannedTrial planned(const ExperimentSpec& spec, const Planner& planner, ParamSet params) {
  PlannedTrial trial;
  trial.estimate = planner.estimate(params);
  trial.infeasible = trial.estimate.infeasible.empty() ? broken_constraint(spec, trial.estimate)
                                                       : trial.estimate.infeasible;
  trial.params = std::move(params);
  return trial;
}

// The points that are certain to be tried, as far as the strategy can tell before any result.
std::vector<ParamSet> certain_points(const ExperimentSpec& spec, const Strategy& strategy,
                                     std::int64_t most, bool& exhausted) {
  PointIndex known;
  std::vector<ParamSet> points = spec.initial_points;
  for (const ParamSet& point : points) known.add(point);
  exhausted = false;
  // Duplicates use no trial; a space that is nearly used up may bring many in a row.
  const std::int64_t asked_max = 10 * most + 100;
  while (static_cast<std::int64_t>(points.size()) < most && known.size() < asked_max) {
    const TrialId k = known.size();
    if (strategy.horizon(k) > 0) return points;
    const auto suggestion =
        strategy.propose(k, Rng(spec.seed, static_cast<std::uint64_t>(k), Purpose::propose), known);
    exhausted = !suggestion;
    if (exhausted) return points;
    if (!known.find(suggestion->proposal.params)) points.push_back(suggestion->proposal.params);
    known.add(suggestion->proposal.params);
  }
  return points;
}

std::vector<TrialCost> costs_of(const std::vector<PlannedTrial>& points) {
  std::vector<TrialCost> costs;
  for (const PlannedTrial& point : points) {
    if (!point.infeasible.empty()) continue;
    TrialCost cost;
    cost.epochs = std::max(1, point.estimate.epochs);
    // A trainer that does not know its cost is taken to cost the same at every point.
    if (point.estimate.flops > 0) cost.epoch_cost = point.estimate.flops / cost.epochs;
    costs.push_back(cost);
  }
  return costs;
}

}  // namespace

RunPlan make_plan(const ExperimentSpec& config, std::optional<int> executors) {
  RunPlan plan;
  ExperimentSpec spec = config;
  GroundsWanted wanted;
  wanted.executors = executors.has_value();
  wanted.plan_only = true;
  const Grounds grounds = grounds_of(spec, wanted);
  plan.on_gpus = grounds.on_gpus() && spec.trainer_name == "cnn";
  if (plan.on_gpus) plan.device_bytes = memory_of(grounds);
  const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const auto strategy = make_strategy(spec);
  const auto stopper = make_stopper(spec);
  TrainerSetup setup = setup_of(spec);
  setup.device = grounds.device;
  const auto planner = make_planner(setup);
  if (plan.device_bytes > 0 && !spec.resources.memory_per_trial)
    spec.resources.memory_per_trial = default_memory(memory_beside_images(spec, grounds, *planner));
  const Places places = places_of(spec, setup, grounds, *planner, executors, cores,
                                  "auto: one on each core of this machine" +
                                      (grounds.no_gpu.empty() ? "" : "; " + grounds.no_gpu));
  plan.executors = places.executors;
  plan.executors_from = places.from;
  plan.together = places.slots;
  plan.notes = grounds.notes;
  if (!grounds.warning.empty()) plan.notes.insert(plan.notes.begin(), grounds.warning);
  for (std::string& note : data_notes(setup)) plan.notes.push_back(std::move(note));
  plan.trials = strategy->total();
  if (spec.budget.max_trials)
    plan.trials = std::min(plan.trials.value_or(*spec.budget.max_trials), *spec.budget.max_trials);

  bool exhausted = false;
  const std::int64_t most = std::min(plan.trials.value_or(kPointsMax), kPointsMax);
  std::vector<ParamSet> points = certain_points(spec, *strategy, most, exhausted);
  const auto found = static_cast<std::int64_t>(points.size());
  plan.exact = exhausted || (plan.trials && found == *plan.trials);
  if (exhausted) plan.trials = found;
  Rng rng(spec.seed, 0, Purpose::simulate);
  if (!plan.exact)
    while (static_cast<std::int64_t>(points.size()) < kSampleMin)
      points.push_back(spec.space.mask(spec.space.sample(rng)));
  for (ParamSet& point : points) plan.points.push_back(planned(spec, *planner, std::move(point)));

  const std::vector<TrialCost> costs = costs_of(plan.points);
  if (costs.empty()) return plan;
  int longest = 1;
  for (const TrialCost& cost : costs) longest = std::max(longest, cost.epochs);
  plan.simulated = std::min({plan.trials.value_or(kSimulatedMax), kSimulatedMax,
                             std::max<std::int64_t>(1, kEpochsMax / longest)});
  const auto schedule = [&](int count) {
    return simulate_schedule(*strategy, stopper.get(), spec.verdict_lag, costs, plan.simulated,
                             count);
  };
  plan.schedule = schedule(plan.executors);
  for (int fewer = plan.executors / 2; fewer >= 1; fewer /= 2) {
    if (schedule(fewer).duration > kAboutTheSame * plan.schedule.duration) break;
    plan.enough = fewer;
  }
  return plan;
}

int plan_command(const PlanOptions& options, std::ostream& out) {
  const ExperimentSpec spec = read_config(options.config, options.overrides);
  const RunPlan plan = make_plan(spec, options.executors);
  if (spec.warm_start) {
    const std::size_t known = known_trials(spec).size();
    if (!options.json)
      out << "Known before: " << known << (known == 1 ? " trial" : " trials") << " of "
          << spec.warm_start->database << "\n";
  }
  if (options.json)
    out << plan_json(spec, plan) << '\n';
  else
    print_plan(spec, plan, out);
  const bool some = std::any_of(plan.points.begin(), plan.points.end(),
                                [](const PlannedTrial& trial) { return trial.infeasible.empty(); });
  return some ? 0 : 1;
}

}  // namespace brood
