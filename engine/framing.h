// Frames over a byte stream: a length of four bytes, least significant first, then that many bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "engine/descriptor.h"

namespace brood {

// A report is under a kilobyte and a setup some kilobytes; beyond this the peer has gone mad.
inline constexpr std::size_t kFrameBytesMax = std::size_t{16} << 20;

void append_frame(std::string& stream, std::string_view frame);

// Cuts a stream into frames, however it was torn on its way.
class FrameReader {
 public:
  void feed(std::string_view bytes);

  // The next whole frame. Throws UserError for a length above kFrameBytesMax; the stream cannot be
  // read on after that.
  std::optional<std::string> next();

  // Bytes of a frame that is not whole yet.
  std::size_t pending() const { return buffer_.size() - start_; }

 private:
  std::string buffer_;
  std::size_t start_ = 0;
};

// One end of a stream socket, made non-blocking: whatever cannot be sent now is kept.
class FrameSocket {
 public:
  explicit FrameSocket(Descriptor socket);

  int descriptor() const { return socket_.get(); }

  void send(std::string_view frame);

  // Sends what was kept, as far as it goes.
  void flush();
  bool has_unsent() const { return sent_ < outgoing_.size(); }

  // Takes in what has arrived, at most `bytes_max`, so that one peer cannot starve the others.
  // False when nothing more will come.
  bool read_some(std::size_t bytes_max = std::size_t{1} << 20);
  std::optional<std::string> next() { return reader_.next(); }

 private:
  Descriptor socket_;
  FrameReader reader_;
  std::string outgoing_;
  std::size_t sent_ = 0;  // of outgoing_
  bool broken_ = false;   // the peer is gone: what is sent is dropped
};

}  // namespace brood
