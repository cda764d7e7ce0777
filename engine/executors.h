// The places where trials run, as the controller knows them: nodes, their workers, their slots, and
// which trial is where. Bookkeeping only; decisions are the controller's.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/message.h"
#include "engine/transport.h"

namespace brood {

struct Node {
  NodeHello hello;
  Millis heard{0};
  bool gone = false;
  bool set_up = false;                // its workers were asked for
  int workers = 0;                    // so many
  std::vector<std::string> devices;   // that it was given
  std::optional<std::uint64_t> free;  // bytes, by its last beat
};

struct WorkerRecord {
  Hello hello;
  std::int64_t sequence = 0;                  // of the last Told taken
  std::vector<std::optional<TrialId>> slots;  // the trial in it
  std::vector<bool> idle;                     // by slot: whether it waits for a trial
  std::uint64_t rss = 0;                      // bytes, by its node's last beat
  std::vector<std::uint64_t> planned;         // by slot: bytes that the trial in it needs
  std::uint64_t planned_sum = 0;
  int held = 0;  // trials
};

// What runs on a host: ranks of one host share its memory.
struct HostUsed {
  std::uint64_t promised = 0;  // bytes that trials will take beyond what their workers have
  int held = 0;                // slots with a trial
};

struct Place {
  Address worker;
  int slot = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
};

class Executors {
 public:
  void add_node(int node, const NodeHello& hello, Millis now);
  Node* node(int number);  // nullptr: unknown
  std::map<int, Node>& nodes() { return nodes_; }

  void add_worker(Address address, const Hello& hello);  // or another hello of a known one
  WorkerRecord* worker(Address address);                 // nullptr: unknown or gone
  const std::map<Address, WorkerRecord>& workers() const { return workers_; }

  void take_beat(int node, const Beat& beat);

  const HostUsed& used(const Node& node) const { return hosts_.at(node.hello.host); }
  // Bytes of the host that its trials, with so many more, will take beyond what the worker has now.
  // A worker keeps what an earlier trial took, and uses it again.
  static std::uint64_t still_to_take(const WorkerRecord& worker, std::uint64_t more = 0);

  // Forgets it; returns the trials it held, ascending.
  std::vector<TrialId> remove_worker(Address address);

  void set_idle(Place place);                              // its trial, if any, has left it
  const std::deque<Place>& idle() const { return idle_; }  // who has waited longest first
  void occupy(Place place, TrialId trial, std::uint64_t planned);

  int total() const { return total_; }  // slots of living workers
  int busy() const { return busy_; }
  std::string name(Place place) const;  // host/worker.slot, for people

 private:
  std::map<int, Node> nodes_;
  std::map<Address, WorkerRecord> workers_;
  void plan(Place place, WorkerRecord& worker, std::uint64_t bytes, int held);

  std::map<std::string, HostUsed> hosts_;
  std::deque<Place> idle_;
  int busy_ = 0, total_ = 0;
};

}  // namespace brood
