// What may be searched: typed, bounded, possibly conditional parameters; the map between a point
// and the unit cube; and which parameters of a point are active.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/params.h"
#include "engine/rng.h"

namespace brood {

enum class FieldKind : std::uint8_t {
  real,         // "float": [min, max], linear or log, optionally on a step
  whole,        // "int": the same over whole numbers
  flag,         // "bool"
  categorical,  // values without order
  ordinal,      // values in a meaningful order (a list of numbers)
  constant,     // one value
};

// Holds when the parent is active and its value is one of any_of, or satisfies the comparison.
struct Condition {
  enum class Op : std::uint8_t { any_of, at_least, above, at_most, below };
  std::string parent;  // an earlier-declared field
  Op op = Op::any_of;
  std::vector<Value> values;  // any_of: the labels or numbers that satisfy it
  double bound = 0.0;         // the other operators
};

struct Field {
  std::string name;  // members of a family carry their index: filters[2]
  FieldKind kind = FieldKind::constant;
  double min = 0.0, max = 0.0;  // real and whole; both included
  double step = 0.0;            // real and whole; 0: none
  bool log = false;             // real and whole
  std::vector<Value> values;    // flag: false, true; categorical, ordinal, constant: as declared
  std::vector<Condition> when;  // all must hold

  // Number of values; nullopt for a real field without a step.
  std::optional<std::int64_t> cardinality() const;
  // The i-th value, 0 <= i < cardinality().
  Value value_at(std::int64_t index) const;
  // The inverse; nullopt when the field has no such value.
  std::optional<std::int64_t> index_of(const Value& value) const;

  // The map to [0, 1]: every unit decodes to a value of the field; values of a discrete field own
  // cells of equal width, so both ends are as likely as the middle; a log field is uniform in log.
  Value decode(double unit) const;
  double encode(const Value& value) const;  // the centre of the value's cell
  bool contains(const Value& value) const;

  // "a whole number from 1 to 3", "one of 16, 32": what is allowed, for people.
  std::string allowed() const;
};

// One value per field of the space, active or not.
using Point = std::vector<Value>;

// Immutable once built; shared freely between threads.
class SearchSpace {
 public:
  // Given the point as masked by `when`, which names does the trainer's config mention? A parameter
  // that is not mentioned is inactive. Empty function: all are mentioned.
  using Mentions = std::function<std::vector<std::string>(const ParamSet&)>;

  SearchSpace() = default;
  // The fields have been checked (cli/config.cpp says what is wrong with them, with pointers).
  explicit SearchSpace(std::vector<Field> fields, Mentions mentions = {});

  const std::vector<Field>& fields() const { return fields_; }
  std::size_t size() const { return fields_.size(); }
  std::optional<std::size_t> index_of(const std::string& name) const;

  // Which fields of the point are active: conditions hold, parents are active, the trainer
  // mentions it.
  std::vector<bool> active(const Point& point) const;

  // The active part of a point, in declaration order.
  ParamSet mask(const Point& point) const;

  // The full point behind a trial's parameters: inactive genes get a value drawn from
  // (seed, trial, gene), so that it never has to be stored. mask(complete(p)) == p for every p
  // that mask() made.
  Point complete(const ParamSet& params, std::uint64_t seed, std::uint64_t trial) const;

  // A uniform draw of every field, one uniform() a field in declaration order.
  Point sample(Rng& rng) const;

  // Number of points of the full cross product; nullopt when a field is continuous, or above 2^62.
  std::optional<std::int64_t> cross_size() const;

  // Throws UserError, naming the parameter, its value and what is allowed, unless mask() could have
  // produced these values.
  void require_member(const ParamSet& params) const;

 private:
  ParamSet only(const Point& point, const std::vector<bool>& on) const;

  std::vector<Field> fields_;
  std::vector<std::vector<std::size_t>> parents_;  // by field, one for each of its conditions
  Mentions mentions_;
};

}  // namespace brood
