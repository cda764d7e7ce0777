// How the controller and the nodes talk. A node is a supervisor with its worker processes: one
// locally, one per rank under MPI.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/experiment.h"

namespace brood {

// A worker process or, with worker 0, its node's supervisor. A replaced worker gets a new number,
// so a late frame of the old one cannot be taken for the new one's.
struct Address {
  int node = 0;
  int worker = 0;
  friend auto operator<=>(const Address&, const Address&) = default;
};

struct Envelope {
  Address from;
  std::string frame;  // engine/message.h
};

// The controller's end. One thread, but for wake(). Frames between one pair arrive in order, once
// or, when a node is lost, not at all.
class Transport {
 public:
  virtual ~Transport() = default;  // ends the nodes: workers still alive are killed

  // nullopt: nothing came within the wait, or wake() was called.
  virtual std::optional<Envelope> receive(Millis wait_max) = 0;

  // Never blocks for long; to an address that is gone it does nothing.
  virtual void send(Address to, std::string_view frame) = 0;

  // Ends a receive() under way. From any thread and from a signal handler.
  virtual void wake() noexcept = 0;
};

}  // namespace brood
