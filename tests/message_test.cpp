// Frames: what is encoded is decoded again, and nothing that a broken peer sends gets past
// decode().
#include "engine/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/error.h"

namespace brood {
namespace {

Told told_report() {
  Told told;
  told.sequence = 9;
  told.trial = 1234567890123;
  told.attempt = 2;
  told.event.kind = Event::Kind::report;
  told.event.slot = 3;
  told.event.report = {4, {{"loss", 0.1, true}, {"seconds", 1.5, false}}};
  return told;
}

std::vector<Message> one_of_each() {
  std::vector<Message> out;
  Hello hello;
  hello.offer = {"cpu", "cpu/avx2/fp32/1", 2, 77};
  hello.build = build_id();
  hello.host = "host";
  hello.pid = 42;
  out.push_back(hello);
  out.push_back(Idle{3});
  out.push_back(told_report());
  for (const auto kind :
       {Event::Kind::progress, Event::Kind::saved, Event::Kind::ended, Event::Kind::failed}) {
    Told told = told_report();
    told.event.kind = kind;
    told.event.report = {};
    told.event.path = "a/b";
    told.event.epoch = 3;
    told.event.cause = Cause::nan;
    told.event.why = "because \"of\" this";
    out.push_back(told);
  }
  out.push_back(NodeHello{"host",
                          build_id(),
                          7,
                          64,
                          1ULL << 40U,
                          {"a", "b"},
                          {{"cuda:0", "m", "sm_90", 5, "GPU-1", 3}},
                          "none"});
  out.push_back(Beat{{{1, 0, 17, 200, 4096}, {2, 1, -1, 0, 0}}, 1234567890123});
  out.push_back(Beat{{}, std::nullopt});
  out.push_back(Lost{3, Cause::memory, "too much", "tail\nof log", 99, 12, true, 8});
  Setup setup;
  setup.trainer = {"cnn", R"({"epochs": 3})", "loss",   ~0ULL, "/data", "/cache", "/base",
                   "c",   1ULL << 33U,        "cuda:0", 1,     2,       8};
  setup.devices = {"cuda:0", "cuda:1"};
  setup.workers = 5;
  setup.lease_ms = 10000;
  out.push_back(setup);
  out.push_back(Lease{});
  out.push_back(Kill{4, "why"});
  out.push_back(Shutdown{});
  Assign assign;
  assign.session = 2;
  assign.slot = 1;
  assign.assignment.trial = 7;
  assign.assignment.params.set("x", 1.0);
  assign.assignment.params.set("n", std::int64_t{1});
  assign.assignment.params.set("on", true);
  assign.assignment.params.set("filters[1]", std::string("wide"));
  assign.assignment.seed = ~0ULL;
  out.push_back(assign);
  assign.assignment.save_last_if = Assignment::Worth{0.25, false, true};
  out.push_back(assign);
  out.push_back(Stop{1, 2, 3});
  out.push_back(Save{1, 2, 3});
  out.push_back(Ack{1LL << 60U});
  return out;
}

TEST(Message, DecodesToWhatWasEncoded) {
  for (const Message& message : one_of_each()) {
    const std::string frame = encode(message);
    const Message again = decode(frame);
    EXPECT_EQ(again.index(), message.index()) << frame;
    EXPECT_EQ(encode(again), frame);
  }
  Assign assign;
  for (const Message& message : one_of_each())
    if (std::holds_alternative<Assign>(message)) assign = std::get<Assign>(decode(encode(message)));
  EXPECT_EQ(assign.assignment.params.real("x"), 1.0);
  EXPECT_TRUE(std::holds_alternative<double>(*assign.assignment.params.find("x")));
  EXPECT_EQ(assign.assignment.params.whole("n"), 1);
  ASSERT_TRUE(assign.assignment.save_last_if);
  EXPECT_EQ(assign.assignment.save_last_if->better_than, 0.25);
  EXPECT_FALSE(assign.assignment.save_last_if->maximize);
  EXPECT_TRUE(assign.assignment.save_last_if->any_epoch);
  EXPECT_EQ(assign.assignment.seed, ~0ULL);
}

TEST(Message, CarriesNumbersThatJsonLacks) {
  Told told = told_report();
  const double inf = std::numeric_limits<double>::infinity();
  told.event.report.metrics = {{"a", std::nan(""), true}, {"b", inf, true}, {"c", -inf, true}};
  const auto metrics = std::get<Told>(decode(encode(told))).event.report.metrics;
  ASSERT_EQ(metrics.size(), 3U);
  EXPECT_TRUE(std::isnan(metrics[0].value));
  EXPECT_EQ(metrics[1].value, inf);
  EXPECT_EQ(metrics[2].value, -inf);
}

TEST(Message, KeepsEveryBitOfAMetric) {
  Told told = told_report();
  for (const double value : {0.1, 1.0 / 3.0, 5e-324, 1.7976931348623157e308, -0.0}) {
    told.event.report.metrics = {{"a", value, true}};
    const double again = std::get<Told>(decode(encode(told))).event.report.metrics[0].value;
    EXPECT_EQ(std::memcmp(&again, &value, sizeof value), 0) << value;
  }
}

TEST(Message, TakesAnyBytesInALogTail) {
  const Lost lost{1, Cause::signal, "why", std::string("\xff\xfe\0tail", 7), 0, 0, false};
  EXPECT_THAT(std::get<Lost>(decode(encode(lost))).log_tail, testing::HasSubstr("tail"));
}

TEST(Message, RefusesEveryTruncationAndManyAlterations) {
  for (const Message& message : one_of_each()) {
    const std::string frame = encode(message);
    for (std::size_t length = 0; length < frame.size(); ++length)
      EXPECT_THROW(decode(frame.substr(0, length)), UserError);
    for (std::size_t at = 0; at < frame.size(); ++at) {
      std::string altered = frame;
      altered[at] = altered[at] == '7' ? 'x' : '7';
      try {
        decode(altered);  // may still be a valid frame; must not do anything worse than throw
      } catch (const UserError&) {
      }
    }
  }
  for (const char* text : {"", "[]", "7", "{}", R"({"is": 3})", R"({"is": "nonsense"})",
                           R"({"is": "idle", "slot": "one"})", R"({"is": "beat", "slots": [[1]]})"})
    EXPECT_THROW(decode(text), UserError) << text;
}

}  // namespace
}  // namespace brood
