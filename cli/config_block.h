// One object of a config read against the key table: what is unknown, missing or of the wrong form
// becomes a problem, what is right can be asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/config_document.h"
#include "engine/error.h"
#include "engine/experiment.h"

namespace brood {

class Block {
 public:
  // The section names the rows of the table. With open, keys that are not in the table belong to
  // somebody else.
  Block(const JsonPlace& place, std::string_view section, std::vector<Problem>& problems,
        bool open = false);

  bool is_object() const { return place_.kind() == JsonPlace::Kind::object; }
  const JsonPlace& place() const { return place_; }

  // Only values of the right form; nullopt is left out or has been complained about.
  std::optional<JsonPlace> find(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::optional<std::int64_t> whole(std::string_view key) const;
  std::optional<double> real(std::string_view key) const;
  std::optional<Millis> duration(std::string_view key) const;
  std::optional<std::uint64_t> size(std::string_view key) const;

  void problem(std::string_view key, std::string message) const;

 private:
  JsonPlace place_;
  std::string section_;
  std::vector<std::string> good_;  // keys whose value has the right form
  std::vector<Problem>* problems_;
};

}  // namespace brood
