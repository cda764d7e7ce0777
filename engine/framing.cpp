#include "engine/framing.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include "engine/error.h"

namespace brood {

namespace {

constexpr std::size_t kLengthBytes = 4;

// Bytes already dealt with are cut off once they are more than this, so that neither a long queue
// nor many small frames move the same bytes again and again.
constexpr std::size_t kCompactAbove = std::size_t{64} << 10;

void drop_front(std::string& buffer, std::size_t& start) {
  if (start == buffer.size()) {
    buffer.clear();
    start = 0;
  } else if (start > kCompactAbove && start > buffer.size() / 2) {
    buffer.erase(0, start);
    start = 0;
  }
}

}  // namespace

void append_frame(std::string& stream, std::string_view frame) {
  CHECK(frame.size() <= kFrameBytesMax, "a frame of " + std::to_string(frame.size()) + " bytes");
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    stream.push_back(static_cast<char>((frame.size() >> (8 * i)) & 0xff));
  stream.append(frame);
}

void FrameReader::feed(std::string_view bytes) { buffer_.append(bytes); }

std::optional<std::string> FrameReader::next() {
  if (pending() < kLengthBytes) return std::nullopt;
  std::size_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    length |= std::size_t{static_cast<unsigned char>(buffer_[start_ + i])} << (8 * i);
  if (length > kFrameBytesMax)
    throw UserError("a frame of " + std::to_string(length) + " bytes was announced; the most is " +
                    std::to_string(kFrameBytesMax));
  if (pending() < kLengthBytes + length) return std::nullopt;
  std::string frame = buffer_.substr(start_ + kLengthBytes, length);
  start_ += kLengthBytes + length;
  drop_front(buffer_, start_);
  return frame;
}

FrameSocket::FrameSocket(Descriptor socket) : socket_(std::move(socket)) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  CHECK(flags >= 0 && ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) == 0,
        "a socket that cannot be made non-blocking");
}

void FrameSocket::send(std::string_view frame) {
  if (broken_) return;
  append_frame(outgoing_, frame);
  flush();
}

void FrameSocket::flush() {
  while (has_unsent() && !broken_) {
    const ssize_t count = ::send(socket_.get(), outgoing_.data() + sent_, outgoing_.size() - sent_,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) {
      sent_ += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      broken_ = true;
      sent_ = outgoing_.size();
    }
  }
  drop_front(outgoing_, sent_);
}

bool FrameSocket::read_some(std::size_t bytes_max) {
  std::array<char, 32768> chunk;
  for (std::size_t total = 0; total < bytes_max;) {
    const ssize_t count = ::recv(socket_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (count > 0) {
      reader_.feed({chunk.data(), static_cast<std::size_t>(count)});
      total += static_cast<std::size_t>(count);
    } else if (count == 0) {
      return false;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return true;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace brood
