// Goal: data is decoded once, never twice at the same time, and what is mapped is never stale, half
// or damaged. Method: a source that counts how often it is read; processes that start together; a
// source file changed in every way, a cache file damaged in every way, folders without room.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "engine/error.h"
#include "tests/data_files.h"
#include "trainers/data/cache.h"
#include "trainers/data/cache_file.h"
#include "trainers/data/hash.h"
#include "trainers/data/source_key.h"

namespace brood::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

// One image a byte of its file; its pixels are that byte. Each reading makes its log longer.
class Letters final : public Source {
 public:
  explicit Letters(std::string path) : path_(std::move(path)) {}
  std::vector<std::string> files() const override { return {path_}; }
  std::string options() const override { return "letters 1 " + more; }
  Contents contents() override {
    return {2, 2, 3, {"a", "bc"}, static_cast<std::int64_t>(fs::file_size(path_)) - 1, 1, false};
  }
  void read(Sink& sink) override {
    std::ofstream(path_ + ".log", std::ios::app) << 'x';
    std::ifstream in(path_, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (in_between) in_between();
      const Bytes pixels(12, static_cast<std::uint8_t>(text[i]));
      const std::uint16_t label = text[i] % 2;
      const bool test = i + 1 == text.size();
      sink.put(test ? Part::test : Part::train, test ? 0 : static_cast<std::int64_t>(i), pixels,
               {&label, 1});
    }
  }

  std::string more;
  std::function<void()> in_between;

 private:
  const std::string path_;
};

class DataCache : public DataFolder {
 protected:
  void SetUp() override {
    DataFolder::SetUp();
    write_letters("hello");
  }
  void write_letters(const std::string& text) { write("letters", {text.begin(), text.end()}); }
  std::int64_t readings() const {
    return static_cast<std::int64_t>(contents(path("letters.log")).size());
  }

  Dataset load() {
    Letters source(path("letters"));
    return cached_dataset(source, path("cache"));
  }
  // The first pixel of each image.
  std::string text() {
    const Dataset data = load();
    std::string out;
    for (std::int64_t i = 0; i < data.train.count; ++i)
      out += static_cast<char>(*data.pixels(data.train, i));
    return out + static_cast<char>(data.test.pixels.back());
  }
  std::vector<std::string> files(const std::string& ending) const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(path("cache/data")))
      if (entry.path().string().ends_with(ending)) out.push_back(entry.path().string());
    return out;
  }
};

// Runs the call in a process of its own; its status, or minus its signal.
pid_t start(const std::function<int()>& call) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(call());
  return child;
}
int status_of(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST_F(DataCache, IsListedAndRemoved) {
  EXPECT_THAT(cache_entries(path("cache")), testing::IsEmpty());
  const Dataset data = load();
  write("cache/data/letters-0123456789abcdef.images.host.7.part", Bytes(10));
  write("cache/data/notes.txt", Bytes(10));
  auto entries = cache_entries(path("cache"));
  ASSERT_EQ(entries.size(), 2U);
  if (!entries[0].contents) std::swap(entries[0], entries[1]);
  ASSERT_TRUE(entries[0].contents);
  EXPECT_EQ(entries[0].contents->train, 4);
  EXPECT_EQ(entries[0].bytes, fs::file_size(data.cache_file));
  EXPECT_FALSE(entries[1].being_made) << "nobody holds its lock";
  for (const CacheEntry& entry : entries) remove_cache_entry(path("cache"), entry);
  EXPECT_THAT(cache_entries(path("cache")), testing::IsEmpty());
  EXPECT_TRUE(fs::exists(path("cache/data/notes.txt")));
  EXPECT_EQ(*data.pixels(data.train, 0), 'h') << "who has it mapped keeps it";
  EXPECT_EQ(text(), "hello");
  EXPECT_EQ(readings(), 2);
}

TEST_F(DataCache, IsMadeOnceAndMapped) {
  const Dataset data = load();
  EXPECT_EQ(data.height, 2);
  EXPECT_EQ(data.channels, 3);
  EXPECT_THAT(data.class_names, ElementsAre("a", "bc"));
  EXPECT_THAT(data.train.labels, ElementsAre('h' % 2, 'e' % 2, 'l' % 2, 'l' % 2));
  EXPECT_EQ(data.train.pixels.size(), 48U);
  EXPECT_EQ(data.cache_file, files(".images").front());
  EXPECT_EQ(text(), "hello");
  EXPECT_EQ(readings(), 1);
  Letters source(path("letters"));
  EXPECT_EQ(cached_contents(source, path("cache")), source.contents());
  EXPECT_THAT(files(".lock"), ElementsAre());
  EXPECT_THAT(files(".part"), ElementsAre());
}

TEST_F(DataCache, OutlivesItsFile) {
  const Dataset data = load();
  fs::remove_all(path("cache"));
  EXPECT_EQ(data.pixels(data.train, 1)[0], 'e');
  EXPECT_EQ(text(), "hello") << "made again";
}

TEST_F(DataCache, IsMadeByOneOfManyProcesses) {
  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i)
    children.push_back(start([&] {
      ::close(gate[1]);
      char byte = 0;
      if (::read(gate[0], &byte, 1) != 0) return 1;  // the end: all are there
      return text() == "hello" ? 0 : 2;
    }));
  ::close(gate[0]);
  ::close(gate[1]);
  for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
  EXPECT_EQ(readings(), 1);
  EXPECT_EQ(files(".images").size(), 1U);
}

