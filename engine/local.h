// The transport of one machine: the supervisor lives in the controller's thread, its workers are
// children.
#pragma once

#include <memory>

#include "engine/message.h"
#include "engine/os_processes.h"
#include "engine/transport.h"

namespace brood {

struct LocalOptions {
  NodeHello self;  // describe_node()
  OsProcessesOptions processes;
};

// Node 0. The thread that makes it must be the one that uses it.
std::unique_ptr<Transport> make_local_transport(LocalOptions options);

}  // namespace brood
