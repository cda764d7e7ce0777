#include "cli/table.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>

#include "engine/json_text.h"
#include "engine/params.h"

namespace brood {

namespace {

// Characters of UTF-8 text: bytes that do not continue one.
std::size_t length(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string first_characters(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  while (at < text.size() && count > 0) {
    ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
    --count;
  }
  return std::string(text.substr(0, at));
}

std::string fitted(const std::string& text, std::size_t width, bool right) {
  const std::size_t own = length(text);
  if (own > width) return first_characters(text, width - 3) + "...";
  const std::string gap(width - own, ' ');
  return right ? gap + text : text + gap;
}

bool is_number(const Cell& cell) {
  return std::holds_alternative<std::int64_t>(cell) || std::holds_alternative<double>(cell);
}

// A column of numbers and gaps goes to the right.
std::vector<bool> number_columns(const Table& table) {
  std::vector<bool> numbers(table.columns.size(), false);
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    for (const auto& row : table.rows) {
      if (std::holds_alternative<std::monostate>(row[i])) continue;
      numbers[i] = is_number(row[i]);
      if (!numbers[i]) break;
    }
  }
  return numbers;
}

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 12;  // a text is not cut below this

std::size_t row_width(const std::vector<std::size_t>& widths) {
  std::size_t total = widths.empty() ? 0 : kGap * (widths.size() - 1);
  for (const std::size_t width : widths) total += width;
  return total;
}

// Takes from the widest texts until a row fits, or nothing is left to take.
void narrow(std::vector<std::size_t>& widths, const std::vector<bool>& numbers, std::size_t room) {
  for (std::size_t total = row_width(widths); total > room; --total) {
    std::size_t widest = widths.size();
    for (std::size_t i = 0; i < widths.size(); ++i)
      if (!numbers[i] && (widest == widths.size() || widths[i] > widths[widest])) widest = i;
    if (widest == widths.size() || widths[widest] <= kNarrowest) return;
    --widths[widest];
  }
}

// A table as it is drawn: the header and the rows as texts, all of the same length.
struct Drawing {
  std::vector<std::vector<std::string>> lines;
  std::vector<std::size_t> widths;
  std::vector<bool> numbers;

  void erase(std::size_t column) {
    const auto at = static_cast<std::ptrdiff_t>(column);
    for (auto& line : lines) line.erase(line.begin() + at);
    widths.erase(widths.begin() + at);
    numbers.erase(numbers.begin() + at);
  }
  bool constant(std::size_t column) const {
    for (std::size_t i = 2; i < lines.size(); ++i)
      if (lines[i][column] != lines[1][column]) return false;
    return lines.size() > 2;
  }
};

void note(std::string& list, const std::string& item) {
  list = item + (list.empty() ? "" : ", ") + list;
}

// Makes the rows fit: columns that say the same in every row go into a note, the last ones first;
// then long texts are cut; then the last columns are left out. The first column stays.
std::string fit(Drawing& drawing, std::size_t room) {
  std::string same, left_out;
  for (std::size_t i = drawing.widths.size(); i-- > 1 && row_width(drawing.widths) > room;) {
    if (!drawing.constant(i)) continue;
    note(same, drawing.lines[0][i] + " " + drawing.lines[1][i]);
    drawing.erase(i);
  }
  narrow(drawing.widths, drawing.numbers, room);
  while (drawing.widths.size() > 1 && row_width(drawing.widths) > room) {
    note(left_out, drawing.lines[0].back());
    drawing.erase(drawing.widths.size() - 1);
  }
  std::string out;
  if (!same.empty()) out += "(the same in all rows: " + same + ")\n";
  if (!left_out.empty()) out += "(no room for: " + left_out + ")\n";
  return out;
}

void print_people(const Table& table, int width, std::ostream& out) {
  if (table.columns.empty()) return;
  Drawing drawing;
  drawing.numbers = number_columns(table);
  auto& header = drawing.lines.emplace_back();
  for (const std::string& column : table.columns) header.push_back(printable(column));
  for (const auto& row : table.rows) {
    auto& line = drawing.lines.emplace_back();
    for (const Cell& cell : row) line.push_back(people_text(cell));
  }
  std::vector<std::size_t>& widths = drawing.widths;
  widths.assign(table.columns.size(), 1);
  for (const auto& line : drawing.lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], length(line[i]));
  const std::string notes = width > 0 ? fit(drawing, static_cast<std::size_t>(width)) : "";

