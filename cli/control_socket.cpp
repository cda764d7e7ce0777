#include "cli/control_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "engine/error.h"

namespace brood {

namespace {

constexpr const char* kName = "control.sock";
constexpr std::size_t kPeersMax = 16;
constexpr int kBacklog = 16;
constexpr Millis kLookEvery{20};
// For a peer to say what it wants.
constexpr Millis kPatience{10000};

Descriptor open_folder(const std::string& folder) {
  Descriptor out(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!out) throw UserError(folder + ": cannot be opened (" + std::strerror(errno) + ")");
  return out;
}

// A socket's address holds 107 characters; the way through /proc makes every path short.
sockaddr_un address_in(const Descriptor& folder) {
  const std::string path = "/proc/self/fd/" + std::to_string(folder.get()) + "/" + kName;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Descriptor stream_socket() {
  Descriptor out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out) throw UserError(std::string("cannot make a socket: ") + std::strerror(errno));
  return out;
}

bool is_own(const Descriptor& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == ::geteuid() || peer.uid == 0);
}

void send_line(const Descriptor& socket, const std::string& line) {
  const std::string text = line + "\n";
  // Short against the socket's buffer; a peer that does not read gets no answer.
  (void)!::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

ControlSocket::ControlSocket(const std::string& folder)
    : folder_(open_folder(folder)), socket_(stream_socket()) {
  const sockaddr_un address = address_in(folder_);
  const auto failed = [&](const char* what) {
    throw UserError(folder + "/" + kName + ": " + what + " (" + std::strerror(errno) + ")");
  };
  if (::unlinkat(folder_.get(), kName, 0) != 0 && errno != ENOENT) failed("cannot be removed");
  // The mode of the file that bind() makes; no moment at which others could connect.
  if (::fchmod(socket_.get(), S_IRUSR | S_IWUSR) != 0) failed("cannot be protected");
  if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    failed("cannot be made");
  if (::listen(socket_.get(), kBacklog) != 0) failed("cannot be listened to");
}

ControlSocket::~ControlSocket() { ::unlinkat(folder_.get(), kName, 0); }

void ControlSocket::accept_peers() {
  while (peers_.size() < kPeersMax) {
    Descriptor peer(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer) return;
    if (!is_own(peer)) continue;
    peers_.push_back({++last_id_, std::move(peer), "", false, clock_.now()});
  }
}

bool ControlSocket::read_from(Peer& peer) {
  std::array<char, 4096> bytes;
  while (true) {
    const ssize_t got = ::recv(peer.socket.get(), bytes.data(), bytes.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    if (peer.asked) continue;  // whatever follows its request
    peer.text.append(bytes.data(), static_cast<std::size_t>(got));
    if (peer.text.find('\n') != std::string::npos) return true;
    if (peer.text.size() > kRequestBytesMax) return false;
  }
}

std::optional<ControlSocket::Request> ControlSocket::next() {
  const Millis now = clock_.now();
  if (now - looked_ >= kLookEvery) {
    looked_ = now;
    accept_peers();
    for (auto peer = peers_.begin(); peer != peers_.end();) {
      const bool waits = peer->asked || now - peer->since < kPatience;
      // A peer that asked may leave before its answer: what it asked for is done all the same.
      peer = (peer->asked || (waits && read_from(*peer))) ? std::next(peer) : peers_.erase(peer);
    }
  }
  for (Peer& peer : peers_) {
    const auto end = peer.text.find('\n');
    if (peer.asked || end == std::string::npos) continue;
    peer.asked = true;
    std::string line = peer.text.substr(0, end);
    peer.text.clear();
    return Request{peer.id, std::move(line)};
  }
  return std::nullopt;
}

void ControlSocket::answer(std::uint64_t id, const std::string& line) {
  for (auto peer = peers_.begin(); peer != peers_.end(); ++peer) {
    if (peer->id != id) continue;
    send_line(peer->socket, line);
    peers_.erase(peer);
    return;
  }
}

std::string ask_control_socket(const std::string& folder, const std::string& line, Millis wait) {
  const Descriptor place = open_folder(folder);
  const Descriptor socket = stream_socket();
  const sockaddr_un address = address_in(place);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw UserError(folder + "/" + kName + ": nobody answers there (" + std::strerror(errno) + ")");
  send_line(socket, line);
  const SystemClock clock;
  const Millis until = clock.now() + wait;
  std::string text;
  while (text.find('\n') == std::string::npos) {
    const Millis left = until - clock.now();
    pollfd on{socket.get(), POLLIN, 0};
    if (left <= Millis{0} || ::poll(&on, 1, static_cast<int>(left.count())) == 0)
      throw UserError("the run has not answered within " + std::to_string(wait.count() / 1000) +
                      " s; it may still obey: see `brood status`");
    std::array<char, 4096> bytes;
    const ssize_t got = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) throw UserError("the run ended before it answered; see `brood status`");
    text.append(bytes.data(), static_cast<std::size_t>(got));
  }
  return text.substr(0, text.find('\n'));
}

}  // namespace brood
