// The settings of an algorithm as a table: one entry a setting, from which they are checked, filled
// in and read.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "engine/params.h"

namespace brood {

struct Setting {
  enum class Kind : std::uint8_t { whole, real, choice };
  std::string path;  // nested objects by a slash: mutation/sigma
  Kind kind = Kind::whole;
  std::optional<double> fallback = {};    // whole and real: the default; nullopt: null, allowed
  double min = 0.0, max = 0.0;            // whole and real; both included
  std::vector<std::string> choices = {};  // choice: the first is the default
  bool shapes_proposals = true;           // strategies: may not change on resume
  // Of a choice, the path and the value without which this setting has no effect; none: "".
  std::string with_path = {}, with_choice = {};
};

// Checked settings with the defaults filled in. Asking for one that is not in the table is a bug.
class Settings {
 public:
  Settings(const std::vector<Setting>& table, const std::string& json);

  int whole(const std::string& path) const;
  double real(const std::string& path) const;
  const std::string& choice(const std::string& path) const;
  bool given(const std::string& path) const {
    return values_.contains(path);
  }  // not null, and has an effect

 private:
  std::map<std::string, Value> values_;
};

// What is wrong with the settings, with pointers into the block that holds them (/settings/...).
std::vector<Problem> check_settings(const std::vector<Setting>& table, const std::string& json);

// As JSON text in the order of the table, with every default filled in, but for settings that have
// no effect beside the others.
std::string filled_in(const std::vector<Setting>& table, const std::string& json);

}  // namespace brood
