// A small language to choose trials by: "val_accuracy > 0.9 and optimizer = 'adam'".
//
//   filter     = conjunction { "or" conjunction }
//   conjunction = term { "and" term }
//   term       = "not" term | "(" filter ")" | name test
//   test       = ("=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=") (value | name)
//              | ["not"] "in" "(" value { "," value } ")" | ["not"] "like" 'pattern'
//              | "is" ["not"] "missing"
//   value      = number | 'label' | true | false
//   name       = letters, digits, "_", ".", one "[...]", or anything in "double quotes"
//
// A missing value (an inactive parameter, a metric not reported) satisfies no comparison, nor its
// negation. Values are bound, names are checked: no text of the user's becomes SQL.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace brood {

// A value of a table: missing, a switch, a whole or a real number, a text.
using Cell = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

// What a name stands for.
struct KnownColumn {
  enum class Kind : std::uint8_t { number, label, flag, any };
  std::string name;    // as people write it
  std::string column;  // in the view trials_<suffix>
  Kind kind = Kind::any;
};

struct Filter {
  std::string sql;  // an expression with ?1, ?2, ...; empty: all
  std::vector<Cell> values;
};

struct SortKey {
  KnownColumn column;
  bool descending = false;
};

// Throws UserError, naming the word and its position, for what is not understood.
Filter parse_filter(std::string_view text, const std::vector<KnownColumn>& known);

// Throws UserError, with the nearest known name.
const KnownColumn& find_column(std::string_view name, const std::vector<KnownColumn>& known);

}  // namespace brood
