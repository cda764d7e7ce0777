// Arithmetic in a config: "width * 2^(i-1)". Numbers, parameters, members of families
// (filters[i-1]), loop counters, + - * / ^, parentheses, min max round floor ceil.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/params.h"

namespace brood {

// The names an expression may use, and a note of the parameters it did use.
struct Scope {
  const ParamSet* params = nullptr;
  std::vector<std::pair<std::string, std::int64_t>> counters;  // outermost first
  std::vector<std::size_t> used;                       // positions in params->entries(); may repeat
  const std::vector<std::string>* declared = nullptr;  // when given, any other name is an error

  const std::int64_t* counter(std::string_view name) const;  // nullptr: no such counter
};

class Expression;

// A name as written: "width", or "filters[i]" with the index as an expression.
struct Reference {
  std::string name;               // without the index
  std::vector<Expression> index;  // none or one

  // "width", or "filters[2]" in this scope. nullopt: the index needs an absent parameter. Throws
  // UserError for an index that is not a whole number.
  std::optional<std::string> spell(Scope& scope) const;

  std::string written() const;  // "filters[i]"

  // The parameter's value; nullptr: it is absent.
  const Value* find(Scope& scope) const;
};

// Parsed once, evaluated often. Immutable.
class Expression {
 public:
  // Throws UserError saying what is wrong at which character. At most 500 characters, 32 levels.
  static Expression parse(std::string_view text);

  // nullopt: a parameter is absent. Throws UserError for a division by zero, a result that is not
  // finite, a label in place of a number. The same bits on every machine.
  std::optional<double> evaluate(Scope& scope) const;

  // The names it uses; those inside an index are in that index.
  const std::vector<Reference>& references() const { return references_; }
  const std::string& text() const { return text_; }

 private:
  enum class Op : std::uint8_t {
    number,
    reference,
    add,
    subtract,
    multiply,
    divide,
    power,
    negate,
    min,
    max,
    round,
    floor,
    ceil
  };
  struct Step {  // of a stack machine
    Op op = Op::number;
    double number = 0.0;        // number
    std::size_t reference = 0;  // reference: index in references_
  };
  friend class ExpressionParser;

  std::string text_;
  std::vector<Step> steps_;
  std::vector<Reference> references_;
};

// "name" or "name[index]". Throws UserError.
Reference parse_reference(std::string_view text);

// A whole number when it is one: 48, not 48.0, so that it fits where whole numbers are wanted.
Value number_value(double number);

// A parameter's name: letters, digits and _, not starting with a digit.
bool is_name(std::string_view text);

}  // namespace brood
