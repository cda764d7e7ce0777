// The frames between controller, supervisors and workers, and their bytes (one JSON object each).
// A frame that does not parse throws UserError naming what was found: the sender's process is then
// treated as crashed, never the run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/device.h"
#include "engine/trainer.h"
#include "engine/trial.h"

namespace brood {

// --- worker or supervisor -> controller ---

struct Hello {  // first frame of a worker
  Offer offer;
  std::string build;  // build_id(); another build is refused by name
  std::string host;
  std::int64_t pid = 0;
};
struct Idle {  // the slot can take a trial
  int slot = 0;
};
// What became of a trial. One way; resent until acknowledged; duplicates are known by `sequence`.
// Progress is for the supervisor's beat only: it has sequence 0 and is never resent.
struct Told {
  std::int64_t sequence = 0;  // 1, 2, ... per worker
  TrialId trial = 0;
  int attempt = 1;
  Event event;  // report, saved, ended or failed; its slot is the worker's
};
struct NodeHello {  // first frame of a supervisor
  std::string host, build;
  std::int64_t pid = 0;
  int cores = 1;
  std::uint64_t bytes = 0;                   // memory of the host
  std::vector<std::string> numeric_classes;  // what its machine can run, best first
  std::vector<Device> devices;               // looked for only where they may be needed
  std::string no_gpu;  // why the built-in trainer can use none of them; empty: it can
};
struct SlotBeat {
  int worker = 0, slot = 0;
  TrialId trial = -1;
  std::int64_t step = 0;
  std::uint64_t rss = 0;
};
struct Beat {  // once a second from each supervisor
  std::vector<SlotBeat> slots;
  std::optional<std::uint64_t> free;  // bytes that the host could still give to its workers
};
struct Lost {  // a worker process ended; by its supervisor
  int worker = 0;
  Cause cause = Cause::lost;  // exit_status, signal, memory, deadline, silence; lost: outside kill
  std::string why;            // one sentence
  std::string log_tail;
  std::uint64_t max_rss = 0;
  std::int64_t sequence = 0;  // of the last Told that was relayed
  bool last = false;          // too many workers died before their hello: no replacement comes
  TrialId trial = -1;         // whose doing it was; -1: not known
};

// --- controller -> supervisor ---

struct Setup {  // start workers; sent on to each, with its device, as its first frame
  TrainerSetup trainer;
  int workers = 1;
  std::vector<std::string> devices;    // worker i computes on number i modulo their count
  std::int64_t report_timeout_ms = 0;  // 0: none
  std::int64_t max_trial_ms = 0;       // 0: none
  std::int64_t lease_ms = 0;           // 0: the supervisor lives in the controller's process
  std::string log_dir;                 // of the workers themselves
};
struct Lease {};  // once a second; without it for a while a supervisor kills its workers
struct Kill {     // end this worker now; Lost follows
  int worker = 0;
  std::string why;
};
struct Shutdown {};  // end all workers, then the supervisor

// --- controller -> worker (through its supervisor, which reads them too) ---

struct Assign {
  std::int64_t session = 0;  // fence
  int slot = 0;
  Assignment assignment;
};
struct Stop {
  int slot = 0;
  TrialId trial = 0;
  int attempt = 1;
};
struct Save {
  int slot = 0;
  TrialId trial = 0;
  int attempt = 1;
};
struct Ack {  // every Told up to this sequence is durable
  std::int64_t sequence = 0;
};

using Message = std::variant<Hello, Idle, Told, NodeHello, Beat, Lost, Setup, Lease, Kill, Shutdown,
                             Assign, Stop, Save, Ack>;

std::string encode(const Message& message);
Message decode(std::string_view frame);

// Identifies the program: its version and the linker's build id.
std::string build_id();

}  // namespace brood
