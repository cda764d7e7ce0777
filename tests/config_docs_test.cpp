// Goal: the reference page and the schema for editors say what the reader reads. Method: both are
// rendered from the reader's key table and compared with the files; the examples are walked key by
// key against the table. BROOD_GOLDEN=rewrite rewrites the files.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/config_keys.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {
namespace {

namespace fs = std::filesystem;

fs::path source_dir() {
  const char* dir = std::getenv("BROOD_SOURCE_DIR");
  return dir == nullptr ? fs::current_path() : fs::path(dir);
}

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

bool rewriting() {
  const char* wish = std::getenv("BROOD_GOLDEN");
  return wish != nullptr && std::string(wish) == "rewrite";
}

// The page with every table between its marks made anew; the sections it has.
std::string with_tables(const std::string& page, std::vector<std::string>& sections) {
  const std::string open = "<!-- keys:", close = "<!-- /keys -->";
  std::string out;
  std::size_t at = 0;
  for (std::size_t start; (start = page.find(open, at)) != std::string::npos;) {
    const std::size_t name_end = page.find(" -->", start);
    const std::size_t end = page.find(close, start);
    const std::string name = page.substr(start + open.size(), name_end - start - open.size());
    sections.push_back(name);
    out += page.substr(at, name_end + 4 - at) + "\n" + markdown_table(name) + close;
    at = end + close.size();
  }
  return out + page.substr(at);
}

TEST(ConfigPage, HasEveryKeyThatTheReaderKnowsAndNoOther) {
  const fs::path path = source_dir() / "docs" / "config.md";
  const std::string page = contents(path);
  std::vector<std::string> sections;
  const std::string fresh = with_tables(page, sections);
  if (rewriting()) std::ofstream(path, std::ios::binary) << fresh;
  EXPECT_EQ(fresh, contents(path)) << "tables are made from cli/config_keys.cpp: rewrite them";
  std::vector<std::string> expected;
  for (const std::string_view section : config_sections()) expected.emplace_back(section);
  EXPECT_EQ(sections, expected);
}

TEST(ConfigSchema, IsMadeFromTheKeyTable) {
  const fs::path path = source_dir() / "docs" / "config.schema.json";
  if (rewriting()) std::ofstream(path, std::ios::binary) << json_schema();
  EXPECT_EQ(json_schema(), contents(path));
}

// Every key of an object, against a schema's properties.
void require_known(const Json& schema, const Json& value, const std::string& place) {
  if (value.is_array() && schema.contains("items"))
    for (const Json& element : value) require_known(schema["items"], element, place + "[]");
  if (!value.is_object() || !schema.contains("properties")) return;
  for (const auto& [key, item] : value.items()) {
    const Json& properties = schema["properties"];
    if (properties.contains(key)) {
      require_known(properties[key], item, place + "/" + key);
      continue;
    }
    const bool open =
        !schema.contains("additionalProperties") || schema["additionalProperties"] != false;
    EXPECT_TRUE(open) << place << "/" << key;
  }
  for (const Json& required : schema.value("required", Json::array()))
    EXPECT_TRUE(value.contains(required.get<std::string>())) << place << ": " << required;
}

TEST(ConfigSchema, KnowsEveryKeyOfTheExamplesAndOfTheDialect) {
  const Json schema = parse_json(json_schema());
  int files = 0;
  for (const fs::path& folder :
       {source_dir() / "examples", source_dir() / "tests" / "golden" / "config"}) {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const bool dialect = entry.path().filename().string().starts_with("dialect-");
      if (entry.path().extension() != ".json" || (folder.filename() == "config" && !dialect))
        continue;
      ++files;
      require_known(schema, parse_json(contents(entry.path()), true), entry.path().filename());
    }
  }
  EXPECT_GE(files, 8);
}

TEST(ConfigSchema, RefusesAnUnknownKey) {
  const Json schema = parse_json(json_schema());
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_FALSE(schema["properties"].contains("objectives"));
  EXPECT_EQ(schema["properties"]["budget"]["additionalProperties"], false);
}

}  // namespace
}  // namespace brood
