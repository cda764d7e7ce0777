// A subcommand's arguments: declared once, parsed, checked, and shown by --help.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace brood {

// An option or a positional argument. Positional ones have no dashes and come in the order of
// declaration; the last may take many values.
struct Argument {
  enum class Takes : std::uint8_t { nothing, one, many };
  std::string name;  // "executors", or "db,d" with a short form
  Takes takes = Takes::one;
  std::string help;
  bool positional = false;
  bool required = false;
};

class Arguments {
 public:
  // Throws UserError for an unknown option, a missing argument or one too many, with the usage.
  Arguments(const std::string& command, const std::vector<Argument>& known,
            const std::vector<std::string>& words);

  bool has(const std::string& name) const;
  std::string text(const std::string& name) const;  // "" when absent
  std::vector<std::string> list(const std::string& name) const;
  // Throws UserError unless it is a whole number of at least min.
  std::optional<std::int64_t> whole(const std::string& name, std::int64_t min) const;

 private:
  struct Given {
    std::string name;
    std::vector<std::string> values;
  };
  const Given* find(const std::string& name) const;
  std::string command_;
  std::vector<Given> given_;
};

// The text of `brood COMMAND --help`.
std::string usage(const std::string& command, const std::string& summary,
                  const std::vector<Argument>& known);

}  // namespace brood
