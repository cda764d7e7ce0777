// A line of a user's program is a report, an end or a UserError.
#include "engine/error.h"
#include "tests/fuzz/targets.h"
#include "trainers/command_line.h"

namespace brood::fuzz {

void program_line(const std::uint8_t* data, std::size_t size) {
  try {
    const ProgramLine line = parse_line({reinterpret_cast<const char*>(data), size});
    CHECK(line.ended != line.report.has_value(), "a line that says nothing, or two things");
    CHECK(!line.report || line.report->epoch >= 1, "an epoch below 1");
    CHECK(!line.attempt || *line.attempt >= 1, "an attempt below 1");
  } catch (const UserError& error) {
    CHECK(error.what()[0] != '\0', "an error without words");
  }
}

}  // namespace brood::fuzz
