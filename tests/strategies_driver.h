// Drives a strategy as the controller does, with a function in place of training; and the spaces
// that the tests of strategies share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/experiment.h"
#include "engine/strategy.h"
#include "strategies/strategies.h"

namespace brood {

// Sets state and objective of a trial that was proposed for the first time.
using Evaluate = std::function<void(Trial&)>;

struct Record {
  std::vector<Trial> trials;
  PointIndex points;
  bool ended = false;  // the strategy said that there is no further proposal
};

inline Rng propose_stream(const ExperimentSpec& spec, TrialId k) {
  return Rng(spec.seed, static_cast<std::uint64_t>(k), Purpose::propose);
}

// Appends a trial as the controller records it: a repeated point is served from the record.
inline void append(Record& record, Trial trial, const Evaluate& evaluate) {
  trial.id = record.points.size();
  if (const auto same = record.points.find(trial.params)) {
    const Trial& original = record.trials[static_cast<std::size_t>(*same)];
    trial.state = TrialState::duplicate;
    trial.same_as = *same;
    trial.objective = original.objective;
  } else {
    trial.state = TrialState::completed;
    evaluate(trial);
  }
  record.points.add(trial.params);
  record.trials.push_back(std::move(trial));
}

inline void tell(Strategy& strategy, const Record& record, TrialId from, TrialId to) {
  for (TrialId id = from; id < to; ++id) strategy.tell(record.trials[static_cast<std::size_t>(id)]);
}

// Goes on until the record holds `trials` trials or the strategy ends. `record` may hold points
// that others proposed.
inline void drive(const ExperimentSpec& spec, TrialId trials, const Evaluate& evaluate,
                  Record& record) {
  const auto strategy = make_strategy(spec);
  TrialId told = 0;
  for (TrialId k = record.points.size(); k < trials; ++k) {
    tell(*strategy, record, told, strategy->horizon(k));
    told = strategy->horizon(k);
    const auto suggestion = strategy->propose(k, propose_stream(spec, k), record.points);
    record.ended = !suggestion;
    if (!suggestion) return;
    Trial trial;
    trial.params = suggestion->proposal.params;
    trial.lineage = suggestion->lineage;
    append(record, std::move(trial), evaluate);
  }
}

inline Record drive(const ExperimentSpec& spec, TrialId trials, const Evaluate& evaluate) {
  Record record;
  drive(spec, trials, evaluate, record);
  return record;
}

inline Field real_field(std::string name, double min, double max, double step = 0.0,
                        bool log = false) {
  Field field;
  field.name = std::move(name);
  field.kind = FieldKind::real;
  field.min = min;
  field.max = max;
  field.step = step;
  field.log = log;
  return field;
}

inline Field whole_field(std::string name, std::int64_t min, std::int64_t max, bool log = false) {
  Field field;
  field.name = std::move(name);
  field.kind = FieldKind::whole;
  field.min = static_cast<double>(min);
  field.max = static_cast<double>(max);
  field.log = log;
  return field;
}

inline Field value_field(std::string name, FieldKind kind, std::vector<Value> values) {
  Field field;
  field.name = std::move(name);
  field.kind = kind;
  field.values = std::move(values);
  return field;
}

inline Field flag_field(std::string name) {
  return value_field(std::move(name), FieldKind::flag, {false, true});
}

inline Field only_when(Field field, std::string parent, std::vector<Value> values) {
  Condition condition;
  condition.parent = std::move(parent);
  condition.values = std::move(values);
  field.when.push_back(std::move(condition));
  return field;
}

// Every kind of field, two levels of conditions. Countable: without continuous fields.
inline SearchSpace mixed_space(bool countable) {
  using Kind = FieldKind;
  std::vector<Field> fields;
  fields.push_back(value_field("optimizer", Kind::categorical,
                               {std::string("sgd"), std::string("adam"), std::string("rmsprop")}));
  fields.push_back(only_when(real_field("momentum", 0.5, 1.0, countable ? 0.25 : 0.0), "optimizer",
                             {std::string("sgd")}));
  Field nesterov = flag_field("nesterov");
  Condition high;
  high.parent = "momentum";
  high.op = Condition::Op::at_least;
  high.bound = 0.75;
  nesterov.when.push_back(high);
  fields.push_back(nesterov);
  fields.push_back(value_field("loss", Kind::constant, {std::string("cross_entropy")}));
  fields.push_back(whole_field("layers", 1, 3));
  fields.push_back(
      value_field("units", Kind::ordinal, {std::int64_t{16}, std::int64_t{32}, std::int64_t{48}}));
  if (!countable) fields.push_back(real_field("learning_rate", 1e-4, 1.0, 0.0, true));
  if (!countable) fields.push_back(whole_field("batch_size", 8, 256, true));
  fields.push_back(real_field("dropout", 0.0, 0.5, 0.25));
  return SearchSpace(std::move(fields));
}

// A smooth objective in [-n, 0] made of IEEE basic operations: each active parameter's distance
// from a place of its own.
inline double bowl(const SearchSpace& space, const ParamSet& params) {
  double sum = 0.0;
  for (std::size_t i = 0; i < space.size(); ++i) {
    const Value* value = params.find(space.fields()[i].name);
    if (value == nullptr) continue;
    const double off =
        space.fields()[i].encode(*value) - (0.25 + 0.0625 * static_cast<double>(i % 8));
    sum -= off * off;
  }
  return sum;
}

}  // namespace brood
