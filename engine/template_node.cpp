#include "engine/template_node.h"

#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/json_text.h"
#include "engine/suggest.h"

namespace brood {

namespace {

using Kind = TemplateNode::Kind;

std::string shown(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

class Parser {
 public:
  explicit Parser(std::vector<Problem>& problems) : problems_(problems) {}

  TemplateNode value(const Json& json, const std::string& pointer) {
    TemplateNode node;
    node.pointer = pointer;
    if (json.is_object()) {
      for (const auto& [key, item] : json.items())
        if (key.starts_with("$")) return reference(json, pointer);
      bool fixed = true;
      for (const auto& [key, item] : json.items()) {
        add(node, key, value(item, pointer + "/" + pointer_token(key)));
        fixed = fixed && node.items.back().kind == Kind::literal;
      }
      node.kind = fixed ? Kind::literal : Kind::object;
    } else if (json.is_array()) {
      node = list(json, pointer);
    }
    if (node.kind == Kind::literal) {
      node.items.clear();
      node.text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    return node;
  }

 private:
  static void add(TemplateNode& node, const std::string& key, TemplateNode item) {
    item.key = key;
    node.items.push_back(std::move(item));
  }

  void problem(const std::string& pointer, std::string message) {
    problems_.push_back({pointer, std::move(message)});
  }

  TemplateNode list(const Json& json, const std::string& pointer) {
    TemplateNode node;
    node.pointer = pointer;
    node.kind = Kind::literal;
    for (std::size_t i = 0; i < json.size(); ++i) {
      add(node, "", element(json[i], pointer + "/" + std::to_string(i)));
      const Kind kind = node.items.back().kind;
      if (kind != Kind::literal) node.kind = Kind::list;
      if (kind != Kind::literal && kind != Kind::object && kind != Kind::list) node.shifts = true;
    }
    return node;
  }

  TemplateNode element(const Json& json, const std::string& pointer) {
    if (json.is_object() && json.size() == 1) {
      if (json.contains("repeat")) return repeat(json["repeat"], pointer + "/repeat");
      if (json.contains("choose")) return choose(json["choose"], pointer + "/choose");
    }
    return value(json, pointer);
  }

  TemplateNode reference(const Json& json, const std::string& pointer) {
    TemplateNode node;
    node.pointer = pointer;
    for (const auto& [key, item] : json.items()) {
      const std::string at = pointer + "/" + pointer_token(key);
      if (key != "$param" && key != "$expr") {
        const bool dollar = key.starts_with("$");
        problem(at, dollar ? "unknown reference" + did_you_mean(key, {"$param", "$expr"}) +
                                 "; there are $param and $expr"
                           : "a reference stands alone in its object: take this key out");
      } else if (!item.is_string()) {
        problem(at, "expected a text in quotes (found " + shown(item) + ")");
      } else {
        try {
          if (key == "$param") {
            node.kind = Kind::parameter;
            node.reference = parse_reference(item.get<std::string>());
          } else {
            node.kind = Kind::expression;
            node.expression = Expression::parse(item.get<std::string>());
          }
        } catch (const UserError& error) {
          problem(at, error.what());
        }
      }
    }
    if (json.contains("$param") && json.contains("$expr"))
      problem(pointer, "either $param or $expr, not both");
    return node;
  }

  // The keys of a composer, each a problem when it is missing or unknown.
  bool has_keys(const Json& json, const std::string& pointer,
                const std::vector<std::string>& required, const std::vector<std::string>& known) {
    if (!json.is_object()) {
      problem(pointer, "expected an object (found " + shown(json) + ")");
      return false;
    }
    bool good = true;
    for (const auto& [key, item] : json.items()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      problem(pointer + "/" + pointer_token(key), "unknown key" + did_you_mean(key, known));
      good = false;
    }
    for (const std::string& key : required) {
      if (json.contains(key)) continue;
      problem(pointer, "\"" + key + "\" is missing");
      good = false;
    }
    return good;
  }

  TemplateNode body(const Json& json, const std::string& pointer) {
    if (json.is_array()) return list(json, pointer);
    problem(pointer, "expected a list (found " + shown(json) + ")");
    return {};
  }

  TemplateNode repeat(const Json& json, const std::string& pointer) {
    TemplateNode node;
    node.pointer = pointer;
    node.kind = Kind::repeat;
    if (!has_keys(json, pointer, {"count", "body"}, {"count", "as", "body"})) return node;
    const Json& count = json["count"];
    add(node, "count", value(count, pointer + "/count"));
    if (node.items[0].kind == Kind::literal && !count.is_number_integer())
      problem(pointer + "/count",
              "expected a whole number, $param or $expr (found " + shown(count) + ")");
    const bool named = json.contains("as");
    if (named && json["as"].is_string() && is_name(json["as"].get<std::string>()))
      node.text = json["as"].get<std::string>();
    else if (named)
      problem(pointer + "/as", "expected a name like \"i\" (found " + shown(json["as"]) + ")");
    const bool taken = std::find(counters_.begin(), counters_.end(), node.text) != counters_.end();
    if (!node.text.empty() && taken)
      problem(pointer + "/as",
              "an outer repeat already counts with \"" + node.text + "\": take another name");
    counters_.push_back(node.text);
    add(node, "body", body(json["body"], pointer + "/body"));
    counters_.pop_back();
    return node;
  }

  TemplateNode choose(const Json& json, const std::string& pointer) {
    TemplateNode node;
    node.pointer = pointer;
    node.kind = Kind::choose;
    if (!has_keys(json, pointer, {"by", "cases"}, {"by", "cases"})) return node;
    add(node, "by", value(json["by"], pointer + "/by"));
    const Kind kind = node.items[0].kind;
    if (kind != Kind::parameter && kind != Kind::expression)
      problem(pointer + "/by", "expected $param or $expr (found " + shown(json["by"]) + ")");
    const Json& cases = json["cases"];
    if (!cases.is_object() || cases.empty()) {
      problem(
          pointer + "/cases",
          "expected an object with a list of layers for each value (found " + shown(cases) + ")");
      return node;
    }
    for (const auto& [key, item] : cases.items())
      add(node, key, body(item, pointer + "/cases/" + pointer_token(key)));
    return node;
  }

  std::vector<Problem>& problems_;
  std::vector<std::string> counters_;
};

}  // namespace

TemplateNode parse_template(std::string_view block, std::vector<Problem>& problems) {
  return Parser(problems).value(parse_json(block), "");
}

}  // namespace brood
