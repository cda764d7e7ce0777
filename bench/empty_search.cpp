#include "bench/empty_search.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "strategies/strategies.h"

namespace brood {

ExperimentSpec empty_search(const std::string& search, std::int64_t trials,
                            const std::string& database) {
  ExperimentSpec spec;
  spec.name = "bench";
  spec.objective.metric = "loss";
  spec.objective.maximize = false;
  std::vector<Field> fields;
  for (const char* name : {"a", "b", "c", "d"}) {
    Field field;
    field.name = name;
    field.kind = search == "grid" ? FieldKind::whole : FieldKind::real;
    field.min = search == "grid" ? 1.0 : 0.0;
    field.max = search == "grid" ? 32.0 : 1.0;
    fields.push_back(std::move(field));
  }
  spec.space = SearchSpace(std::move(fields));
  const bool stopped = search == "asha" || search == "median";
  spec.search.name = stopped ? "random" : search;
  if (search == "genetic")
    spec.search.settings = R"({"population_size": 50, "generations": )" +
                           std::to_string(std::max<std::int64_t>(1, trials / 50)) + "}";
  spec.search.settings = with_defaults(spec.search);
  if (stopped) {
    spec.stopper = Algorithm{search, "{}"};
    spec.stopper->settings = with_defaults(*spec.stopper);
    spec.verdict_lag = verdict_lag(*spec.stopper);
  }
  spec.budget.max_trials = trials;
  spec.output.database = database;
  spec.output.keep_best = 0;
  spec.config = "{}";
  return spec;
}

}  // namespace brood
