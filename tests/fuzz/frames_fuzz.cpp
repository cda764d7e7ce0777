// A stream is cut into the same frames however it is torn; a frame decodes to a message that
// encodes and decodes to itself, or throws UserError.
#include "engine/error.h"
#include "engine/framing.h"
#include "engine/message.h"
#include "tests/fuzz/targets.h"

namespace brood::fuzz {

namespace {

void message(std::string_view frame) {
  std::string text;
  try {
    text = encode(decode(frame));
  } catch (const UserError&) {
    return;
  }
  CHECK(encode(decode(text)) == text, "a message that is another one after a journey");
}

std::vector<std::string> frames_of(std::string_view stream, std::size_t part) {
  std::vector<std::string> out;
  FrameReader reader;
  try {
    for (std::size_t at = 0; at < stream.size(); at += part) {
      reader.feed(stream.substr(at, part));
      while (auto frame = reader.next()) out.push_back(std::move(*frame));
    }
  } catch (const UserError&) {
    out.emplace_back("too long");
  }
  return out;
}

}  // namespace

void frames(const std::uint8_t* data, std::size_t size) {
  const std::string_view stream(reinterpret_cast<const char*>(data), size);
  message(stream);
  const auto whole = frames_of(stream, size + 1);
  CHECK(whole == frames_of(stream, 3), "frames depend on how the stream was torn");
  for (const std::string& frame : whole) message(frame);
}

}  // namespace brood::fuzz
