// What the machines of a run say of themselves before it is decided on what trials train.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/clock.h"
#include "engine/device.h"
#include "engine/message.h"
#include "engine/transport.h"

namespace brood {

// This one. Its GPUs only where they are asked for: to look for them takes a while.
NodeHello describe_here(bool with_devices);

struct Nodes {
  std::map<int, NodeHello> hellos;  // by rank; 0: this process
  std::deque<Envelope> heard;       // all that came, in order
};

// Until the ranks 1 .. ranks have spoken or are lost, or for so long.
Nodes meet(Transport& transport, const NodeHello& self, int ranks, Millis longest);

// "rank 3 (node1)"
std::string rank_name(int rank, const NodeHello& node);

// The GPUs of those that train, each once, called "cuda:1 of node1". usable: for the built-in
// trainer only what it can use; why_none says what keeps it from it.
Devices devices_of(const std::map<int, NodeHello>& nodes, bool usable);

// A sentence that names those GPUs.
std::string where_they_train(const std::vector<Device>& gpus);

// A GPU that nobody but rank 0 sees lies idle: a note says so.
void note_what_rank_0_has(const std::map<int, NodeHello>& nodes, std::vector<std::string>& notes);

// A transport whose first envelopes are those that were heard before.
std::unique_ptr<Transport> after(std::unique_ptr<Transport> transport, std::deque<Envelope> heard);

}  // namespace brood
