// Goal: no bytes from outside make a parser crash, hang or read past their end, in every build and
// above all in that with sanitizers. Method: whole files made here and the corpora of the fuzzer
// (tests/fuzz/corpus), cut off, with bytes changed, repeated and left out, always the same, through
// the fuzz targets. The targets themselves check what was read.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "engine/framing.h"
#include "engine/message.h"
#include "engine/rng.h"
#include "tests/fuzz/targets.h"
#include "tfrecord_writer.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/command_line.h"

namespace brood {
namespace {

namespace fs = std::filesystem;

using Target = void (*)(const std::uint8_t*, std::size_t);

void run(Target target, const std::string& bytes) {
  // A copy of just this size: a sanitizer sees a single byte read too far.
  const std::vector<std::uint8_t> copy(bytes.begin(), bytes.end());
  target(copy.data(), copy.size());
}

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> corpus(const std::string& name) {
  const char* const root = std::getenv("BROOD_SOURCE_DIR");
  const fs::path folder = fs::path(root == nullptr ? "." : root) / "tests/fuzz/corpus" / name;
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> out;
  for (const fs::path& path : paths) out.push_back(content_of(path));
  return out;
}

// One of the changes that find the most: a bit, an extreme byte, a number too large, a piece left
// out or doubled, a piece of another file.
std::string damaged(std::string bytes, const std::string& other, Rng& rng) {
  if (bytes.empty()) return bytes;
  const std::size_t at = rng.below(bytes.size());
  const std::size_t most = std::min<std::size_t>(64, bytes.size() - at);
  const std::size_t length = 1 + rng.below(most);
  const std::string piece = bytes.substr(at, length);
  switch (rng.below(6)) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
      break;
    case 1:
      bytes[at] = "\0\x01\x7F\x80\xFF{}[]\",:09-e."[rng.below(18)];
      break;
    case 2:
      bytes.replace(at, std::min<std::size_t>(4, most), "\xFF\xFF\xFF\x7F");
      break;
    case 3:
      bytes.erase(at, length);
      break;
    case 4:
      bytes.insert(at, piece);
      break;
    default:
      if (!other.empty()) bytes.replace(at, length, other.substr(rng.below(other.size()), length));
  }
  return bytes;
}

void survive(Target target, const std::vector<std::string>& files, int changes) {
  ASSERT_FALSE(files.empty());
  Rng rng(11, 0, Purpose::simulate);
  for (const std::string& file : files) {
    run(target, file);
    for (std::size_t size = 0; size < file.size(); size += 1 + file.size() / 60)
      run(target, file.substr(0, size));
    for (int i = 0; i < changes; ++i) {
      const std::string& other = files[rng.below(files.size())];
      std::string changed = damaged(file, other, rng);
      run(target, changed);
      for (std::uint64_t more = rng.below(3); more > 0; --more)
        changed = damaged(std::move(changed), other, rng);
      run(target, changed);
    }
  }
}

TEST(ParsersSurviveDamage, OfIdxFiles) { survive(fuzz::idx, corpus("idx"), 300); }

TEST(ParsersSurviveDamage, OfCifarFiles) {
  std::string file;
  for (int i = 0; i < 2 * 3074; ++i) file += static_cast<char>(i * i);
  survive(fuzz::cifar, {file, file.substr(0, 2 * 3073)}, 100);
}

TEST(ParsersSurviveDamage, OfPictures) { survive(fuzz::picture, corpus("picture"), 60); }

TEST(ParsersSurviveDamage, OfTfRecordFiles) {
  const std::string example = example_bytes({{"image/encoded", std::string(50, 'x')},
                                             {"label", std::vector<std::int64_t>{1, 70000, -1}},
                                             {"box", std::vector<float>{0.5F, 1e30F}}});
  survive(fuzz::tfrecord, {example, record_bytes(example) + record_bytes(example)}, 600);
}

// The checksums let few changes through: here each changed Example gets good ones.
TEST(ParsersSurviveDamage, OfTheExamplesInSoundRecords) {
  Rng rng(12, 0, Purpose::simulate);
  const std::string example = example_bytes(
      {{"a", std::string(9, 'x')}, {"b", std::vector<std::int64_t>{1}}, {"c", std::string()}});
  for (int i = 0; i < 1500; ++i) {
    const std::string once = damaged(example, example, rng);
    run(fuzz::tfrecord, record_bytes(once) + record_bytes(damaged(once, example, rng)));
  }
}

TEST(ParsersSurviveDamage, OfCheckpoints) {
  const fs::path folder =
      fs::temp_directory_path() / ("brood_parsers_fuzz_" + std::to_string(::getpid()));
  const std::string path = (folder / "whole.ckpt").string();
  cnn::Checkpoint whole;
  whole.metadata = {{"epoch", "3"}, {"format", "brood"}};
  whole.arrays = {{"weights", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"bias", {3}, {0.5F, -1, 0}}};
  cnn::write_checkpoint(path, whole);
  const std::string file = content_of(path);
  fs::remove_all(folder);
  const std::string name(5000, 'x');
  const std::string header = "{\"" + name + "\": {}}   ";  // an error must not quote it whole
  const auto size = static_cast<char>(header.size() & 0xFF);
  const std::string long_name = {size, static_cast<char>(header.size() >> 8), 0, 0, 0, 0, 0, 0};
  survive(fuzz::checkpoint, {file}, 500);
  run(fuzz::checkpoint, long_name + header);
}

TEST(ParsersSurviveDamage, OfFramesBetweenProcesses) {
  Assign assign;
  assign.assignment.params.set("learning_rate", 0.1);
  assign.assignment.params.set("optimizer", std::string("adam"));
  Told told;
  told.sequence = 7;
  told.event.kind = Event::Kind::report;
  told.event.report = {3, {{"loss", 0.5, true}, {"seconds", 1.5, false}}};
  Hello hello;
  hello.offer.numeric_class = "avx2";
  brood::Setup setup;
  setup.trainer.config = "{\"name\": \"cnn\"}";
  Beat beat;
  beat.slots = {{1, 2, 3, 4, 5}};
  std::vector<std::string> files;
  std::string stream;
  for (const Message& message : std::vector<Message>{assign, told, hello, setup, beat, NodeHello{},
                                                     Lost{}, Stop{}, Save{}, Ack{}, Kill{}}) {
    files.push_back(encode(message));
    append_frame(stream, files.back());
  }
  files.push_back(stream);
  survive(fuzz::frames, files, 150);
}

TEST(ParsersSurviveDamage, OfAProgramsLines) {
  survive(fuzz::program_line,
          {R"({"epoch": 1, "metrics": {"val_accuracy": 0.81}, "measured": {"seconds": 4.2}})",
           R"({"trial": 17, "attempt": 1, "epoch": 2, "metrics": {"loss": NaN, "b": -Infinity}})",
           R"({"trial": 17, "attempt": 1, "ended": true})"},
          800);
}

}  // namespace
}  // namespace brood
