// The tables of the database, by version, and how a file comes to hold them.
#pragma once

#include <cstdint>
#include <string>

#include "store/sqlite.h"

namespace brood {

inline constexpr std::int64_t kApplicationId = 0x62726f64;  // "brod", in the file's header
std::int64_t schema_version();                              // what this program writes

// A trial's row id: unique over all experiments of a file, ascending within one.
inline std::int64_t row_id(std::int64_t experiment, std::int64_t trial) {
  return experiment << 32 | trial;
}

// Throws UserError, with a remedy, unless the path holds a database of brood's that this program
// understands, or, when it may be created, nothing at all. Changes nothing on the disk, but for the
// journal of a killed process, which is taken back.
void require_ours(const std::string& path, bool may_be_missing);

// No file, an empty one, or one whose making was cut off. Throws as require_ours() does.
bool holds_nothing(const std::string& path);

// Opens for writing: makes the file and its tables, or brings older tables up to date. With
// `power_safe` a commit that returned survives a power cut; without it only the program's own end.
sqlite::Connection open_for_writing(const std::string& path, bool power_safe,
                                    const std::string& vfs = "");

// Opens for reading while another process may write. Falls back to reading the bare file where its
// folder is read-only. Throws UserError as require_ours() does, and when it holds nothing yet.
sqlite::Connection open_for_reading(const std::string& path);

}  // namespace brood
