// What can be said of a template and a space without looking at points.
#include <algorithm>
#include <set>

#include "engine/json_text.h"
#include "engine/resolve.h"
#include "engine/suggest.h"
#include "engine/template_node.h"

namespace brood {

namespace {

using Kind = TemplateNode::Kind;

constexpr std::int64_t kCountMax = 1000;
constexpr std::int64_t kValuesShown = 100;    // fields with more values are not listed one by one
constexpr std::int64_t kIndicesTried = 5000;  // combinations of counters to evaluate an index for

// All the problems of a template, and the parameters it can reach.
class Checker {
 public:
  explicit Checker(const SearchSpace& space) : space_(space) {
    for (const Field& field : space.fields()) names_.push_back(field.name);
  }

  void visit(const TemplateNode& node) {
    switch (node.kind) {
      case Kind::parameter:
        parameter(node.reference, node.pointer + "/$param");
        break;
      case Kind::expression:
        expression(node.expression, node.pointer + "/$expr");
        break;
      case Kind::repeat:
        repeat(node);
        return;
      case Kind::choose:
        choose(node);
        return;
      default:
        break;
    }
    for (const auto& [key, item] : node.items) visit(item);
  }

  std::vector<Problem> problems;
  std::set<std::string> reached;

 private:
  struct Counter {
    std::string name;
    std::int64_t max = kCountMax;
  };

  void problem(const std::string& pointer, std::string message) {
    problems.push_back({pointer, std::move(message)});
  }

  const Field* field(const std::string& name) const {
    const std::optional<std::size_t> at = space_.index_of(name);
    return at ? &space_.fields()[*at] : nullptr;
  }

  bool is_counter(const std::string& name) const {
    return std::any_of(counters_.begin(), counters_.end(),
                       [&](const Counter& counter) { return counter.name == name; });
  }

  std::vector<std::string> members(const std::string& family) const {
    std::vector<std::string> found;
    for (const std::string& name : names_)
      if (name.starts_with(family + "[")) found.push_back(name);
    return found;
  }

