#include "engine/log_tail.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace brood {

namespace {

constexpr std::uint64_t kTailBytes = 4096;

// How many bytes from `at` on are one UTF-8 character; 0: they are none.
std::size_t character_bytes(const std::string& text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t count = lead < 0x80                   ? 1
                            : lead >= 0xc2 && lead < 0xe0 ? 2
                            : lead >= 0xe0 && lead < 0xf0 ? 3
                            : lead >= 0xf0 && lead < 0xf5 ? 4
                                                          : 0;
  if (count == 0 || at + count > text.size()) return 0;
  for (std::size_t i = 1; i < count; ++i)
    if ((static_cast<unsigned char>(text[at + i]) & 0xc0) != 0x80) return 0;
  // Overlong forms, surrogates and what lies beyond Unicode.
  const unsigned char second = count > 1 ? static_cast<unsigned char>(text[at + 1]) : 0;
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second >= 0x90))
    return 0;
  return count;
}

// Any program's output: escapes must not reach a terminal, broken bytes must not reach the store.
std::string printable(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t count = character_bytes(text, at);
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool control = byte < 0x20 && byte != '\n' && byte != '\t';
    if (count == 0 || control || byte == 0x7f) {
      if (byte == '\r') {
        out += '\n';  // a progress bar: its states, one a line
      } else {
        out += '?';
      }
      at += 1;
    } else {
      out.append(text, at, count);
      at += count;
    }
  }
  return out;
}

}  // namespace

std::uint64_t file_bytes(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<std::uint64_t>(bytes);
}

std::string log_tail(const std::string& path, std::uint64_t from, int lines_max) {
  std::ifstream file(path, std::ios::binary);
  const std::uint64_t end = file_bytes(path);
  if (!file || end <= from) return {};
  const bool cut = end - from > kTailBytes;
  const std::uint64_t begin = cut ? end - kTailBytes : from;
  file.seekg(static_cast<std::streamoff>(begin));
  std::string text(static_cast<std::size_t>(end - begin), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  if (cut) {  // the first line is not whole, unless it is the only one
    const auto line_end = text.find('\n');
    if (line_end != std::string::npos && line_end + 1 < text.size()) text.erase(0, line_end + 1);
  }
  text = printable(text);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::size_t at = text.size();
  for (int lines = 0; lines < lines_max && at != std::string::npos && at > 0; ++lines)
    at = text.rfind('\n', at - 1);
  if (at != std::string::npos && at > 0) text.erase(0, at + 1);
  return text;
}

}  // namespace brood
