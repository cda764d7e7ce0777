// One point of a search space: named hyperparameter values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace brood {

// A switch, a whole number, a real number, or a label.
using Value = std::variant<bool, std::int64_t, double, std::string>;

// Shortest text that reads back as the same value: true, 3, 0.001, adam. A real number always
// shows that it is one (1.0, 1e-05), so that 1 and 1.0 stay apart.
std::string to_text(const Value& value);

// The value as a real number; false for a label and a switch.
bool as_real(const Value& value, double& out);

// Names and values in the declaration order of the space. It carries its own names, so that a row,
// a message or a log line can be read without the space at hand. A parameter whose condition does
// not hold is absent. A few dozen entries at most: look-up is a linear scan.
//
// Copies share their entries until one of them is changed: a run holds each point in its history,
// in the index of what was tried and in messages on their way, a million times.
class ParamSet {
 public:
  using Entry = std::pair<std::string, Value>;

  // Adds a value, or replaces the one of the same name.
  void set(std::string name, Value value);

  // nullptr when the parameter is absent.
  const Value* find(std::string_view name) const;

  // The typed look-ups throw UserError, naming the parameter, when it is absent or of another
  // type; real() also takes a whole number.
  double real(std::string_view name) const;
  std::int64_t whole(std::string_view name) const;
  bool flag(std::string_view name) const;
  const std::string& label(std::string_view name) const;

  const std::vector<Entry>& entries() const;
  bool empty() const { return entries().empty(); }

  // Values compare by type and exactly; so does hash().
  friend bool operator==(const ParamSet& a, const ParamSet& b) {
    return a.entries() == b.entries();
  }

 private:
  std::shared_ptr<std::vector<Entry>> entries_;  // null: none
};

// Stable across machines, builds and versions (it is stored): FNV-1a over names, types and bits.
std::uint64_t hash(const ParamSet& params);

// "learning_rate=0.001 dropout=0.45", for log lines and tables.
std::string to_text(const ParamSet& params);

}  // namespace brood
