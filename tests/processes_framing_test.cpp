// Goal: a stream cut anywhere gives the same frames, and a mad peer is refused, not believed.
// Method: frames of many sizes cut at every place or by a seed; real socket pairs for FrameSocket.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/framing.h"
#include "engine/rng.h"

namespace brood {
namespace {

std::vector<std::string> drain(FrameReader& reader) {
  std::vector<std::string> out;
  while (auto frame = reader.next()) out.push_back(std::move(*frame));
  return out;
}

TEST(Framing, FramesSurviveACutAtEveryPlace) {
  const std::vector<std::string> frames = {"a", "", std::string(300, 'x'), std::string("\0\n", 2)};
  std::string stream;
  for (const std::string& frame : frames) append_frame(stream, frame);
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    FrameReader reader;
    reader.feed(std::string_view(stream).substr(0, cut));
    std::vector<std::string> got = drain(reader);
    reader.feed(std::string_view(stream).substr(cut));
    for (std::string& frame : drain(reader)) got.push_back(std::move(frame));
    EXPECT_EQ(got, frames) << "cut at " << cut;
    EXPECT_EQ(reader.pending(), 0U);
  }
}

TEST(Framing, FramesSurviveManyTornPieces) {
  Rng rng(1, 0, Purpose::simulate);
  std::vector<std::string> frames;
  std::string stream;
  for (int i = 0; i < 500; ++i) {
    frames.emplace_back(rng.below(i % 50 == 0 ? 200000 : 300), static_cast<char>('a' + i % 26));
    append_frame(stream, frames.back());
  }
  FrameReader reader;
  std::vector<std::string> got;
  for (std::size_t at = 0; at < stream.size();) {
    const std::size_t count = 1 + rng.below(5000);
    reader.feed(std::string_view(stream).substr(at, count));
    at += count;
    for (std::string& frame : drain(reader)) got.push_back(std::move(frame));
  }
  EXPECT_EQ(got, frames);
}

TEST(Framing, ALengthBeyondTheMaximumIsRefusedBeforeItsBytesAreAwaited) {
  FrameReader reader;
  reader.feed(std::string("\x01\x00\x00\x01", 4));  // 16 MiB + 1
  EXPECT_THROW(reader.next(), UserError);
  FrameReader largest;
  largest.feed(std::string("\x00\x00\x00\x01", 4));
  EXPECT_EQ(largest.next(), std::nullopt);
}

std::array<FrameSocket, 2> socket_pair() {
  std::array<int, 2> ends{};
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "no sockets");
  return {FrameSocket(Descriptor(ends[0])), FrameSocket(Descriptor(ends[1]))};
}

TEST(Framing, ASocketKeepsWhatDoesNotFitAndLosesNothing) {
  auto [a, b] = socket_pair();
  const std::string big(5 << 20, 'b');  // far above any socket buffer
  a.send("first");
  a.send(big);
  a.send("last");
  EXPECT_TRUE(a.has_unsent());
  std::vector<std::string> got;
  while (got.size() < 3) {
    ASSERT_TRUE(b.read_some());
    while (auto frame = b.next()) got.push_back(std::move(*frame));
    a.flush();
  }
  EXPECT_FALSE(a.has_unsent());
  EXPECT_EQ(got, (std::vector<std::string>{"first", big, "last"}));
}

TEST(Framing, AFrameSentBeforeTheEndIsStillRead) {
  auto [a, b] = socket_pair();
  a.send("last words");
  { const FrameSocket gone = std::move(a); }
  EXPECT_FALSE(b.read_some());
  EXPECT_EQ(b.next(), "last words");
  EXPECT_EQ(b.next(), std::nullopt);
  b.send("to nobody");  // neither a signal nor an error
  EXPECT_FALSE(b.has_unsent());
}

}  // namespace
}  // namespace brood
