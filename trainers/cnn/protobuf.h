// Writes the wire format of Protocol Buffers: as much of it as a model file needs.
//
// Source: Google, "Protocol Buffers: Encoding". Twenty lines in place of a library: that one would
// register its descriptors at every start of the program, and bring a generator and its sources
// into the build, to write a file that is a dozen kinds of message.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace brood::cnn {

// One message. Fields are written in the order of the calls; a repeated one by several calls.
class ProtoMessage {
 public:
  void whole(int field, std::int64_t value);         // int32, int64, enum
  void real(int field, float value);                 // float
  void bytes(int field, std::string_view value);     // string, bytes
  void message(int field, const ProtoMessage& part)  // an embedded message
  {
    bytes(field, part.text_);
  }
  const std::string& text() const { return text_; }

 private:
  void number(std::uint64_t value);
  std::string text_;
};

}  // namespace brood::cnn
