// Rows for people (aligned ASCII), for programs (JSON) and for spreadsheets (CSV, RFC 4180).
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "store/query.h"

namespace brood {

enum class Format : std::uint8_t { people, json, csv };

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;  // each as long as columns
};

// People: numbers to the right with at most 6 significant digits, "-" for a missing value, control
// characters as '?'. A row fits `width` characters (0: as wide as it gets): columns that say the
// same in all rows go into a note below, then the widest texts are cut, then the last columns left
// out, with a note. JSON: an array of objects, a row a line, numbers exact. CSV: lines end in CR
// LF, numbers exact, a missing value is empty, an empty text "".
void print(const Table& table, Format format, int width, std::ostream& out);

// Of the terminal that standard output is; 0 when it is none.
int terminal_width();

// A value as people read it.
std::string people_text(const Cell& cell);

// Text safe to show on a terminal: control characters become '?', but tabs and line ends when
// `lines` says so.
std::string printable(std::string_view text, bool lines = false);

}  // namespace brood
