// The last lines that a process wrote, for people who ask why it ended.
#pragma once

#include <cstdint>
#include <string>

namespace brood {

// Bytes in the file; 0 when there is none. Taken before a process starts, it tells its lines from
// those of the process before it.
std::uint64_t file_bytes(const std::string& path);

// At most `lines_max` whole lines and 4 kB of what was written after byte `from`, as valid UTF-8
// without control characters. Empty when there is nothing or the file cannot be read.
std::string log_tail(const std::string& path, std::uint64_t from, int lines_max = 20);

}  // namespace brood
