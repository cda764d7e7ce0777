#include "engine/worker_main.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "engine/clock.h"
#include "engine/dependents.h"
#include "engine/error.h"
#include "engine/framing.h"
#include "engine/node.h"
#include "engine/worker.h"

namespace brood {

namespace {

// How long a trainer may work between two looks at the socket.
constexpr Millis kSlice{50};
// Without news; short enough for resends and for a trainer's own deadlines.
constexpr Millis kIdle{100};
// A trainer that is always ready, yet did nothing in its turn, is waiting for acknowledgements.
constexpr Millis kHeldBack{2};
constexpr int kBroken = 70;  // the status of a process whose trainer cannot go on

// Waits for the socket, for `trainer` (-1: not at all), or the time. Returns at once when a frame
// can be read or sent.
void wait(FrameSocket& control, int trainer, Millis time) {
  const auto interest = static_cast<short>(POLLIN | (control.has_unsent() ? POLLOUT : 0));
  std::array<pollfd, 2> on = {{{control.descriptor(), interest, 0}, {trainer, POLLIN, 0}}};
  ::poll(on.data(), on.size(), static_cast<int>(time.count()));
  control.flush();
}

// nullopt: the supervisor is gone.
std::optional<Setup> receive_setup(FrameSocket& control) {
  while (true) {
    const bool open = control.read_some();
    if (const auto frame = control.next()) {
      const Message message = decode(*frame);
      if (const auto* setup = std::get_if<Setup>(&message)) return *setup;
      throw UserError("a worker's first frame must be its setup");
    }
    if (!open) return std::nullopt;
    wait(control, -1, kIdle);
  }
}

// Obeys and works until the supervisor is gone.
void serve(FrameSocket& control, Worker& worker, bool& sent) {
  const SystemClock clock;
  while (true) {
    const bool open = control.read_some();
    while (const auto frame = control.next()) worker.receive(*frame, clock.now());
    if (!open) return;
    sent = false;
    const Millis before = clock.now();
    worker.turn(kSlice, before);
    const bool always_ready = worker.busy() && worker.wait_on() < 0;
    const bool worked = sent || clock.now() - before >= kHeldBack;
    wait(control, worker.busy() ? worker.wait_on() : -1,
         !always_ready ? kIdle
         : worked      ? Millis(0)
                       : kHeldBack);
  }
}

}  // namespace

int worker_main(Descriptor descriptor, const TrainerFactory& make_trainer) {
  end_dependents_on_termination();
  // Not for the programs that a trainer starts.
  if (::fcntl(descriptor.get(), F_SETFD, FD_CLOEXEC) != 0)
    throw UserError("a worker is started by `brood run`, with its socket at descriptor 3");
  FrameSocket control(std::move(descriptor));
  const std::optional<Setup> setup = receive_setup(control);
  if (!setup) return 0;

  Hello hello;
  hello.build = build_id();
  hello.host = host_name();
  hello.pid = ::getpid();
  bool sent = false;
  Worker worker(make_trainer(setup->trainer), hello, [&](std::string_view frame) {
    control.send(frame);
    sent = true;
  });
  worker.begin();
  try {
    serve(control, worker, sent);
  } catch (const UserError&) {
    throw;
  } catch (const std::exception& error) {
    // A device that is lost: what would tidy up after it could hang.
    std::fprintf(stderr, "%s\n", error.what());
    std::fflush(stderr);
    std::_Exit(kBroken);
  }
  return 0;
}

}  // namespace brood
