// Goal: whatever is wrong with a config, people read where, what and how to put it right, all at
// once. Method: golden files. tests/golden/config/NAME.json is read as it is; NAME.txt holds the
// whole text of the errors, or the canonical config where there are none. No file is skipped.
// BROOD_GOLDEN=rewrite rewrites the texts; the diff is for review.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/config.h"
#include "engine/error.h"

namespace brood {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

fs::path source_dir() {
  const char* dir = std::getenv("BROOD_SOURCE_DIR");
  return dir == nullptr ? fs::current_path() : fs::path(dir);
}

std::string outcome(const fs::path& path) {
  try {
    return read_config_text(contents(path), path.filename().string()).config + "\n";
  } catch (const ConfigError& error) {
    return std::string(error.what()) + "\n";
  }
}

TEST(ConfigGolden, SaysExactlyWhatTheTextsSay) {
  const fs::path folder = source_dir() / "tests" / "golden" / "config";
  const char* wish = std::getenv("BROOD_GOLDEN");
  const bool rewrite = wish != nullptr && std::string(wish) == "rewrite";
  int files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    fs::path path = entry.path();
    if (path.extension() != ".json") continue;
    ++files;
    const std::string found = outcome(path);
    const fs::path expected = path.replace_extension(".txt");
    if (rewrite) std::ofstream(expected, std::ios::binary) << found;
    EXPECT_EQ(found, contents(expected)) << expected;
  }
  EXPECT_GE(files, 30);
}

TEST(ConfigGolden, ReadsTheFirstExampleOfTheDialect) {
  const fs::path folder = source_dir() / "tests" / "golden" / "config";
  const ExperimentSpec spec = read_config((folder / "dialect-grid.json").string());
  EXPECT_EQ(spec.name, "fashion-mnist-grid");
  EXPECT_EQ(spec.seed, 42U);
  EXPECT_EQ(spec.space.cross_size(), 6);
  EXPECT_EQ(spec.output.database, (folder / "experiments.db").string());
}

TEST(ConfigGolden, ReadsTheSecondExampleOfTheDialect) {
  const fs::path folder = source_dir() / "tests" / "golden" / "config";
  const ExperimentSpec spec = read_config((folder / "dialect-genetic.json").string());
  EXPECT_EQ(spec.name, "fashion-genetic");
  EXPECT_EQ(spec.search.name, "genetic");
  EXPECT_EQ(spec.space.size(), 18U);
}

TEST(ConfigGolden, ReadsEveryExample) {
  int files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(source_dir() / "examples")) {
    if (entry.path().extension() != ".json") continue;
    ++files;
    EXPECT_NO_THROW(read_config(entry.path().string())) << entry.path();
  }
  EXPECT_GE(files, 6);
}

}  // namespace
}  // namespace brood
