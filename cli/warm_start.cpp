#include "cli/warm_start.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <utility>

#include "cli/config_document.h"
#include "cli/config_space.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "store/query.h"

namespace brood {

namespace {

constexpr const char* kIs = "experiment ";

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

void require_same_objective(const ExperimentSpec& spec, const ExperimentRecord& other) {
  const std::string goal = spec.objective.maximize ? "maximize" : "minimize";
  const std::string reduce = spec.objective.reduce == Objective::Reduce::best ? "best" : "last";
  const std::string theirs = other.maximize ? "maximize" : "minimize";
  if (other.objective == spec.objective.metric && theirs == goal && other.reduce == reduce) return;
  throw UserError(spec.file + ": /warm_start: " + kIs + quoted(other.name) + " has the objective " +
                  theirs + " " + other.reduce + " " + other.objective + ", this one " + goal + " " +
                  reduce + " " + spec.objective.metric + ": their results cannot be compared");
}

// The point as this space holds it; nullopt: it is not in it, for these reasons.
std::optional<ParamSet> fitting(const ParamSet& params, const SearchSpace& space,
                                std::vector<Problem>& problems) {
  const Document document(to_json(params).dump(), problems);
  return read_point(document.root(), space, problems);
}

Trial taken_over(Trial trial, const std::string& from) {
  Trial out;
  out.params = std::move(trial.params);
  out.first_epoch = trial.first_epoch;
  out.last_epoch = trial.last_epoch;
  out.judged_epoch = trial.judged_epoch;
  out.objective = trial.objective;
  out.best_epoch = trial.best_epoch;
  out.why = "known as trial " + std::to_string(trial.id) + " of " + from;
  for (Report& report : trial.reports)
    if (report.epoch == trial.judged_epoch) out.reports.push_back(std::move(report));
  return out;
}

}  // namespace

std::vector<Trial> known_trials(const ExperimentSpec& spec) {
  const WarmStart& warm = *spec.warm_start;
  Reader reader(warm.database);
  const ExperimentRecord other = reader.experiment(warm.experiment);
  std::error_code ignored;
  if (other.name == spec.name &&
      std::filesystem::equivalent(warm.database, spec.output.database, ignored))
    throw UserError(spec.file +
                    ": /warm_start: names this experiment itself; name another with "
                    "\"experiment\"");
  require_same_objective(spec, other);
  const std::string from = kIs + quoted(other.name) + " (" + warm.database + ")";
  std::vector<TrialId> ids =
      reader.best(other, warm.best.value_or(std::numeric_limits<std::int32_t>::max()));
  std::sort(ids.begin(), ids.end());
  std::vector<Trial> out;
  for (const TrialId id : ids) {
    Trial trial = reader.trial(other, id);
    std::vector<Problem> problems;
    auto params = fitting(trial.params, spec.space, problems);
    if (params) {
      trial.params = std::move(*params);
      out.push_back(taken_over(std::move(trial), from));
    } else if (!warm.skip_outside) {
      throw UserError(
          spec.file + ": /warm_start: trial " + std::to_string(id) + " of " + from +
          " is no point of this search_space: " +
          (problems.front().pointer.empty() ? "" : problems.front().pointer.substr(1) + " ") +
          problems.front().message +
          "; widen the space, or leave such trials out with \"outside\": \"skip\"");
    }
  }
  if (out.empty())
    throw UserError(spec.file + ": /warm_start: " + from + " has no trial " +
                    (ids.empty() ? "with a result" : "inside this search_space"));
  return out;
}

std::vector<Trial> known_trials_of(const std::string& database, const std::string& experiment) {
  Reader reader(database);
  const ExperimentRecord record = reader.experiment(experiment);
  std::vector<Trial> out;
  for (const TrialId id : reader.known(record)) {
    Trial trial = reader.trial(record, id);
    std::erase_if(trial.reports,
                  [&](const Report& report) { return report.epoch != trial.judged_epoch; });
    out.push_back(std::move(trial));
  }
  return out;
}

}  // namespace brood
