// How one experiment's parameters and metrics lie in columns, and under which names people see
// them. Parameters are the columns of point_<experiment>; metrics are m0, m1, ... of report and
// result. Any text may be a name: columns are quoted, and a name that would collide (SQLite ignores
// case) gets a prefix or a number.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/space.h"
#include "store/sqlite.h"

namespace brood {

struct ParamColumn {
  // any: labels, whole and real numbers as they are. any_or_switch: also true and false, as text.
  enum class Type : std::uint8_t { real, whole, flag, label, any, any_or_switch };
  std::string name;    // the parameter's
  std::string column;  // the column's, in point_<experiment> and in the views
  Type type = Type::label;
};

struct MetricColumn {  // the i-th is m<i>
  std::string name;
  bool exact = true;
  std::string column;  // in the views
};

struct Layout {
  std::int64_t experiment = 0;
  std::string suffix;     // of the experiment's views
  std::string objective;  // a metric
  bool maximize = true;
  std::vector<ParamColumn> params;
  std::vector<MetricColumn> metrics;
};

// Throws UserError for a space that no table can hold.
std::vector<ParamColumn> param_columns(const SearchSpace& space);

// Adds a metric; its column's name keeps clear of all others.
void add_metric(Layout& layout, std::string name, bool exact);

// The columns `space` and `metrics` of table experiment.
std::string params_to_json(const std::vector<ParamColumn>& params);
std::string metrics_to_json(const std::vector<MetricColumn>& metrics);

// The layout of a stored experiment.
Layout load_layout(sqlite::Connection& db, std::int64_t experiment);

void bind_value(sqlite::Statement& statement, int at, const Value& value, ParamColumn::Type type);
Value read_value(const sqlite::Statement& statement, int column, ParamColumn::Type type);

std::string point_table(std::int64_t experiment);                  // point_3
std::string create_point_table(const Layout& layout);              // SQL
std::string metric_columns(std::size_t first, std::size_t count);  // ", m2, m3"; empty for none

// A name as the end of a view's name: letters, digits and underscores.
std::string suffix_of(std::string_view experiment_name);

}  // namespace brood
