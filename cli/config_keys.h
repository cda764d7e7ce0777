// Every key of the config dialect: the one table behind the reader, the reference page and the
// schema for editors. Settings of algorithms and trainers are theirs.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace brood {

struct ConfigKey {
  enum class Form : unsigned char {
    text,
    flag,
    whole,
    real,
    choice,
    duration,
    size,
    list,
    object,
    executors,  // "auto" or a whole number
    devices,    // "auto", "cpu" or a list of GPUs
    bound,      // a number or a size
    any         // checked by its own reader
  };
  std::string_view
      section;  // "" for the top, "budget", "constraints[]" (elements), "search_space.*"
  std::string_view name;
  Form form = Form::any;
  std::string_view fallback;                 // the default as JSON; "" when there is none
  std::string_view example;                  // JSON
  std::string_view meaning;                  // one sentence; for a later key what there is instead
  std::string_view choices;                  // choice: a|b|c
  double min = 0, max = 9007199254740992.0;  // whole
  enum class Need : unsigned char { optional, required, later } need = Need::optional;

  constexpr ConfigKey required() const {
    ConfigKey copy = *this;
    copy.need = Need::required;
    return copy;
  }
  constexpr ConfigKey between(double smallest, double largest) const {
    ConfigKey copy = *this;
    copy.min = smallest;
    copy.max = largest;
    return copy;
  }
  constexpr ConfigKey one_of(std::string_view words) const {
    ConfigKey copy = *this;
    copy.choices = words;
    return copy;
  }
};

std::span<const ConfigKey> config_keys();

// Sections in the order of the page.
std::vector<std::string_view> config_sections();

// nullptr: no such key.
const ConfigKey* find_key(std::string_view section, std::string_view name);

// "a whole number of at least 1", "\"maximize\" or \"minimize\"".
std::string wanted(const ConfigKey& key);

// The rows of docs/config.md for a section, and docs/config.schema.json.
std::string markdown_table(std::string_view section);
std::string json_schema();

}  // namespace brood
