// Durations and sizes as people write them: "30m", "1h30m", "2GiB".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/experiment.h"

namespace brood {

// Units ms, s, m, h, d; several may follow one another, each with a number, which may have a
// fraction: "1.5h", "1h30m". More than zero, at most 10 years. Throws UserError.
Millis parse_duration(std::string_view text);

// Units B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024). Throws UserError.
std::uint64_t parse_size(std::string_view text);

// The two largest units that are not zero: "1h 30m", "2.5s", "40ms".
std::string duration_text(Millis duration);

// "1.5 GiB", "640 B".
std::string size_text(std::uint64_t bytes);

}  // namespace brood
