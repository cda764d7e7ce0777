// The lock of a database's only writer, and who holds it.
#pragma once

#include <optional>
#include <string>

namespace brood {

// Held for its lifetime, released by the kernel if the process dies. The lock lies on
// <database>.lock, which also says who holds it; the file itself is left behind.
class WriterLock {
 public:
  // Throws UserError, naming the holder's process and host, when another one has it.
  explicit WriterLock(const std::string& database);
  ~WriterLock();
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  int descriptor_ = -1;
};

// Who writes this database now, as in "process 4711 on node7"; nullopt: nobody. Takes no lock.
std::optional<std::string> writer_of(const std::string& database);

}  // namespace brood
