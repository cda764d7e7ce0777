#include "cli/config_block.h"

#include <algorithm>
#include <cmath>

#include "cli/config_keys.h"
#include "engine/device.h"
#include "engine/json_text.h"
#include "engine/suggest.h"
#include "engine/units.h"

namespace brood {

namespace {

using Form = ConfigKey::Form;
using Kind = JsonPlace::Kind;

std::vector<std::string> choices_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t bar = std::min(text.find('|'), text.size());
    out.emplace_back(text.substr(0, bar));
    text.remove_prefix(std::min(bar + 1, text.size()));
  }
  return out;
}

std::string list_of(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

template <class Parse>
std::string refusal(Parse parse, const std::string& text) {
  try {
    parse(text);
    return "";
  } catch (const UserError& error) {
    return error.what();
  }
}

bool in_range(const ConfigKey& key, const JsonPlace& place) {
  const std::optional<double> number = place.number();
  return place.kind() == Kind::whole && place.scalar() && *number >= key.min && *number <= key.max;
}

// 100 is meant as MiB or GiB, and would be bytes.
std::string wrong_size(const JsonPlace& place, const std::string& otherwise) {
  constexpr double kLeast = 0x1p20;
  const bool bare = place.kind() == Kind::whole && place.scalar();
  if ((!bare && place.kind() != Kind::text) || (bare && *place.number() < 1)) return otherwise;
  if (!bare)
    if (std::string wrong = refusal(parse_size, *place.text()); !wrong.empty()) return wrong;
  const double bytes = bare ? *place.number() : static_cast<double>(parse_size(*place.text()));
  if (bytes >= kLeast) return "";
  const std::string number = place.dump();
  return "should be at least 1MiB (is " + number +
         (bare ? ", which is in bytes: with a unit it would be \"" + number + "MiB\")" : ")");
}

bool names_devices(const JsonPlace& place) {
  const auto names = place.elements();
  std::vector<std::string> seen;
  for (const JsonPlace& name : names) {
    const std::string text = name.text().value_or("");
    if (cuda_number(text) < 0 || std::find(seen.begin(), seen.end(), text) != seen.end())
      return false;
    seen.push_back(text);
  }
  return place.kind() == Kind::list && !names.empty();
}

// What is wrong with the form of a value; empty: nothing.
std::string wrong_form(const ConfigKey& key, const JsonPlace& place) {
  const Kind kind = place.kind();
  const std::string otherwise = "should be " + wanted(key) + " (is " + place.shown() + ")";
  const bool number = kind == Kind::whole || kind == Kind::real;
  const auto plain = [&](bool good) { return good ? std::string() : otherwise; };
  switch (key.form) {
    case Form::any:
      return "";
    case Form::text:
      return plain(kind == Kind::text);
    case Form::flag:
      return plain(kind == Kind::flag);
    case Form::list:
      return plain(kind == Kind::list);
    case Form::object:
      return plain(kind == Kind::object);
    case Form::real:
      return plain(number && std::isfinite(*place.number()));
    case Form::whole:
      return plain(in_range(key, place));
    case Form::executors:
      return plain(place.text() == "auto" || in_range(key, place));
    case Form::devices:
      return plain(place.text() == "auto" || place.text() == "cpu" || names_devices(place));
    case Form::duration:
      return kind == Kind::text ? refusal(parse_duration, *place.text()) : otherwise;
    case Form::size:
      return wrong_size(place, otherwise);
    case Form::bound:
      if (number) return "";
      return kind == Kind::text ? refusal(parse_size, *place.text()) : otherwise;
    case Form::choice: {
      const std::vector<std::string> known = choices_of(key.choices);
      const std::optional<std::string> text = place.text();
      if (text && std::find(known.begin(), known.end(), *text) != known.end()) return "";
      return otherwise + (text ? did_you_mean(*text, known) : "");
    }
  }
  return "";
}

}  // namespace

Block::Block(const JsonPlace& place, std::string_view section, std::vector<Problem>& problems,
             bool open)
    : place_(place), section_(section), problems_(&problems) {
  if (!is_object()) {
    problems.push_back({place.pointer(), "should be an object (is " + place.shown() + ")"});
    return;
  }
  std::vector<std::string> known;
  for (const ConfigKey& key : config_keys())
    if (key.section == section && key.need != ConfigKey::Need::later) known.emplace_back(key.name);
  for (const auto& [name, value] : place.members()) {
    const ConfigKey* key = find_key(section, name);
    if (key == nullptr) {
      const std::string hint = did_you_mean(name, known);
      if (!open)
        problem(name, "unknown key" + (hint.empty() ? "; there are " + list_of(known) : hint));
      continue;
    }
    const std::string wrong =
        key->need == ConfigKey::Need::later
            ? "comes with a later version of brood: " + std::string(key->meaning)
            : wrong_form(*key, value);
    if (wrong.empty())
      good_.push_back(name);
    else
      problem(name, wrong);
  }
  for (const ConfigKey& key : config_keys())
    if (key.section == section && key.need == ConfigKey::Need::required && !place.find(key.name))
      problems.push_back(
          {place.pointer(), "\"" + std::string(key.name) + "\" is missing: " +
                                (wanted(key) == key.example ? "" : wanted(key) + ", like ") +
                                std::string(key.example)});
}

std::optional<JsonPlace> Block::find(std::string_view key) const {
  CHECK(find_key(section_, key) != nullptr, "a key that is not in the table");
  if (std::find(good_.begin(), good_.end(), key) == good_.end()) return std::nullopt;
  return place_.find(key);
}

std::optional<std::string> Block::text(std::string_view key) const {
  const std::optional<JsonPlace> at = find(key);
  return at ? at->text() : std::nullopt;
}

std::optional<std::int64_t> Block::whole(std::string_view key) const {
  const std::optional<JsonPlace> at = find(key);
  if (!at || at->kind() != Kind::whole) return std::nullopt;
  return std::get<std::int64_t>(*at->scalar());
}

std::optional<double> Block::real(std::string_view key) const {
  const std::optional<JsonPlace> at = find(key);
  return at ? at->number() : std::nullopt;
}

std::optional<Millis> Block::duration(std::string_view key) const {
  const std::optional<std::string> at = text(key);
  return at ? std::optional(parse_duration(*at)) : std::nullopt;
}

std::optional<std::uint64_t> Block::size(std::string_view key) const {
  if (const std::optional<std::int64_t> bytes = whole(key))
    return static_cast<std::uint64_t>(*bytes);
  const std::optional<std::string> at = text(key);
  return at ? std::optional(parse_size(*at)) : std::nullopt;
}

void Block::problem(std::string_view key, std::string message) const {
  problems_->push_back({place_.pointer() + "/" + pointer_token(key), std::move(message)});
}

}  // namespace brood
