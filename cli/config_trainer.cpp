#include "cli/config_trainer.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "engine/resolve.h"
#include "engine/suggest.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

constexpr std::int64_t kAllUpTo = 300;  // points of a space that are looked at one by one
constexpr std::int64_t kPerField = 64;  // values tried of a field
constexpr std::size_t kSampleMax = 3000;
constexpr std::size_t kWorkMax = 100000000;  // points times parameters squared
constexpr int kRandom = 64;

bool inside(const std::string& pointer, const std::string& place) {
  return pointer.starts_with(place) &&
         (pointer.size() == place.size() || pointer[place.size()] == '/');
}

std::string parent_of(const std::string& pointer) { return pointer.substr(0, pointer.rfind('/')); }

// What the sample showed, each place once.
class Findings {
 public:
  // resolved: the block made sense at that point, and the trainer complained.
  void add(const std::string& pointer, const std::string& message, const ParamSet& point,
           bool resolved) {
    Finding& finding = by_pointer_[pointer];
    if (finding.points == 0) {
      finding.message = message;
      finding.point = point;
      finding.resolved = resolved;
    }
    if (finding.resolved == resolved) ++finding.points;
  }

  // Problems that only some points have say at which.
  void report(int points, int resolved, std::vector<Problem>& problems) const {
    for (const auto& [pointer, finding] : by_pointer_) {
      std::string message = finding.message;
      if (finding.points < (finding.resolved ? resolved : points)) {
        std::string where = to_text(finding.point);
        if (where.size() > 200) where = where.substr(0, 197) + "...";
        message += " (for example at " + where + ")";
      }
      problems.push_back({"/trainer" + pointer, std::move(message)});
    }
  }

 private:
  struct Finding {
    std::string message;
    ParamSet point;
    int points = 0;
    bool resolved = true;
  };
  std::map<std::string, Finding> by_pointer_;
};

// A key that is missing because its parameter is inactive: says which condition to look at.
std::string blame(const Resolved& resolved, const Problem& problem, const SearchSpace& space) {
  for (const auto& [place, reference] : resolved.removed) {
    if (place != problem.pointer && parent_of(place) != problem.pointer) continue;
    const std::size_t slash = place.rfind('/');
    if (problem.message.find("\"" + place.substr(slash + 1) + "\"") == std::string::npos) continue;
    std::string text = "; \"" + reference + "\" is inactive there";
    const std::optional<std::size_t> at = space.index_of(reference);
    if (!at) return text;
    for (const Condition& condition : space.fields()[*at].when)
      text += (text.ends_with("there") ? ", it needs: " : ", ") + to_text(condition);
    return text;
  }
  return "";
}

class Sampler {
 public:
  Sampler(const std::string& trainer, const Template& block, const SearchSpace& space, bool partial,
          const std::vector<std::string>& declared)
      : trainer_(trainer), block_(block), space_(space), partial_(partial), declared_(declared) {}

  void look_at(const Point& point) {
    const ParamSet params = space_.mask(point);
    ++points_;
    if (!partial_) require_stable(params);
    try {
      const Resolved resolved = block_.resolve(params, &declared_);
      ++resolved_;
      note(resolved.json);
      for (const Problem& problem : check_trainer(trainer_, resolved.json)) {
        if (partial_ && follows_from_absence(resolved, problem)) continue;
        findings_.add(resolved.origin(problem.pointer),
                      problem.message + blame(resolved, problem, space_), params, true);
      }
    } catch (const ResolveError& error) {
      if (!partial_) findings_.add(error.problem().pointer, error.problem().message, params, false);
    }
  }

  void report(std::vector<Problem>& problems) const {
    findings_.report(points_, resolved_, problems);
    if (!circular_.empty())
      problems.push_back({"/search_space", "whether \"" + circular_ +
                                               "\" is active depends on its own value: take its "
                                               "name out of the conditions of what surrounds it"});
  }

  std::optional<int> epochs() const { return epochs_; }
  const std::vector<std::string>& metrics() const { return metrics_; }

 private:
  static bool follows_from_absence(const Resolved& resolved, const Problem& problem) {
    return std::any_of(resolved.removed.begin(), resolved.removed.end(), [&](const auto& removed) {
      return inside(problem.pointer, removed.first) || parent_of(removed.first) == problem.pointer;
    });
  }

  // A point must mean the same whatever its inactive genes are.
  void require_stable(const ParamSet& params) {
    const ParamSet again =
        space_.mask(space_.complete(params, 0, static_cast<std::uint64_t>(points_)));
    if (again == params || !circular_.empty()) return;
    for (const auto& [name, value] : again.entries())
      if (params.find(name) == nullptr && circular_.empty()) circular_ = name;
  }

  void note(const std::string& json) {
    std::vector<Problem> ignored;
    const Document document(json, ignored);
    const std::optional<JsonPlace> place = document.root().find("epochs");
    const std::optional<double> number = place ? place->number() : std::nullopt;
    if (number && *number >= 1 && *number <= 1e6)
      epochs_ = std::max(epochs_.value_or(1), static_cast<int>(*number));
    std::vector<std::string> metrics = reported_metrics(trainer_, json);
    if (resolved_ > 1)
      std::erase_if(metrics, [this](const std::string& metric) {
        return std::find(metrics_.begin(), metrics_.end(), metric) == metrics_.end();
      });
    metrics_ = std::move(metrics);
  }

