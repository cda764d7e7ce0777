#include "engine/resolve.h"

#include <algorithm>
#include <utility>

#include "engine/expression.h"
#include "engine/json_text.h"
#include "engine/template_node.h"

namespace brood {

namespace {

using Kind = TemplateNode::Kind;

constexpr double kCountMax = 1000;
constexpr std::size_t kElementsMax = 10000;
constexpr std::size_t kBytesMax = std::size_t{16} << 20;

std::string json_text(const Value& value) {
  const auto* label = std::get_if<std::string>(&value);
  return label != nullptr ? json_quoted(*label) : to_text(value);
}

// Writes the resolved block as text while it walks the tree.
class Writer {
 public:
  Writer(const ParamSet& params, const std::vector<std::string>* declared) {
    scope_.params = &params;
    scope_.declared = declared;
  }

  Resolved whole(const TemplateNode& root) {
    value(root);
    Resolved out;
    out.json = std::move(out_);
    out.moved = std::move(moved_);
    out.removed = std::move(removed_);
    const auto& entries = scope_.params->entries();
    std::vector<bool> used(entries.size(), false);
    for (const std::size_t at : scope_.used) used[at] = true;
    for (std::size_t i = 0; i < entries.size(); ++i)
      if (used[i]) out.mentioned.push_back(entries[i].first);
    return out;
  }

 private:
  [[noreturn]] static void fail(const std::string& pointer, std::string message) {
    throw ResolveError({pointer, std::move(message)});
  }

  // The value of a parameter or an expression; nullopt: absent.
  std::optional<Value> evaluate(const TemplateNode& node) {
    try {
      if (node.kind == Kind::parameter) {
        const Value* found = node.reference.find(scope_);
        return found == nullptr ? std::nullopt : std::optional<Value>(*found);
      }
      const std::optional<double> number = node.expression.evaluate(scope_);
      return number ? std::optional<Value>(number_value(*number)) : std::nullopt;
    } catch (const ResolveError&) {
      throw;
    } catch (const UserError& error) {
      fail(node.pointer, error.what());
    }
  }

  // False: the node is absent and nothing was written.
  bool value(const TemplateNode& node) {
    if (out_.size() > kBytesMax) fail(node.pointer, "the resolved block is above 16 MB");
    switch (node.kind) {
      case Kind::literal:
        out_ += node.text;
        return true;
      case Kind::object:
        object(node);
        return true;
      case Kind::list:
        list(node);
        return true;
      default:
        break;
    }
    const std::optional<Value> found = evaluate(node);
    if (found)
      out_ += json_text(*found);
    else
      removed_.emplace_back(
          path_, node.kind == Kind::parameter ? node.reference.written() : node.expression.text());
    return found.has_value();
  }

  void object(const TemplateNode& node) {
    out_ += '{';
    bool first = true;
    for (const auto& [key, item] : node.items) {
      const std::size_t before = out_.size(), place = path_.size();
      if (!first) out_ += ',';
      out_ += json_quoted(key) + ":";
      path_ += '/';
      path_ += pointer_token(key);
      const bool written = value(item);
      path_.resize(place);
      if (written)
        first = false;
      else
        out_.resize(before);
    }
    out_ += '}';
  }

  void list(const TemplateNode& node) {
    out_ += '[';
    std::size_t next = 0;
    for (const auto& [key, item] : node.items) element(item, next, node.shifts);
    out_ += ']';
  }

  // next: the index of the next element in the resolved list.
  void element(const TemplateNode& node, std::size_t& next, bool shifts) {
    if (node.kind == Kind::repeat) return repeat(node, next);
    if (node.kind == Kind::choose) return choose(node, next);
    if (depth_ > 0 && ++elements_ > kElementsMax)
      fail(node.pointer, "the repeats make more than 10,000 list elements");
    const std::size_t before = out_.size(), place = path_.size();
    if (next > 0) out_ += ',';
    path_ += '/';
    path_ += std::to_string(next);
    if (shifts) moved_.emplace_back(path_, node.pointer);
    if (value(node)) {
      ++next;
    } else {
      out_.resize(before);
      if (shifts) moved_.pop_back();  // an absent value has no children that moved
    }
    path_.resize(place);
  }

