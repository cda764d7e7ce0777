// The Unix socket over which commands reach a running experiment: `control.sock` in the folder of
// logs and checkpoints beside the database. One request a connection: a line of JSON each way.
//
// The socket is open to its owner alone (mode 0600), and a peer of another user is turned away.
// Whoever serves it holds the database's lock, so a socket file found there is a dead run's.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>

#include "engine/clock.h"
#include "engine/descriptor.h"

namespace brood {

inline constexpr std::size_t kRequestBytesMax = 65536;

// The server's end. Never waits; to be asked again and again, from one thread.
class ControlSocket {
 public:
  // The folder exists. Throws UserError when no socket can be made there.
  explicit ControlSocket(const std::string& folder);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  struct Request {
    std::uint64_t id = 0;
    std::string line;
  };
  std::optional<Request> next();

  // Once for each request.
  void answer(std::uint64_t id, const std::string& line);

 private:
  struct Peer {
    std::uint64_t id = 0;
    Descriptor socket;
    std::string text;
    bool asked = false;  // its request was given out
    Millis since{0};
  };
  void accept_peers();
  bool read_from(Peer& peer);  // false: it is gone, or was turned away

  SystemClock clock_;
  Descriptor folder_, socket_;
  std::list<Peer> peers_;
  std::uint64_t last_id_ = 0;
  Millis looked_{-1000};
};

// The client's end: sends one line and returns the answer's. Throws UserError when nobody serves
// the socket, or when no answer comes in time.
std::string ask_control_socket(const std::string& folder, const std::string& line, Millis wait);

}  // namespace brood