TEST_F(DataCache, AProcessThatDiesHalfWayLeavesNothingThatIsRead) {
  const pid_t child = start([&] {
    Letters source(path("letters"));
    int images = 0;
    source.in_between = [&] {
      if (++images == 3) ::raise(SIGKILL);
    };
    cached_dataset(source, path("cache"));
    return 0;
  });
  EXPECT_EQ(status_of(child), -SIGKILL);
  EXPECT_THAT(files(".images"), ElementsAre());
  EXPECT_EQ(files(".part").size(), 1U);
  EXPECT_EQ(text(), "hello");
  EXPECT_THAT(files(".part"), ElementsAre()) << "its place was taken";
}

TEST_F(DataCache, AChangedFileIsNeverStale) {
  EXPECT_EQ(text(), "hello");
  const auto time = fs::last_write_time(path("letters"));
  write_letters("HELLO");
  fs::last_write_time(path("letters"), time);  // as long, and as old
  EXPECT_EQ(text(), "HELLO");
  write_letters("hello");
  EXPECT_EQ(text(), "hello");
  EXPECT_EQ(readings(), 2) << "the first cache still fits";
}

TEST_F(DataCache, ACopyElsewhereSharesIt) {
  EXPECT_EQ(text(), "hello");
  fs::create_directories(path("copy"));
  fs::copy(path("letters"), path("copy/letters"));
  Letters copy(path("copy/letters"));
  EXPECT_EQ(cached_dataset(copy, path("cache")).train.count, 4);
  EXPECT_FALSE(fs::exists(path("copy/letters.log")));
}

TEST_F(DataCache, OtherOptionsAreAnotherCache) {
  EXPECT_EQ(text(), "hello");
  Letters source(path("letters"));
  source.more = "size 3";
  cached_dataset(source, path("cache"));
  EXPECT_EQ(files(".images").size(), 2U);
}

TEST_F(DataCache, AFileThatChangesWhileItIsReadIsRefused) {
  Letters source(path("letters"));
  source.in_between = [&] { write_letters("jello"); };
  expect_refused([&] { cached_dataset(source, path("cache")); }, {"is being changed"});
  EXPECT_THAT(files(".images"), ElementsAre());
  EXPECT_THAT(files(".part"), ElementsAre());
}

TEST_F(DataCache, EveryDamageIsSeenAndRepaired) {
  EXPECT_EQ(text(), "hello");
  const std::string file = files(".images").front();
  const Bytes whole = contents(file);
  std::int64_t made = 1;
  const auto expect_repaired = [&](const Bytes& damaged, const std::string& what) {
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(damaged.data()),
               static_cast<std::streamsize>(damaged.size()));
    EXPECT_EQ(text(), "hello") << what;
    EXPECT_EQ(readings(), ++made) << what;
    EXPECT_EQ(contents(file), whole) << what;
  };
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{71}, std::size_t{4095}, std::size_t{4096}, whole.size() - 1})
    expect_repaired(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)),
                    "cut to " + std::to_string(size));
  Bytes longer = whole;
  longer.push_back(0);
  expect_repaired(longer, "longer");
  for (std::size_t at = 0; at < whole.size(); at += at < 100 ? 7 : 61) {
    Bytes damaged = whole;
    damaged[at] ^= 0x10;
    expect_repaired(damaged, "byte " + std::to_string(at));
  }
}