  // The fields a reference may stand for; problems when there are none.
  std::vector<const Field*> parameter(const Reference& reference, const std::string& pointer) {
    const std::vector<std::string> family = members(reference.name);
    if (reference.index.empty()) {
      const Field* found = field(reference.name);
      if (found != nullptr) {
        reached.insert(found->name);
        return {found};
      }
      if (is_counter(reference.name))
        problem(pointer, "\"" + reference.name + R"(" is a counter: write {"$expr": ")" +
                             reference.name + "\"}");
      else
        undeclared(reference.name, family, pointer);
      return {};
    }
    index(reference.index.front(), pointer);
    if (family.empty()) reached.insert(reference.name);
    if (family.empty()) {
      if (field(reference.name) != nullptr)
        problem(pointer,
                "\"" + reference.name + "\" is one parameter, not a family: take the index off");
      else
        undeclared(reference.name, family, pointer);
      return {};
    }
    std::vector<const Field*> found;
    for (const std::string& name : indexed(reference, family)) {
      reached.insert(name);
      found.push_back(field(name));
    }
    if (found.empty()) {
      problem(pointer, "\"" + reference.written() + "\" is never one of the family's members, " +
                           family.front() + " to " + family.back());
      reached.insert(family.begin(), family.end());  // one complaint is enough
    }
    return found;
  }

  void undeclared(const std::string& name, const std::vector<std::string>& family,
                  const std::string& pointer) {
    if (!family.empty()) {
      reached.insert(family.begin(), family.end());
      problem(pointer, "\"" + name + "\" is a family: name a member, like \"" + family.front() +
                           "\" or, inside a repeat, \"" + name + "[i]\"");
      return;
    }
    std::vector<std::string> known;
    for (const std::string& other : names_) known.push_back(other.substr(0, other.find('[')));
    for (const Counter& counter : counters_) known.push_back(counter.name);
    problem(pointer,
            "\"" + name + "\" is not declared in search_space" + did_you_mean(name, known));
  }

  // The names inside an expression or index, each a parameter or a counter.
  void index(const Expression& inside, const std::string& pointer) {
    for (const Reference& used : inside.references()) {
      if (used.index.empty() && is_counter(used.name)) continue;
      for (const Field* found : parameter(used, pointer))
        if (!numeric(*found))
          problem(pointer, "\"" + found->name + "\" is no number: " + found->allowed());
    }
  }

  void expression(const Expression& inside, const std::string& pointer) { index(inside, pointer); }

  static bool numeric(const Field& field) {
    double ignored = 0.0;
    return field.values.empty() ||
           std::all_of(field.values.begin(), field.values.end(),
                       [&](const Value& value) { return as_real(value, ignored); });
  }

  // Members that an index can name. Counters are tried from 1 to their largest count; an index that
  // needs parameters, or too many combinations, may be any.
  std::vector<std::string> indexed(const Reference& reference,
                                   const std::vector<std::string>& family) const {
    std::vector<Counter> used;
    for (const Reference& inside : reference.index.front().references()) {
      const auto at = std::find_if(counters_.rbegin(), counters_.rend(), [&](const Counter& c) {
        return inside.index.empty() && c.name == inside.name;
      });
      if (at == counters_.rend()) return family;
      used.push_back(*at);
    }
    std::int64_t combinations = 1;
    for (const Counter& counter : used) {
      if (counter.max > kIndicesTried / combinations) return family;
      combinations *= counter.max;
    }
    std::vector<std::string> found;
    const ParamSet none;
    for (std::int64_t n = 0; n < combinations; ++n) {
      Scope scope;
      scope.params = &none;
      std::int64_t rest = n;
      for (const Counter& counter : used) {
        scope.counters.emplace_back(counter.name, rest % counter.max + 1);
        rest /= counter.max;
      }
      try {
        const std::optional<std::string> name = reference.spell(scope);
        if (name && std::find(family.begin(), family.end(), *name) != family.end() &&
            std::find(found.begin(), found.end(), *name) == found.end())
          found.push_back(*name);
      } catch (const UserError&) {
        // An index that fails for one combination is reported for the points that reach it.
      }
    }
    return found;
  }

  void repeat(const TemplateNode& node) {
    const TemplateNode& count = node.items[0].second;
    Counter counter{node.text, kCountMax};
    if (count.kind == Kind::parameter) {
      const std::string at = count.pointer + "/$param";
      const std::vector<const Field*> fields = parameter(count.reference, at);
      if (!fields.empty()) counter.max = 0;
      for (const Field* found : fields) counter.max = std::max(counter.max, largest(*found, at));
    } else if (count.kind == Kind::literal) {
      counter.max = std::clamp<std::int64_t>(std::atoll(count.text.c_str()), 0, kCountMax);
    } else {
      visit(count);
    }
    if (!node.text.empty() && std::find(names_.begin(), names_.end(), node.text) != names_.end())
      problem(node.pointer + "/as",
              "\"" + node.text + "\" is a parameter of search_space: take another name");
    counters_.push_back(counter);
    visit(node.items[1].second);
    counters_.pop_back();
  }

  // The largest count a parameter can give; a problem when it is no count.
  std::int64_t largest(const Field& field, const std::string& pointer) {
    if (field.kind == FieldKind::constant && field.values.empty()) return kCountMax;  // not known
    double low = field.min, high = field.max;
    bool whole = field.kind == FieldKind::whole;
    if (!field.values.empty()) {
      whole = true;
      low = high = 0.0;
      for (const Value& value : field.values) {
        const auto* number = std::get_if<std::int64_t>(&value);
        whole = whole && number != nullptr;
        if (number == nullptr) continue;
        low = std::min(low, static_cast<double>(*number));
        high = std::max(high, static_cast<double>(*number));
      }
    }
    if (!whole || low < 0 || high > static_cast<double>(kCountMax)) {
      problem(pointer,
              "\"" + field.name + "\" is no count from 0 to 1000: it is " + field.allowed());
      return kCountMax;
    }
    return static_cast<std::int64_t>(high);
  }

  void choose(const TemplateNode& node) {
    const TemplateNode& by = node.items[0].second;
    if (by.kind == Kind::parameter)
      cases(node, parameter(by.reference, by.pointer + "/$param"));
    else
      visit(by);
    for (std::size_t i = 1; i < node.items.size(); ++i) visit(node.items[i].second);
  }

  void cases(const TemplateNode& node, const std::vector<const Field*>& fields) {
    std::vector<std::string> possible;
    for (const Field* found : fields) {
      const std::optional<std::int64_t> count = found->cardinality();
      if (!count || *count > kValuesShown) {
        problem(node.items[0].second.pointer + "/$param",
                "\"" + found->name + "\" has too many values to choose by: " + found->allowed());
        return;
      }
      for (std::int64_t i = 0; i < *count; ++i) {
        const std::string text = to_text(found->value_at(i));
        if (std::find(possible.begin(), possible.end(), text) == possible.end())
          possible.push_back(text);
      }
    }
    if (possible.empty()) return;
    const std::string at = node.pointer + "/cases";
    std::vector<std::string> missing = possible;
    for (std::size_t i = 1; i < node.items.size(); ++i) {
      const std::string& name = node.items[i].first;
      std::erase(missing, name);
      if (std::find(possible.begin(), possible.end(), name) == possible.end())
        problem(at + "/" + pointer_token(name), "\"" + fields.front()->name + "\" is never \"" +
                                                    name + "\"" + did_you_mean(name, possible) +
                                                    ": it is " + fields.front()->allowed());
    }
    for (const std::string& name : missing)
      problem(at, "the case \"" + name + "\" is missing: add it, with [] for no layers");
  }

  const SearchSpace& space_;
  std::vector<std::string> names_;
  std::vector<Counter> counters_;
};

}  // namespace

std::vector<Problem> Template::check(const SearchSpace& space) const {
  Checker checker(space);
  checker.visit(*root_);
  return checker.problems;
}

std::vector<std::string> Template::reachable(const SearchSpace& space) const {
  Checker checker(space);
  checker.visit(*root_);
  return {checker.reached.begin(), checker.reached.end()};
}

}  // namespace brood
