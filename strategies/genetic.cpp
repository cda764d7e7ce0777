// The simple genetic algorithm (D. E. Goldberg: "Genetic algorithms in search, optimization, and
// machine learning", 1989) with tournaments and an elite (K. A. De Jong: "An analysis of the
// behavior of a class of genetic adaptive systems", 1975). The operators name their own sources.
//
// Generation g is the block of trials gP .. (g+1)P - 1, whoever asked for them: points that people
// add take part like any other. Generation 0 is random. A later one first proposes the elite again
// (equal points are served from the record, so their results carry on), then children of the
// generation before. A child that was tried before is mutated further. When a whole generation
// brought nothing new the search ends. Tested by tests/strategies_test.cpp.
#include "strategies/genetic.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "strategies/operators.h"
#include "strategies/random.h"

namespace brood {

namespace {

constexpr int kRandomDrawsMax = 100;  // for a member of the first generation
constexpr int kMutationsMax = 20;     // of a child that was tried before
constexpr int kMatesMax = 10;         // tournaments for a mate that is not the first parent

struct Member {
  TrialId id = 0;  // of the trial that was trained: an elite's copy keeps its latent genes
  ParamSet params;
  double score = 0.0;  // greater is better
  bool scored = false;
  bool repeated = false;
};

class Genetic final : public Strategy {
 public:
  Genetic(const ExperimentSpec& spec, const Settings& settings)
      : space_(spec.space),
        seed_(spec.seed),
        maximize_(spec.objective.maximize),
        population_(settings.whole("population_size")),
        elitism_(static_cast<std::size_t>(settings.whole("elitism"))),
        tournament_(static_cast<std::size_t>(settings.whole("selection/size"))),
        blend_(settings.choice("crossover/method") == "blend"),
        crossover_(settings.real("crossover/probability")),
        alpha_(blend_ ? settings.real("crossover/alpha") : 0.0),
        sigma_(settings.real("mutation/sigma")) {
    if (settings.given("generations")) generations_ = settings.whole("generations");
    for (std::size_t i = 0; i < space_.size(); ++i)
      if (space_.fields()[i].cardinality() != 1) variable_.push_back(i);
    mutation_ = settings.given("mutation/probability")
                    ? settings.real("mutation/probability")
                    : 1.0 / static_cast<double>(std::max<std::size_t>(1, variable_.size()));
  }

  TrialId horizon(TrialId k) const override { return k / population_ * population_; }

  void tell(const Trial& trial) override {
    if (trial.id % population_ == 0) members_.clear();
    Member member{.id = trial.same_as.value_or(trial.id),
                  .params = trial.params,
                  .repeated = trial.state == TrialState::duplicate};
    if (trial.objective && !std::isnan(*trial.objective)) {
      member.score = maximize_ ? *trial.objective : -*trial.objective;
      member.scored = true;
    }
    members_.push_back(std::move(member));
    told_ = trial.id + 1;
    if (told_ % population_ == 0) rank();
  }

  std::optional<Suggestion> propose(TrialId k, Rng rng, const PointIndex& earlier) const override {
    CHECK(told_ == horizon(k), "a proposal asked for at another horizon than its own");
    if (generations_ && k / population_ >= *generations_) return std::nullopt;
    if (k < population_) return suggest(draw_new(space_, rng, earlier, kRandomDrawsMax), {});
    const auto repeated = [](const Member& member) { return member.repeated; };
    if (std::all_of(members_.begin(), members_.end(), repeated)) return std::nullopt;
    if (const Member* elite = missing_elite(k, earlier)) return suggest(elite->params, {elite->id});
    return breed(rng, earlier);
  }

  std::optional<std::int64_t> total() const override {
    if (!generations_) return std::nullopt;
    return population_ * *generations_;
  }

 private:
  static Suggestion suggest(ParamSet params, std::vector<TrialId> lineage) {
    return {.proposal = {.params = std::move(params), .epochs = {}, .parent = {}},
            .lineage = std::move(lineage)};
  }

  // Best first; those without a score last; ties by trial.
  void rank() {
    std::stable_sort(members_.begin(), members_.end(), [](const Member& a, const Member& b) {
      return a.scored != b.scored ? a.scored : a.scored && a.score > b.score;
    });
  }

  // The best of the elite that is not in trial k's generation yet. The elite are the best members
  // with distinct points and a score.
  const Member* missing_elite(TrialId k, const PointIndex& earlier) const {
    std::vector<const Member*> elite;
    for (const Member& member : members_) {
      if (elite.size() == elitism_ || !member.scored) break;
      const auto same = [&](const Member* other) { return other->params == member.params; };
      if (std::none_of(elite.begin(), elite.end(), same)) elite.push_back(&member);
    }
    for (const Member* member : elite) {
      bool present = false;
      for (TrialId id = horizon(k); id < k && !present; ++id)
        present = earlier[id] == member->params;
      if (!present) return member;
    }
    return nullptr;
  }