TEST_F(DataCache, BytesAreNotReadAgainOnceTheFileHasSettled) {
  const auto later = std::chrono::system_clock::now() + std::chrono::hours(1);
  const Letters source(path("letters"));
  fs::create_directories(path("cache"));
  const std::string folder = path("cache");
  const SourceKey young = key_of(source, folder);
  EXPECT_TRUE(fs::is_empty(folder)) << "it could be changed again within one tick of the clock";
  const SourceKey settled = key_of(source, folder, later);
  EXPECT_EQ(settled.text, young.text);
  const std::string kept = folder + "/" + settled.signature + ".key";
  ASSERT_TRUE(fs::exists(kept));
  std::ofstream(kept) << "0123456789abcdef\n";
  EXPECT_EQ(key_of(source, folder, later).text, "0123456789abcdef") << "it is what is believed";
  std::ofstream(kept) << "0123456789";
  EXPECT_EQ(key_of(source, folder, later).text, young.text) << "unless it is not whole";
  write_letters("HELLO");
  EXPECT_NE(key_of(source, folder, later).text, young.text);
}

TEST_F(DataCache, WithoutAFolderToWriteToMemoryIsUsed) {
  write("file", {'x'});
  write("four/train-images-idx3-ubyte", {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 9});
  write("four/train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 2, 0, 1});
  write("four/t10k-images-idx3-ubyte", {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 5});
  write("four/t10k-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 1, 1});
  DatasetSpec spec;
  spec.format = "idx";
  testing::internal::CaptureStderr();
  const auto data = load_dataset(spec, {path("four"), "", path("file/below")});
  const std::string note = testing::internal::GetCapturedStderr();
  EXPECT_THAT(note,
              testing::AllOf(testing::HasSubstr("file/below"), testing::HasSubstr("cache_dir")));
  EXPECT_EQ(data->cache_file, "");
  EXPECT_THAT(data->train.pixels, ElementsAre(7, 9));
  const auto mapped = load_dataset(spec, {path("four"), "", path("cache")});
  EXPECT_NE(mapped->cache_file, "");
  EXPECT_THAT(mapped->train.pixels, ElementsAre(7, 9));
  EXPECT_THAT(mapped->test.labels, ElementsAre(1));
}

TEST_F(DataCache, AFullDiskLeavesNothing) {
  const pid_t child = start([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &small);
    try {
      load();
    } catch (const CacheTrouble&) {
      return 0;
    }
    return 1;
  });
  EXPECT_EQ(status_of(child), 0);
  EXPECT_THAT(files(".images"), ElementsAre());
  EXPECT_THAT(files(".part"), ElementsAre());
}

TEST(DataCacheFolder, IsTheUsersCache) {
  const char* const before = std::getenv("XDG_CACHE_HOME");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("XDG_CACHE_HOME", "/cache", 1);
  EXPECT_EQ(default_cache_dir(), "/cache/brood");
  ::unsetenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  EXPECT_EQ(default_cache_dir(), home == nullptr ? "" : std::string(home) + "/.cache/brood");
  if (before != nullptr) ::setenv("XDG_CACHE_HOME", kept.c_str(), 1);
}

TEST(DataHash, IsXxh64) {
  const auto of = [](const std::string& text) { return hex(hash_of(text.data(), text.size())); };
  EXPECT_EQ(of(""), "ef46db3751d8e999");
  EXPECT_EQ(of("a"), "d24ec4f1a98c6e5b");
  EXPECT_EQ(of("abc"), "44bc2cf5ad770999");
  EXPECT_EQ(of("Nobody inspects the spammish repetition"), "fbcea83c8a378bf1");
}

TEST(DataHash, DoesNotDependOnHowBytesArrive) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += static_cast<char>(i * 31);
  for (std::size_t part = 1; part < 70; ++part) {
    Hash hash;
    for (std::size_t at = 0; at < text.size(); at += part)
      hash.add(text.data() + at, std::min(part, text.size() - at));
    ASSERT_EQ(hash.value(), hash_of(text.data(), text.size())) << part;
  }
}

}  // namespace
}  // namespace brood::data
