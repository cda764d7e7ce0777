#include "engine/local.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <string>
#include <utility>

#include "engine/clock.h"
#include "engine/error.h"
#include "engine/supervisor.h"

namespace brood {

namespace {

constexpr Millis kTick{50};

class LocalTransport final : public Transport {
 public:
  explicit LocalTransport(LocalOptions options)
      : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        processes_(std::move(options.processes)),
        supervisor_(0, std::move(options.self), processes_,
                    [this](Address from, std::string_view frame) {
                      inbox_.push_back({from, std::string(frame)});
                    }) {
    if (!wake_) throw UserError(std::string("cannot make an eventfd: ") + std::strerror(errno));
    supervisor_.begin(clock_.now());
  }

  std::optional<Envelope> receive(Millis wait_max) override {
    const Millis until = clock_.now() + wait_max;
    while (true) {
      tick();
      if (!inbox_.empty()) {
        Envelope envelope = std::move(inbox_.front());
        inbox_.pop_front();
        return envelope;
      }
      const Millis left = std::max(until - clock_.now(), Millis(0));
      const bool woken = wait(std::min(left, kTick));
      dispatch();
      if (inbox_.empty() && (woken || left == Millis(0))) return std::nullopt;
    }
  }

  void send(Address to, std::string_view frame) override {
    if (to.node == 0) supervisor_.from_controller(to.worker, frame, clock_.now());
  }

  void wake() noexcept override {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
  }

 private:
  // True when wake() was called. A call that comes while frames are at hand ends the next wait.
  bool wait(Millis time) {
    std::array<pollfd, 2> on = {{{wake_.get(), POLLIN, 0}, {processes_.descriptor(), POLLIN, 0}}};
    ::poll(on.data(), on.size(), static_cast<int>(time.count()));
    std::uint64_t times = 0;
    return ::read(wake_.get(), &times, sizeof times) > 0;
  }

  void dispatch() {
    processes_.dispatch(
        [this](int worker, std::string_view frame) {
          supervisor_.from_worker(worker, frame, clock_.now());
        },
        [this](int worker, const Exit& exit) { supervisor_.exited(worker, exit, clock_.now()); });
  }

  // Also while frames keep coming: deadlines hold under load.
  void tick() {
    const Millis now = clock_.now();
    if (now < next_tick_) return;
    next_tick_ = now + kTick;
    dispatch();
    supervisor_.tick(now);
  }

  SystemClock clock_;
  Descriptor wake_;
  std::deque<Envelope> inbox_;
  OsProcesses processes_;
  Supervisor supervisor_;
  Millis next_tick_{0};
};

}  // namespace

std::unique_ptr<Transport> make_local_transport(LocalOptions options) {
  return std::make_unique<LocalTransport>(std::move(options));
}

}  // namespace brood