  const Member& select(Rng& rng) const {
    return members_[tournament(members_.size(), tournament_, rng)];
  }

  Suggestion breed(Rng& rng, const PointIndex& earlier) const {
    const Member& mother = select(rng);
    Point child = space_.complete(mother.params, seed_, static_cast<std::uint64_t>(mother.id));
    std::vector<TrialId> lineage{mother.id};
    if (rng.chance(crossover_)) {
      const Member* father = &select(rng);
      for (int i = 1; i < kMatesMax && father->id == mother.id; ++i) father = &select(rng);
      const Point other =
          space_.complete(father->params, seed_, static_cast<std::uint64_t>(father->id));
      child = blend_ ? blend_crossover(space_.fields(), child, other, alpha_, rng)
                     : uniform_crossover(child, other, rng);
      if (father->id != mother.id) lineage.push_back(father->id);
    }
    child = mutate(space_.fields(), child, mutation_, sigma_, rng);
    ParamSet params = space_.mask(child);
    for (int i = 0; i < kMutationsMax && !variable_.empty() && earlier.find(params); ++i) {
      child = mutate(space_.fields(), child, mutation_, sigma_, rng);
      const std::size_t gene = variable_[rng.below(variable_.size())];
      child[gene] = mutate_gene(space_.fields()[gene], child[gene], sigma_, rng);
      params = space_.mask(child);
    }
    return suggest(std::move(params), std::move(lineage));
  }

  const SearchSpace space_;
  const std::uint64_t seed_;
  const bool maximize_;
  const TrialId population_;
  const std::size_t elitism_;
  const std::size_t tournament_;
  const bool blend_;
  const double crossover_;
  const double alpha_;
  const double sigma_;
  double mutation_ = 0.0;
  std::optional<TrialId> generations_;
  std::vector<std::size_t> variable_;  // fields with more than one value

  TrialId told_ = 0;
  std::vector<Member> members_;  // of the generation last told; ranked once it is whole
};

}  // namespace

std::vector<Setting> genetic_settings() {
  using Kind = Setting::Kind;
  return {
      {.path = "population_size", .fallback = 50, .min = 2, .max = 1000000},
      {.path = "generations", .min = 1, .max = 1000000, .shapes_proposals = false},
      {.path = "elitism", .fallback = 1, .min = 0, .max = 999999},
      {.path = "selection/method", .kind = Kind::choice, .choices = {"tournament"}},
      {.path = "selection/size", .fallback = 3, .min = 1, .max = 1000000},
      {.path = "crossover/method", .kind = Kind::choice, .choices = {"uniform", "blend"}},
      {.path = "crossover/probability", .kind = Kind::real, .fallback = 0.9, .max = 1},
      {.path = "crossover/alpha",
       .kind = Kind::real,
       .fallback = 0.5,
       .max = 10,
       .with_path = "crossover/method",
       .with_choice = "blend"},
      {.path = "mutation/probability", .kind = Kind::real, .max = 1},
      {.path = "mutation/sigma", .kind = Kind::real, .fallback = 0.1, .min = 1e-6, .max = 1},
  };
}

std::unique_ptr<Strategy> make_genetic(const ExperimentSpec& spec) {
  return std::make_unique<Genetic>(spec, Settings(genetic_settings(), spec.search.settings));
}

std::vector<Problem> check_genetic(const std::string& json, const SearchSpace& space) {
  const Settings settings(genetic_settings(), json);
  std::vector<Problem> problems;
  const int population = settings.whole("population_size");
  const std::string members = "population_size (" + std::to_string(population) + ")";
  const std::optional<std::int64_t> points = space.cross_size();
  if (points && *points < population)
    problems.push_back({"/settings/population_size", "is more than the space has points (" +
                                                         std::to_string(population) + " of " +
                                                         std::to_string(*points) +
                                                         "): make it smaller, or use \"grid\""});
  if (settings.whole("elitism") >= population)
    problems.push_back({"/settings/elitism", "should be below " + members + " (is " +
                                                 std::to_string(settings.whole("elitism")) + ")"});
  if (settings.whole("selection/size") > population)
    problems.push_back(
        {"/settings/selection/size", "should be at most " + members + " (is " +
                                         std::to_string(settings.whole("selection/size")) + ")"});
  return problems;
}

}  // namespace brood