  void repeat(const TemplateNode& node, std::size_t& next) {
    const TemplateNode& count_node = node.items[0].second;
    std::int64_t count = 0;
    if (count_node.kind == Kind::literal) {
      count = literal_count(count_node);
    } else {
      const std::optional<Value> value = evaluate(count_node);
      if (!value) return;
      const auto* whole = std::get_if<std::int64_t>(&*value);
      if (whole == nullptr || *whole < 0 || static_cast<double>(*whole) > kCountMax)
        fail(count_node.pointer, "a repeat runs 0 to 1000 times (is " + to_text(*value) + ")");
      count = *whole;
    }
    ++depth_;
    for (std::int64_t i = 1; i <= count; ++i) {
      if (++rounds_ > kElementsMax)
        fail(node.pointer, "the repeats run more than 10,000 times in all");
      scope_.counters.emplace_back(node.text, i);
      for (const auto& [key, item] : node.items[1].second.items) element(item, next, true);
      scope_.counters.pop_back();
    }
    --depth_;
  }

  static std::int64_t literal_count(const TemplateNode& node) {
    if (node.text.size() > 4 || node.text.front() == '-' || std::stoi(node.text) > kCountMax)
      fail(node.pointer, "a repeat runs 0 to 1000 times (is " + node.text + ")");
    return std::stoi(node.text);
  }

  void choose(const TemplateNode& node, std::size_t& next) {
    const TemplateNode& by = node.items[0].second;
    const std::optional<Value> value = evaluate(by);
    if (!value) return;
    const std::string wanted = to_text(*value);
    for (std::size_t i = 1; i < node.items.size(); ++i) {
      if (node.items[i].first != wanted) continue;
      for (const auto& [key, item] : node.items[i].second.items) element(item, next, true);
      return;
    }
    fail(node.pointer + "/cases", "there is no case \"" + wanted + "\": add it");
  }

  Scope scope_;
  std::string out_, path_;
  std::vector<std::pair<std::string, std::string>> moved_, removed_;
  std::size_t elements_ = 0, rounds_ = 0;  // by repeats
  int depth_ = 0;                          // repeats around this place
};

}  // namespace

ResolveError::ResolveError(Problem problem)
    : UserError((problem.pointer.empty() ? "" : problem.pointer + ": ") + problem.message),
      problem_(std::move(problem)) {}

std::string Resolved::origin(std::string_view pointer) const {
  const std::pair<std::string, std::string>* best = nullptr;
  for (const auto& entry : moved) {
    const std::string& prefix = entry.first;
    const bool inside = pointer.starts_with(prefix) &&
                        (pointer.size() == prefix.size() || pointer[prefix.size()] == '/');
    if (inside && (best == nullptr || prefix.size() > best->first.size())) best = &entry;
  }
  if (best == nullptr) return std::string(pointer);
  return best->second + std::string(pointer.substr(best->first.size()));
}

Template::Template(std::string_view block) {
  std::vector<Problem> problems;
  root_ = std::make_unique<const TemplateNode>(parse_template(block, problems));
  if (!problems.empty()) throw ConfigError("", std::move(problems));
}

Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Resolved Template::resolve(const ParamSet& params, const std::vector<std::string>* declared) const {
  return Writer(params, declared).whole(*root_);
}

std::vector<std::string> Template::mentions(const ParamSet& params) const {
  try {
    return resolve(params).mentioned;
  } catch (const ResolveError&) {
    std::vector<std::string> all;
    for (const auto& [name, value] : params.entries()) all.push_back(name);
    return all;
  }
}

}  // namespace brood
