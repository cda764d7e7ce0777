#include "engine/units.h"

#include <array>
#include <charconv>
#include <cmath>

#include "engine/error.h"

namespace brood {

namespace {

struct Unit {
  std::string_view name;
  double worth;
};

constexpr std::array<Unit, 5> kTimes = {
    {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 36e5}, {"d", 864e5}}};
constexpr std::array<Unit, 9> kSizes = {{{"B", 1},
                                         {"kB", 1e3},
                                         {"MB", 1e6},
                                         {"GB", 1e9},
                                         {"TB", 1e12},
                                         {"KiB", 0x1p10},
                                         {"MiB", 0x1p20},
                                         {"GiB", 0x1p30},
                                         {"TiB", 0x1p40}}};
constexpr double kTimeMax = 10 * 365 * 864e5;
constexpr double kSizeMax = 0x1p60;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  out += text.substr(0, 40);
  return out + (text.size() > 40 ? "...\"" : "\"");
}

// Takes one number with its unit from the front; negative when there is none.
template <std::size_t N>
double take(std::string_view& text, const std::array<Unit, N>& units) {
  double number = 0.0;
  const char* end = text.data() + text.size();
  if (text.empty() || text.front() == '-') return -1;
  const auto [after, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number)) return -1;
  text.remove_prefix(static_cast<std::size_t>(after - text.data()));
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  std::size_t length = 0;
  while (length < text.size() && ((text[length] >= 'a' && text[length] <= 'z') ||
                                  (text[length] >= 'A' && text[length] <= 'Z')))
    ++length;
  for (const Unit& unit : units) {
    if (unit.name != text.substr(0, length)) continue;
    text.remove_prefix(length);
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    return number * unit.worth;
  }
  return -1;
}

std::string short_number(double value) {
  std::array<char, 32> buffer{};
  const double tenths = std::round(value * 10) / 10;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), tenths);
  return std::string(buffer.data(), end.ptr);
}

std::string two_units(std::int64_t large, const char* large_unit, std::int64_t small,
                      const char* small_unit) {
  std::string text = std::to_string(large) + large_unit;
  if (small == 0) return text;
  text += ' ';
  return text + std::to_string(small) + small_unit;
}

}  // namespace

Millis parse_duration(std::string_view text) {
  const auto refuse = [&](const char* why) {
    throw UserError(std::string("expected a duration like \"90s\", \"30m\" or \"1h30m\"") + why +
                    " (is " + quoted(text) + ")");
  };
  std::string_view rest = text;
  double total = 0.0;
  do {
    const double part = take(rest, kTimes);
    if (part < 0) refuse("");
    total += part;
  } while (!rest.empty());
  if (total < 1) refuse(" of at least a millisecond");
  if (total > kTimeMax) refuse(" of at most ten years");
  return Millis(std::llround(total));
}

std::uint64_t parse_size(std::string_view text) {
  std::string_view rest = text;
  const double bytes = take(rest, kSizes);
  if (bytes < 1 || bytes > kSizeMax || !rest.empty())
    throw UserError("expected a size like \"512MiB\" or \"2GiB\" (is " + quoted(text) + ")");
  return static_cast<std::uint64_t>(bytes);
}

std::string duration_text(Millis duration) {
  const auto ms = static_cast<double>(duration.count());
  if (ms < 1000) return std::to_string(duration.count()) + "ms";
  if (ms < 6e4) return short_number(ms / 1e3) + "s";
  const std::int64_t seconds = std::llround(ms / 1e3);
  const std::int64_t minutes = seconds / 60, hours = minutes / 60;
  if (minutes < 60) return two_units(minutes, "m", seconds % 60, "s");
  if (hours < 48) return two_units(hours, "h", minutes % 60, "m");
  return two_units(hours / 24, "d", hours % 24, "h");
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kNames.size()) {
    value /= 1024;
    ++unit;
  }
  return short_number(value) + " " + kNames[unit];
}

}  // namespace brood