  const std::string& trainer_;
  const Template& block_;
  const SearchSpace& space_;
  bool partial_;
  const std::vector<std::string>& declared_;
  Findings findings_;
  int points_ = 0, resolved_ = 0;
  std::optional<int> epochs_;
  std::vector<std::string> metrics_;
  std::string circular_;
};

// With stand-ins for fields that have problems, so that their names are known.
SearchSpace by_name(const DeclaredSpace& declared) {
  std::vector<Field> fields;
  for (const std::string& name : declared.declared) {
    Field field;
    for (const DeclaredField& good : declared.fields)
      if (good.field.name == name) field = good.field;
    field.name = name;
    field.when.clear();
    const bool twice = std::any_of(fields.begin(), fields.end(),
                                   [&](const Field& other) { return other.name == name; });
    if (!twice) fields.push_back(std::move(field));
  }
  return SearchSpace(std::move(fields));
}

void require_used(const DeclaredSpace& declared, const std::vector<std::string>& reachable,
                  std::vector<Problem>& problems) {
  std::map<std::string, std::vector<std::string>> unused;
  for (const DeclaredField& field : declared.fields)
    if (std::find(reachable.begin(), reachable.end(), field.field.name) == reachable.end())
      unused[field.pointer].push_back(field.field.name);
  for (const auto& [pointer, names] : unused) {
    std::string list;
    for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 5); ++i)
      list += (i == 0 ? "\"" : ", \"") + names[i] + "\"";
    if (names.size() > 5) list += ", ...";
    problems.push_back({pointer, list + (names.size() == 1 ? " has" : " have") +
                                     " no effect: the trainer never mentions " +
                                     (names.size() == 1 ? "it" : "them") +
                                     " (write {\"$param\": \"" + names[0] +
                                     "\"} where it belongs, or take it out)"});
  }
}

}  // namespace

std::vector<Point> covering_sample(const SearchSpace& space) {
  std::vector<Point> points;
  const std::optional<std::int64_t> size = space.cross_size();
  if (size && *size <= kAllUpTo) {
    for (std::int64_t n = 0; n < *size; ++n) {
      Point point;
      std::int64_t rest = n;
      for (const Field& field : space.fields()) {
        point.push_back(field.value_at(rest % *field.cardinality()));
        rest /= *field.cardinality();
      }
      points.push_back(std::move(point));
    }
    return points;
  }
  Rng rng(0, 0, Purpose::propose);
  const std::size_t points_max = std::min(kSampleMax, kWorkMax / (space.size() * space.size() + 1));
  for (std::size_t i = 0; i < space.size(); ++i) {
    const Field& field = space.fields()[i];
    const std::int64_t count = field.cardinality().value_or(2);
    const std::int64_t tried = std::min(count, kPerField);
    for (std::int64_t n = 0; n < tried && points.size() < points_max; ++n) {
      Point point = space.sample(rng);
      const double unit =
          tried == 1 ? 0.0 : static_cast<double>(n) / static_cast<double>(tried - 1);
      point[i] = count == tried && field.cardinality() ? field.value_at(n) : field.decode(unit);
      points.push_back(std::move(point));
    }
  }
  for (int n = 0; n < kRandom; ++n) points.push_back(space.sample(rng));
  return points;
}

TrainerReading read_trainer(const JsonPlace& trainer, const DeclaredSpace& declared,
                            bool space_good, std::vector<Problem>& problems) {
  std::vector<Field> fields;
  for (const DeclaredField& field : declared.fields) fields.push_back(field.field);
  TrainerReading out;
  out.space = SearchSpace(fields);

  const std::optional<JsonPlace> named = trainer.find("name");
  const std::string name = named ? named->text().value_or("") : "";
  const std::vector<std::string> known = trainer_names();
  const bool known_name = std::find(known.begin(), known.end(), name) != known.end();
  if (!name.empty() && !known_name) {
    std::string list;
    for (const std::string& one : known) list += (list.empty() ? "" : ", ") + one;
    problems.push_back({"/trainer/name", "there is no trainer \"" + name + "\"" +
                                             did_you_mean(name, known) + "; there are " + list});
  }

  // Shared by the copies of the space, which must be copyable.
  std::shared_ptr<const Template> block;
  const std::size_t before = problems.size();
  try {
    block = std::make_shared<const Template>(trainer.dump());
  } catch (const ConfigError& error) {
    for (const Problem& problem : error.problems())
      problems.push_back({"/trainer" + problem.pointer, problem.message});
    return out;
  }
  const SearchSpace names = by_name(declared);
  for (const Problem& problem : block->check(names))
    problems.push_back({"/trainer" + problem.pointer, problem.message});
  // The built-in network decides what is active; other programs get the whole point.
  const bool decides = name == "cnn";
  if (decides) {
    require_used(declared, block->reachable(names), problems);
    out.space = SearchSpace(std::move(fields),
                            [block](const ParamSet& point) { return block->mentions(point); });
  }
  if (!known_name) return out;
  const bool partial = !space_good || problems.size() != before;
  Sampler sampler(name, *block, out.space, partial, declared.declared);
  for (const Point& point : covering_sample(out.space)) sampler.look_at(point);
  sampler.report(problems);
  out.epochs = sampler.epochs();
  out.metrics = sampler.metrics();
  return out;
}

}  // namespace brood
