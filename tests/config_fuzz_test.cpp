// Goal: what a fuzzer once found stays found. Method: the corpus and the golden configs, whole, cut
// off at many places and with single bytes changed, run through the fuzz target in every build.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace brood {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> corpus() {
  const char* dir = std::getenv("BROOD_SOURCE_DIR");
  const fs::path tests = (dir == nullptr ? fs::current_path() : fs::path(dir)) / "tests";
  std::vector<fs::path> paths;
  for (const fs::path& folder : {tests / "fuzz" / "corpus" / "config", tests / "golden" / "config"})
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".json") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> texts;
  for (const fs::path& path : paths) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    texts.push_back(text.str());
  }
  return texts;
}

void run(const std::string& text) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

TEST(ConfigFuzz, SurvivesTheCorpus) {
  const std::vector<std::string> texts = corpus();
  EXPECT_GE(texts.size(), 30U);
  for (const std::string& text : texts) run(text);
}

TEST(ConfigFuzz, SurvivesTextsThatAreCutOff) {
  for (const std::string& text : corpus())
    for (std::size_t length = 0; length < text.size(); length += 1 + text.size() / 40)
      run(text.substr(0, length));
}

TEST(ConfigFuzz, SurvivesSingleChangedBytes) {
  Rng rng(5, 0, Purpose::simulate);
  const std::string bytes = "{}[]\",:0123456789-.eE$/\\ \n\xff";
  for (const std::string& text : corpus()) {
    for (int i = 0; i < 20 && !text.empty(); ++i) {
      std::string changed = text;
      changed[rng.below(text.size())] = bytes[rng.below(bytes.size())];
      run(changed);
    }
  }
}

}  // namespace
}  // namespace brood
