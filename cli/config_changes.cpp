// What differs between the config of a record and the one at hand, and whether a resume may take
// it.
#include <algorithm>

#include "cli/config.h"
#include "cli/config_document.h"
#include "cli/config_keys.h"
#include "strategies/strategies.h"

namespace brood {

namespace {

using Kind = JsonPlace::Kind;

// Everything under these may change: it says where, how long and on what, never what.
const std::vector<std::string> kAllowed = {"/experiment/description",
                                           "/budget",
                                           "/objective/target",
                                           "/resources/executors",
                                           "/resources/devices",
                                           "/resources/trials_per_device",
                                           "/fault_tolerance",
                                           "/output",
                                           "/data_dir",
                                           "/cache_dir",
                                           "/$schema"};

bool inside(const std::string& pointer, const std::string& place) {
  return pointer.starts_with(place) &&
         (pointer.size() == place.size() || pointer[place.size()] == '/');
}

// The default of a key that is left out, as compact JSON; empty when it has none.
std::string fallback(const std::string& pointer) {
  for (const ConfigKey& key : config_keys()) {
    std::string place = "/" + std::string(key.section) + "/" + std::string(key.name);
    if (key.section.empty()) place = "/" + std::string(key.name);
    if (key.section == "output.checkpoints") place = "/output/checkpoints/" + std::string(key.name);
    if (place == pointer) return std::string(key.fallback);
  }
  return "";
}

class Comparer {
 public:
  explicit Comparer(std::vector<std::string> shaping) : shaping_(std::move(shaping)) {}

  void compare(const std::string& pointer, const std::optional<JsonPlace>& before,
               const std::optional<JsonPlace>& after) {
    const auto is = [](const std::optional<JsonPlace>& place, Kind kind) {
      return place && place->kind() == kind;
    };
    // A block that is left out is one with all its keys left out.
    const bool either = fallback(pointer) == "{}" && (before || after);
    const bool objects = (is(before, Kind::object) || (either && !before)) &&
                         (is(after, Kind::object) || (either && !after));
    const bool lists = is(before, Kind::list) && is(after, Kind::list) &&
                       before->elements().size() == after->elements().size();
    if (objects || lists) return children(pointer, before, after);
    const std::string was = before ? before->dump() : fallback(pointer);
    const std::string now = after ? after->dump() : fallback(pointer);
    if (was != now) note(pointer, was, now);
  }

  std::vector<ConfigChange> changes;

 private:
  static std::vector<JsonPlace> inside_of(const std::optional<JsonPlace>& place) {
    if (!place) return {};
    std::vector<JsonPlace> out = place->elements();
    for (auto& [key, value] : place->members()) out.push_back(value);
    return out;
  }

  void children(const std::string& pointer, const std::optional<JsonPlace>& before,
                const std::optional<JsonPlace>& after) {
    const std::vector<JsonPlace> olds = inside_of(before), news = inside_of(after);
    const auto find = [](const std::vector<JsonPlace>& places, const std::string& wanted) {
      const auto at = std::find_if(places.begin(), places.end(), [&](const JsonPlace& place) {
        return place.pointer() == wanted;
      });
      return at == places.end() ? std::nullopt : std::optional<JsonPlace>(*at);
    };
    const std::size_t found = changes.size();
    for (const JsonPlace& old : olds) compare(old.pointer(), old, find(news, old.pointer()));
    for (const JsonPlace& fresh : news)
      if (!find(olds, fresh.pointer())) compare(fresh.pointer(), std::nullopt, fresh);
    // The order of the parameters decides the order of a grid and the draws of all others.
    if (pointer == "/search_space" && changes.size() == found && names(olds) != names(news))
      note(pointer, names(olds), names(news));
  }

  static std::string names(const std::vector<JsonPlace>& places) {
    std::string text;
    for (const JsonPlace& place : places)
      text += (text.empty() ? "[\"" : ", \"") + place.key() + "\"";
    return text + "]";
  }

  void note(const std::string& pointer, const std::string& was, const std::string& is) {
    bool allowed = std::any_of(kAllowed.begin(), kAllowed.end(),
                               [&](const std::string& place) { return inside(pointer, place); });
    if (inside(pointer, "/search/settings"))
      allowed = std::none_of(shaping_.begin(), shaping_.end(), [&](const std::string& place) {
        return inside(pointer, "/search" + place) || inside("/search" + place, pointer);
      });
    changes.push_back({pointer, was, is, allowed});
  }

  std::vector<std::string> shaping_;
};

// With the settings of the algorithms filled in, so that spelling out a default is no change.
Document filled(const std::string& config, std::string& algorithm) {
  std::vector<Problem> ignored;
  Document document(config, ignored);
  for (const char* key : {"search", "early_stopping"}) {
    const std::optional<JsonPlace> block = document.root().find(key);
    const std::optional<JsonPlace> named = block ? block->find("algorithm") : std::nullopt;
    const std::string name = named ? named->text().value_or("") : "";
    std::vector<std::string> known = strategy_names();
    if (std::string(key) == "search")
      algorithm = name;
    else
      known = stopper_names();
    if (std::find(known.begin(), known.end(), name) == known.end()) continue;
    const std::optional<JsonPlace> settings = block->find("settings");
    document.set("/" + std::string(key) +
                 "/settings=" + with_defaults({name, settings ? settings->dump() : "{}"}));
  }
  return document;
}

}  // namespace

std::vector<ConfigChange> compare_configs(const std::string& before, const std::string& after) {
  std::string algorithm_before, algorithm_after;
  const Document old_config = filled(before, algorithm_before);
  const Document new_config = filled(after, algorithm_after);
  std::vector<std::string> shaping;
  const std::vector<std::string> known = strategy_names();
  const bool same = algorithm_before == algorithm_after &&
                    std::find(known.begin(), known.end(), algorithm_before) != known.end();
  shaping = same ? proposal_keys(algorithm_before) : std::vector<std::string>{"/settings"};
  Comparer comparer(std::move(shaping));
  comparer.compare("", old_config.root(), new_config.root());
  return comparer.changes;
}

std::string to_text(const ConfigChange& change) {
  constexpr std::size_t kShownMax = 200;
  const auto shown = [](const std::string& json) {
    if (json.empty()) return std::string("(none)");
    return json.size() > kShownMax ? json.substr(0, kShownMax - 3) + "..." : json;
  };
  return change.pointer + ": " + shown(change.before) + " -> " + shown(change.after);
}

}  // namespace brood
