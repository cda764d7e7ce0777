// What a supervisor asks of the machine: worker processes, started, spoken to, measured and killed.
// Real ones are in os_processes.h; the simulation has its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace brood {

// How a worker process ended.
struct Exit {
  int status = 0;               // as waitpid() gives it
  bool killed_by_us = false;    // kill() was called, or it passed its memory limit
  bool over_memory = false;     // its memory was above the limit when it was last measured
  bool over_processes = false;  // the same of their number
  bool broken_stream = false;   // it was killed for bytes that are no frames
  std::uint64_t max_rss = 0;    // bytes; the most that was seen of it and its descendants
  std::string log_tail;         // the last lines of its log, at most 20 and 4 kB
};

struct ProcessLimits {
  std::uint64_t memory = 0;  // bytes, of the worker and its descendants; 0: none
  std::string log;           // file that takes standard output and error; empty: none
  int processes = 0;         // the worker and its descendants; 0: no limit
};

// One thread calls. Nothing here waits for a process.
class ProcessHost {
 public:
  virtual ~ProcessHost() = default;

  // A fresh `brood worker` child. When it cannot be started, its Exit follows as for a crash.
  virtual void start(int worker, const ProcessLimits& limits) = 0;

  // Buffered, never blocks; nothing happens when the worker is gone.
  virtual void send(int worker, std::string_view frame) = 0;

  // SIGKILL to its whole process group; Exit follows.
  virtual void kill(int worker) = 0;

  // Resident bytes of the worker and its descendants; 0 when it is gone.
  virtual std::uint64_t memory_in_use(int worker) = 0;

  // Bytes that the machine could still give to its workers; nullopt: not known.
  virtual std::optional<std::uint64_t> memory_free() { return std::nullopt; }
};

}  // namespace brood
