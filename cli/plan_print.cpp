// The plan of a run for people and as JSON.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "cli/config_space.h"
#include "cli/plan.h"
#include "cli/table.h"
#include "engine/json_text.h"
#include "engine/units.h"

namespace brood {

namespace {

constexpr std::size_t kRowsMax = 24;  // trials listed one by one
constexpr std::size_t kReasonsMax = 10;

std::string percent(double share) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.0f %%", 100.0 * share);
  return buffer.data();
}

std::string plural(std::int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

const char* type_text(const Field& field) {
  switch (field.kind) {
    case FieldKind::real:
      return "float";
    case FieldKind::whole:
      return "int";
    case FieldKind::flag:
      return "bool";
    case FieldKind::categorical:
      return "categorical";
    case FieldKind::ordinal:
      return "ordinal";
    case FieldKind::constant:
      break;
  }
  return "constant";
}

std::string condition_text(const Field& field) {
  std::string text;
  for (const Condition& condition : field.when)
    text += (text.empty() ? "" : " and ") + to_text(condition);
  return text;
}

void print_header(const ExperimentSpec& spec, const RunPlan& plan, std::ostream& out) {
  out << "Experiment  " << spec.name << ", seed " << spec.seed << '\n';
  const Objective& objective = spec.objective;
  out << "Objective   " << (objective.maximize ? "maximize " : "minimize ") << objective.metric
      << (objective.reduce == Objective::Reduce::best ? ", each trial's best epoch"
                                                      : ", each trial's last epoch");
  if (objective.target) out << ", until " << number_text(*objective.target) << " is met";
  out << "\nSearch      " << spec.search.name << ", ";
  const std::optional<std::int64_t> size = spec.space.cross_size();
  if (!plan.trials)
    out << "as many trials as fit into " << duration_text(*spec.budget.max_wall_time);
  else
    out << (plan.exact ? "" : "up to ") << plural(*plan.trials, "trial");
  if (plan.exact && size && plan.trials == size)
    out << ": every point of the space";
  else if (size)
    out << " of " << plural(*size, "point") << " in the space";
  if (plan.trials && spec.budget.max_wall_time)
    out << ", at most " << duration_text(*spec.budget.max_wall_time);
  out << "\nStopping    "
      << (spec.stopper ? spec.stopper->name + ", verdict lag " + std::to_string(spec.verdict_lag)
                       : "none: every trial trains to its end")
      << "\nTrainer     " << spec.trainer_name << "\nDatabase    " << spec.output.database << '\n';
}

void print_space(const ExperimentSpec& spec, std::ostream& out) {
  if (spec.space.size() == 0) return;
  const bool conditions = std::any_of(spec.space.fields().begin(), spec.space.fields().end(),
                                      [](const Field& field) { return !field.when.empty(); });
  Table table{{"parameter", "type", "values"}, {}};
  if (conditions) table.columns.push_back("when");
  for (const Field& field : spec.space.fields()) {
    std::vector<Cell> row = {field.name, std::string(type_text(field)), kind_text(field)};
    if (conditions) row.push_back(condition_text(field));
    table.rows.push_back(std::move(row));
  }
  out << "\nSearch space\n";
  print(table, Format::people, terminal_width(), out);
}

struct Spread {
  double least = 0, middle = 0, most = 0;
};

template <class Measure>
Spread spread_of(const RunPlan& plan, Measure measure) {
  std::vector<double> values;
  for (const PlannedTrial& trial : plan.points)
    if (trial.infeasible.empty()) values.push_back(measure(trial.estimate));
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

Spread epochs_of(const RunPlan& plan) {
  return spread_of(plan, [](const Estimate& e) { return static_cast<double>(e.epochs); });
}
Spread parameters_of(const RunPlan& plan) {
  return spread_of(plan, [](const Estimate& e) { return static_cast<double>(e.parameters); });
}
Spread flops_of(const RunPlan& plan) {
  return spread_of(plan, [](const Estimate& e) { return e.flops; });
}
Spread bytes_of(const RunPlan& plan) {
  return spread_of(plan, [](const Estimate& e) { return static_cast<double>(e.bytes); });
}

Spread shared_bytes_of(const RunPlan& plan) {
  return spread_of(plan, [](const Estimate& e) { return static_cast<double>(e.shared_bytes); });
}

Cell cell_of(const Value& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return *whole;
  if (const auto* real = std::get_if<double>(&value)) return *real;
  return to_text(value);
}

void print_trials(const ExperimentSpec& spec, const RunPlan& plan, std::ostream& out) {
  Table table{{"trial"}, {}};
  for (const Field& field : spec.space.fields()) table.columns.push_back(field.name);
  table.columns.push_back("epochs");
  const bool costs = flops_of(plan).most > 0 || bytes_of(plan).most > 0;
  if (costs) table.columns.insert(table.columns.end(), {"parameters", "FLOPs", "memory"});
  const bool refused = std::any_of(plan.points.begin(), plan.points.end(),
                                   [](const PlannedTrial& t) { return !t.infeasible.empty(); });
  if (refused) table.columns.push_back("feasible");
  for (std::size_t i = 0; i < plan.points.size(); ++i) {
    const PlannedTrial& trial = plan.points[i];
    std::vector<Cell> row;
    row.emplace_back(static_cast<std::int64_t>(i));
    for (const Field& field : spec.space.fields()) {
      const Value* value = trial.params.find(field.name);
      row.push_back(value == nullptr ? Cell() : cell_of(*value));
    }
    row.emplace_back(static_cast<std::int64_t>(trial.estimate.epochs));
    if (costs) {
      row.emplace_back(count_text(static_cast<double>(trial.estimate.parameters)));
      row.emplace_back(count_text(trial.estimate.flops));
      row.emplace_back(size_text(trial.estimate.bytes));
    }
    if (refused) row.emplace_back(std::string(trial.infeasible.empty() ? "yes" : "no"));
    table.rows.push_back(std::move(row));
  }
  out << "\nTrials\n";
  print(table, Format::people, terminal_width(), out);
}

void print_spread(const RunPlan& plan, std::ostream& out) {
  Table table{{"a trial has", "least", "median", "most"}, {}};
  const auto add = [&](const char* name, const Spread& spread, auto text) {
    if (spread.most > 0)
      table.rows.push_back(
          {std::string(name), text(spread.least), text(spread.middle), text(spread.most)});
  };
  const auto bytes = [](double x) { return size_text(static_cast<std::uint64_t>(x)); };
  add("epochs", epochs_of(plan), count_text);
  add("parameters", parameters_of(plan), count_text);
  add("FLOPs", flops_of(plan), count_text);
  add("memory", bytes_of(plan), bytes);
  out << "\nCost, from " << plural(static_cast<std::int64_t>(plan.points.size()), "point")
      << (plan.exact ? "" : " of the space") << '\n';
  print(table, Format::people, terminal_width(), out);
}

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Points that are infeasible for the same reason, by the point's number.
struct Refused {
  std::string why;
  std::vector<std::size_t> points;
};

// In the order of their first point, or the most frequent first.
std::vector<Refused> refusals(const RunPlan& plan, bool by_count) {
  std::vector<Refused> out;
  for (std::size_t i = 0; i < plan.points.size(); ++i) {
    const std::string& why = plan.points[i].infeasible;
    if (why.empty()) continue;
    auto found = std::find_if(out.begin(), out.end(), [&](const auto& r) { return r.why == why; });
    if (found == out.end()) found = out.insert(out.end(), {why, {}});
    found->points.push_back(i);
  }
  if (by_count)
    std::stable_sort(out.begin(), out.end(), [](const Refused& x, const Refused& y) {
      return x.points.size() > y.points.size();
    });
  return out;
}

// Of the trials of an exact plan each one; of a sample what share there is of each reason.
void print_infeasible(const RunPlan& plan, std::ostream& out) {
  const std::vector<Refused> all = refusals(plan, !plan.exact);
  std::size_t count = 0;
  for (const Refused& one : all) count += one.points.size();
  if (count == 0) return;
  const auto share_text = [&](std::size_t part) {
    return percent(
        share(static_cast<std::int64_t>(part), static_cast<std::int64_t>(plan.points.size())));
  };
  out << "\nInfeasible  " << count << " of " << plan.points.size()
      << (plan.exact ? " trials" : " sampled points") << ", " << share_text(count)
      << ": recorded with the reason, not trained\n";
  std::size_t shown = 0;
  for (const Refused& one : all) {
    if (++shown > kReasonsMax) {
      out << "  and " << all.size() - kReasonsMax << " further reasons (--json has all)\n";
      break;
    }
    out << "  " << one.why << '\n';
    if (!plan.exact) {
      out << "    " << share_text(one.points.size()) << ", for example at "
          << to_text(plan.points[one.points.front()].params) << '\n';
      continue;
    }
    for (std::size_t i = 0; i < one.points.size() && i < kRowsMax; ++i)
      out << "    trial " << one.points[i] << " at " << to_text(plan.points[one.points[i]].params)
          << '\n';
    if (one.points.size() > kRowsMax)
      out << "    and " << one.points.size() - kRowsMax << " more (--json has all)\n";
  }
}

// Exact: a trial takes these bytes and no others.
void print_device_memory(const RunPlan& plan, std::ostream& out) {
  const auto most = static_cast<std::uint64_t>(bytes_of(plan).most);
  const auto shared = static_cast<std::uint64_t>(shared_bytes_of(plan).most);
  out << "\n  GPU memory: a trial takes up to " << size_text(most) << ", its images "
      << size_text(shared) << " once";
  if (plan.device_bytes == 0) return;
  out << ", of " << size_text(plan.device_bytes) << " for trials";
  if (most * static_cast<std::uint64_t>(plan.together) + shared > plan.device_bytes)
    out << "; not all fit at a time, some wait";
}

void print_schedule(const ExperimentSpec& spec, const RunPlan& plan, std::ostream& out) {
  out << "\nExecutors   " << plan.executors << " (" << plan.executors_from << ")";
  const double memory = bytes_of(plan).most * plan.executors;
  if (plan.on_gpus)
    print_device_memory(plan, out);
  else if (memory > 0)
    out << ", together up to " << size_text(static_cast<std::uint64_t>(memory));
  const double data = shared_bytes_of(plan).most;
  if (data > 0 && !plan.on_gpus)
    out << ", and " << size_text(static_cast<std::uint64_t>(data)) << " of data that all share";
  const Schedule& schedule = plan.schedule;
  out << "\n  busy " << percent(schedule.busy) << " of the time, in a run played through with "
      << plural(plan.simulated, "trial") << " and "
      << (flops_of(plan).most > 0 ? "time in proportion to FLOPs" : "epochs of equal length")
      << '\n';
  if (plan.enough)
    out << "  " << plural(*plan.enough, "executor") << " would be done in about the same time\n";
  if (!spec.stopper) return;
  out << "  with made-up scores " << spec.stopper->name << " stops "
      << percent(share(schedule.stopped, plan.simulated)) << " of the trials; "
      << percent(share(schedule.blind, schedule.epochs))
      << " of the epochs are trained blind, before the verdict on an earlier one, and "
      << percent(share(schedule.dropped, schedule.epochs)) << " are thrown away\n";
}

std::string json_spread(const char* name, const Spread& spread) {
  return json_quoted(name) + ": {\"least\": " + to_text(Value(spread.least)) +
         ", \"median\": " + to_text(Value(spread.middle)) +
         ", \"most\": " + to_text(Value(spread.most)) + "}";
}

std::string json_value(const Value& value) {
  const auto* label = std::get_if<std::string>(&value);
  return label != nullptr ? json_quoted(*label) : to_text(value);
}

std::string json_trial(const PlannedTrial& trial) {
  std::string params;
  for (const auto& [name, value] : trial.params.entries())
    params += (params.empty() ? "" : ", ") + json_quoted(name) + ": " + json_value(value);
  std::string text = "{\"params\": {" + params +
                     "}, \"epochs\": " + std::to_string(trial.estimate.epochs) +
                     ", \"parameters\": " + std::to_string(trial.estimate.parameters) +
                     ", \"flops\": " + to_text(Value(trial.estimate.flops)) +
                     ", \"memory_bytes\": " + std::to_string(trial.estimate.bytes) +
                     ", \"shared_bytes\": " + std::to_string(trial.estimate.shared_bytes);
  if (!trial.infeasible.empty()) text += ", \"infeasible\": " + json_quoted(trial.infeasible);
  return text + "}";
}

}  // namespace

std::string kind_text(const Field& field) {
  std::string text;
  for (const Value& value : field.values) {
    const auto* real = std::get_if<double>(&value);
    text += (text.empty() ? "" : ", ") + (real != nullptr ? number_text(*real) : to_text(value));
  }
  if (!field.values.empty()) return text;
  text = number_text(field.min) + " to " + number_text(field.max);
  if (field.step != 0) text += " by " + number_text(field.step);
  return text + (field.log ? ", log" : "");
}

std::string number_text(double number) {
  std::array<char, 40> buffer{};
  const auto whole = static_cast<std::int64_t>(number);
  if (std::abs(number) < 1e15 && static_cast<double>(whole) == number) return std::to_string(whole);
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number,
                                 std::chars_format::general);
  return std::string(buffer.data(), end.ptr);
}

std::string count_text(double count) {
  constexpr std::array<const char*, 6> kUnits = {"", " k", " M", " G", " T", " P"};
  std::size_t unit = 0;
  while (count >= 999.5 && unit + 1 < kUnits.size()) {
    count /= 1000;
    ++unit;
  }
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.3g%s", count, kUnits[unit]);
  return buffer.data();
}

void print_plan(const ExperimentSpec& spec, const RunPlan& plan, std::ostream& out) {
  print_header(spec, plan, out);
  print_space(spec, out);
  if (plan.exact && plan.points.size() <= kRowsMax)
    print_trials(spec, plan, out);
  else
    print_spread(plan, out);
  print_infeasible(plan, out);
  if (plan.simulated > 0) print_schedule(spec, plan, out);
  for (const std::string& note : plan.notes) out << "\nNote: " << printable(note) << ".\n";
}

std::string plan_json(const ExperimentSpec& spec, const RunPlan& plan) {
  std::string fields, trials;
  for (const Field& field : spec.space.fields())
    fields += std::string(fields.empty() ? "" : ", ") + "{\"name\": " + json_quoted(field.name) +
              ", \"type\": " + json_quoted(type_text(field)) +
              ", \"values\": " + json_quoted(kind_text(field)) +
              ", \"when\": " + json_quoted(condition_text(field)) + "}";
  std::int64_t infeasible = 0;
  for (const PlannedTrial& trial : plan.points) {
    trials += (trials.empty() ? "\n    " : ",\n    ") + json_trial(trial);
    infeasible += trial.infeasible.empty() ? 0 : 1;
  }
  std::string notes;
  for (const std::string& note : plan.notes)
    notes += (notes.empty() ? "" : ", ") + json_quoted(note);
  const Schedule& schedule = plan.schedule;
  return "{\n  \"experiment\": " + json_quoted(spec.name) +
         ",\n  \"seed\": " + std::to_string(spec.seed) +
         ",\n  \"search\": " + json_quoted(spec.search.name) + ",\n  \"search_space\": [" + fields +
         "],\n  \"trials\": " + (plan.trials ? std::to_string(*plan.trials) : "null") +
         ",\n  \"exact\": " + (plan.exact ? "true" : "false") +
         ",\n  \"infeasible\": " + std::to_string(infeasible) + ",\n  \"cost\": {" +
         json_spread("epochs", epochs_of(plan)) + ", " +
         json_spread("parameters", parameters_of(plan)) + ", " +
         json_spread("flops", flops_of(plan)) + ", " + json_spread("memory_bytes", bytes_of(plan)) +
         "},\n  \"points\": [" + trials + "\n  ],\n  \"notes\": [" + notes +
         "],\n  \"executors\": " + std::to_string(plan.executors) +
         ",\n  \"simulated\": {\"trials\": " + std::to_string(plan.simulated) +
         ", \"busy\": " + to_text(Value(schedule.busy)) +
         ", \"epochs\": " + std::to_string(schedule.epochs) +
         ", \"epochs_blind\": " + std::to_string(schedule.blind) +
         ", \"epochs_dropped\": " + std::to_string(schedule.dropped) +
         ", \"trials_stopped\": " + std::to_string(schedule.stopped) + "}\n}";
}

}  // namespace brood