  std::vector<std::string> rule;
  for (const std::size_t each : widths) rule.emplace_back(each, '-');
  drawing.lines.insert(drawing.lines.begin() + 1, std::move(rule));
  for (const auto& line : drawing.lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i)
      text += (i > 0 ? "  " : "") + fitted(line[i], widths[i], drawing.numbers[i]);
    text.erase(text.find_last_not_of(' ') + 1);
    out << text << '\n';
  }
  out << notes;
}

std::string exact_text(double value) { return to_text(Value(value)); }

std::string json_text(const Cell& cell) {
  if (std::holds_alternative<std::monostate>(cell)) return "null";
  if (const auto* flag = std::get_if<bool>(&cell)) return *flag ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* text = std::get_if<std::string>(&cell)) return json_quoted(*text);
  const double real = std::get<double>(cell);
  if (std::isnan(real)) return "\"NaN\"";
  if (std::isinf(real)) return real > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  return exact_text(real);
}

void print_json(const Table& table, std::ostream& out) {
  std::vector<std::string> keys;  // an object cannot have a key twice
  std::set<std::string> taken;
  for (const std::string& column : table.columns) {
    std::string key = column;
    for (int number = 2; !taken.insert(key).second; ++number)
      key = column + "_" + std::to_string(number);
    keys.push_back(json_quoted(key));
  }
  out << '[';
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    out << (row > 0 ? ",\n {" : "\n {");
    for (std::size_t i = 0; i < keys.size(); ++i)
      out << (i > 0 ? ", " : "") << keys[i] << ": " << json_text(table.rows[row][i]);
    out << '}';
  }
  out << (table.rows.empty() ? "]\n" : "\n]\n");
}

std::string csv_text(const std::string& text) {
  if (!text.empty() && text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out(1, '"');
  for (const char c : text) {
    out += c;
    if (c == '"') out += c;
  }
  out += '"';
  return out;
}

std::string csv_text(const Cell& cell) {
  if (std::holds_alternative<std::monostate>(cell)) return "";
  if (const auto* flag = std::get_if<bool>(&cell)) return *flag ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&cell)) return exact_text(*real);
  return csv_text(std::get<std::string>(cell));
}

void print_csv(const Table& table, std::ostream& out) {
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    out << (i > 0 ? "," : "") << csv_text(table.columns[i]);
  out << "\r\n";
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) out << (i > 0 ? "," : "") << csv_text(row[i]);
    out << "\r\n";
  }
}

}  // namespace

void print(const Table& table, Format format, int width, std::ostream& out) {
  switch (format) {
    case Format::people:
      return print_people(table, width, out);
    case Format::json:
      return print_json(table, out);
    case Format::csv:
      return print_csv(table, out);
  }
}

int terminal_width() {
  struct winsize size {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

std::string people_text(const Cell& cell) {
  if (std::holds_alternative<std::monostate>(cell)) return "-";
  if (const auto* flag = std::get_if<bool>(&cell)) return *flag ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* text = std::get_if<std::string>(&cell)) return printable(*text);
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(),
                                 std::get<double>(cell), std::chars_format::general, 6);
  return {buffer.data(), end.ptr};
}

std::string printable(std::string_view text, bool lines) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool wanted = lines && (byte == '\n' || byte == '\t');
    // U+0080 to U+009F steer some terminals as ESC does.
    const bool high = byte == 0xc2 && i + 1 < text.size() &&
                      static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
                      static_cast<unsigned char>(text[i + 1]) < 0xa0;
    out += (byte < 0x20 && !wanted) || byte == 0x7f || high ? '?' : text[i];
    if (high) ++i;
  }
  return out;
}

}  // namespace brood
