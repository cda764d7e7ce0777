#include "store/layout.h"

#include <algorithm>
#include <array>
#include <set>

#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

namespace {

using Type = ParamColumn::Type;

constexpr std::array<std::string_view, 6> kTypes = {"real",  "whole", "flag",
                                                    "label", "any",   "any_or_switch"};
constexpr std::array<std::string_view, 6> kSqlTypes = {"REAL", "INTEGER", "INTEGER",
                                                       "TEXT", "ANY",     "ANY"};

// What the views call their own; a parameter or metric of such a name gets a prefix.
constexpr std::array<std::string_view, 18> kReserved = {
    "trial",      "state",       "objective",  "epochs",  "epoch",    "origin",
    "parent",     "same_as",     "cause",      "why",     "attempts", "wall_seconds",
    "best_epoch", "first_epoch", "last_epoch", "wall_us", "rowid",    "oid"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// A name nothing else has, as SQLite compares names; adds it to `taken` (in lower case).
std::string free_column(std::string_view name, const char* prefix, std::set<std::string>& taken) {
  std::string plain;
  for (const char c : name) plain += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '_' : c;
  std::string column = plain;
  for (int number = 1; column.empty() || !taken.insert(lower(column)).second; ++number) {
    column = prefix + plain;
    if (number > 1) column.append("_").append(std::to_string(number));
  }
  return column;
}

std::set<std::string> reserved() { return {kReserved.begin(), kReserved.end()}; }

Type type_of_values(const Field& field) {
  std::array<bool, 4> holds{};
  for (const Value& value : field.values) holds[value.index()] = true;
  const auto [flags, wholes, reals, labels] = holds;
  if (flags && !wholes && !reals && !labels) return Type::flag;
  if (wholes && !flags && !reals && !labels) return Type::whole;
  if (reals && !flags && !wholes && !labels) return Type::real;
  if (labels && !flags && !wholes && !reals) return Type::label;
  if (!flags) return Type::any;
  for (const Value& value : field.values) {
    const auto* label = std::get_if<std::string>(&value);
    if (label != nullptr && (*label == "true" || *label == "false"))
      throw UserError("parameter \"" + field.name +
                      "\": its values hold switches and the label \"" + *label +
                      "\", which a table cannot tell apart: rename the label");
  }
  return Type::any_or_switch;
}

Type type_of(const Field& field) {
  switch (field.kind) {
    case FieldKind::real:
      return Type::real;
    case FieldKind::whole:
      return Type::whole;
    case FieldKind::flag:
      return Type::flag;
    case FieldKind::categorical:
    case FieldKind::ordinal:
    case FieldKind::constant:
      break;
  }
  return type_of_values(field);
}

}  // namespace

std::vector<ParamColumn> param_columns(const SearchSpace& space) {
  constexpr std::size_t kMost = 1900;  // SQLite takes 2000 columns a table
  if (space.size() > kMost)
    throw UserError("the search space has " + std::to_string(space.size()) +
                    " parameters: a database takes up to " + std::to_string(kMost));
  std::set<std::string> taken = reserved();
  std::vector<ParamColumn> out;
  for (const Field& field : space.fields())
    out.push_back({field.name, free_column(field.name, "param_", taken), type_of(field)});
  return out;
}

void add_metric(Layout& layout, std::string name, bool exact) {
  std::set<std::string> taken = reserved();
  for (const ParamColumn& param : layout.params) taken.insert(lower(param.column));
  for (const MetricColumn& metric : layout.metrics) taken.insert(lower(metric.column));
  std::string column = free_column(name, "metric_", taken);
  layout.metrics.push_back({std::move(name), exact, std::move(column)});
}

std::string params_to_json(const std::vector<ParamColumn>& params) {
  Json out = Json::array();
  for (const ParamColumn& param : params)
    out.push_back({{"name", param.name},
                   {"column", param.column},
                   {"type", kTypes[static_cast<std::size_t>(param.type)]}});
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string metrics_to_json(const std::vector<MetricColumn>& metrics) {
  Json out = Json::array();
  for (const MetricColumn& metric : metrics)
    out.push_back({{"name", metric.name}, {"column", metric.column}, {"exact", metric.exact}});
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Layout load_layout(sqlite::Connection& db, std::int64_t experiment) {
  sqlite::Statement find(
      db, "SELECT suffix, goal, space, metrics, objective FROM experiment WHERE id = ?1");
  CHECK(find.bind(1, experiment).step(), "an experiment that was just found");
  Layout layout;
  layout.experiment = experiment;
  layout.suffix = find.text(0);
  layout.objective = find.text(4);
  layout.maximize = find.text(1) == "maximize";
  try {
    for (const Json& param : parse_json(find.text(2))) {
      const auto type =
          std::find(kTypes.begin(), kTypes.end(), param.at("type").get<std::string>());
      if (type == kTypes.end()) throw UserError("unknown type of a parameter");
      layout.params.push_back({param.at("name"), param.at("column"),
                               static_cast<Type>(std::distance(kTypes.begin(), type))});
    }
    for (const Json& metric : parse_json(find.text(3)))
      layout.metrics.push_back({metric.at("name"), metric.at("exact"), metric.at("column")});
  } catch (const std::exception& error) {
    throw UserError(db.path() + ": is damaged: experiment " + std::to_string(experiment) +
                    " has no readable space or metrics (" + error.what() + "): restore a copy");
  }
  find.reset();
  return layout;
}

void bind_value(sqlite::Statement& statement, int at, const Value& value, Type type) {
  if (const bool* flag = std::get_if<bool>(&value)) {
    if (type == Type::any_or_switch)
      statement.bind(at, std::string_view(*flag ? "true" : "false"));
    else
      statement.bind(at, *flag ? 1 : 0);
  } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    CHECK(type != Type::real, "a whole number for a real parameter");
    statement.bind(at, *whole);
  } else if (const auto* real = std::get_if<double>(&value)) {
    statement.bind(at, *real);
  } else {
    statement.bind(at, std::string_view(std::get<std::string>(value)));
  }
}

Value read_value(const sqlite::Statement& statement, int column, Type type) {
  if (type == Type::flag) return statement.whole(column) != 0;
  switch (statement.type(column)) {
    case sqlite::CellType::whole:
      return statement.whole(column);
    case sqlite::CellType::real:
      return statement.real(column);
    default:
      break;
  }
  const std::string_view text = statement.text(column);
  if (type == Type::any_or_switch && (text == "true" || text == "false")) return text == "true";
  return std::string(text);
}

std::string point_table(std::int64_t experiment) { return "point_" + std::to_string(experiment); }

std::string create_point_table(const Layout& layout) {
  std::string sql = "CREATE TABLE " + point_table(layout.experiment) + "(trial INTEGER PRIMARY KEY";
  for (const ParamColumn& param : layout.params)
    sql += ", " + sqlite::quote_name(param.column) + " " +
           std::string(kSqlTypes[static_cast<std::size_t>(param.type)]);
  return sql + ") STRICT";
}

std::string metric_columns(std::size_t first, std::size_t count) {
  std::string sql;
  for (std::size_t i = first; i < first + count; ++i) sql += ", m" + std::to_string(i);
  return sql;
}

std::string suffix_of(std::string_view experiment_name) {
  std::string out;
  for (const char c : experiment_name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    out += plain ? c : '_';
  }
  return out;
}

}  // namespace brood
