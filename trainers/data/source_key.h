// What a cache is named by: the bytes of a source's files and the options that shape its pixels.
//
// Hashing all bytes at every start would take as long as reading them, so the result is kept in a
// small file named by what the system says of the files (path, size, inode, times of the last
// change of content and of status). A program can set back the first of the two times, not the
// second. Times are only as fine as the kernel's clock: while a file is so young that it could be
// changed once more within the same tick, nothing is kept and its bytes are read again (as git does
// with its index: "Racy git problem", Documentation/technical/racy-git.txt).
#pragma once

#include <chrono>
#include <string>

#include "trainers/data/source.h"

namespace brood::data {

using SystemTime = std::chrono::system_clock::time_point;

struct SourceKey {
  std::string text;       // 16 hexadecimal digits
  std::string signature;  // of what the system says of the files; equal: not changed meanwhile
};

// Throws UserError for files that cannot be read, or that change while they are. folder: where the
// small file is kept; a folder that cannot be written to costs time only. now: as the clock of the
// file system has it.
SourceKey key_of(const Source& source, const std::string& folder,
                 SystemTime now = std::chrono::system_clock::now());

// As SourceKey has it, of this moment.
std::string signature_of(const Source& source);

}  // namespace brood::data
