// The rules of CONTRIBUTING.md that a machine can hold: who may include whom, where third-party
// headers may be, line and function lengths, what a header starts with, and that nothing is left
// out of the build. Each rule is a function of a list of files, tried first on small made-up ones
// and then on the source tree (environment BROOD_SOURCE_DIR). A file that breaks a rule is named
// with its line. The idea is TigerBeetle's tidy.zig.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "strategies/strategies.h"

namespace brood {
namespace {

struct File {
  std::string path;  // relative to the root, with slashes
  std::string text;
};
using Files = std::vector<File>;
using Complaints = std::vector<std::string>;  // "path:line: what"

// --- the rules' numbers and lists ---

constexpr std::size_t kColumns = 100;
constexpr int kFunctionLines = 70;
constexpr int kFileLines = 600;

// Longer than kFunctionLines when the rule came. A number may only fall; a function at or below
// kFunctionLines leaves the list.
const std::map<std::string, int> kLongFunctions = {
    {"engine/expression.cpp Expression::evaluate", 74},
    {"tests/cnn_reference.cpp Reference::forward", 107},
    {"tests/cnn_reference.cpp Reference::backward", 102},
};

// Where the wall clock may be read: for people, and to compare with the times of files.
const std::set<std::string> kWallClocks = {"engine/clock.cpp", "store/recorder.cpp",
                                           "cli/asked.cpp", "trainers/data/source_key.h"};

// Which folders a folder may include from.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"engine", {"engine"}},
    {"strategies", {"engine", "strategies"}},
    {"trainers", {"engine", "trainers"}},
    {"store", {"engine", "store"}},
    {"cli", {"engine", "strategies", "trainers", "store", "cli"}},
    {"tests", {"engine", "strategies", "trainers", "store", "cli", "tests"}},
    {"bench", {"engine", "strategies", "trainers", "store", "cli", "bench"}},
};

// Sources of the layers (tests are free) that may include a third-party header: at most this many,
// never a header of ours, and only in these folders.
struct Confined {
  std::string prefix;
  int sources_max;
  std::set<std::string> folders;
};
const std::vector<Confined> kConfined = {
    {"sqlite3.h", 1, {"store"}},
    {"mpi.h", 1, {"engine", "cli"}},
    {"Random123/", 1, {"engine", "trainers"}},
    {"boost/program_options", 2, {"cli"}},
    {"spdlog/", 2, {"cli"}},
    {"zlib.h", 1, {"trainers", "engine"}},
    {"jpeglib.h", 1, {"trainers"}},
    {"png.h", 2, {"trainers", "cli"}},
    {"Eigen/", 4, {"trainers"}},
    {"nlohmann/json.hpp", 1, {"engine"}},
    {"engine/json_library.h", 45, {"engine", "strategies", "trainers", "store", "cli"}},
};

// The one header of ours that brings a third-party header: for its ready-made templates.
const std::string kJsonLibrary = "engine/json_library.h";

// Not headers in the usual sense: a body that several sources include, each for itself.
const std::set<std::string> kBodies = {
    "engine/exact_math_body.h", "trainers/cnn/kernels_body.h", "trainers/cnn/light_kernels_body.h",
    "trainers/cnn/schedule_body.h", "trainers/cnn/activation_body.h"};

// --- reading ---

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

bool ends_with_any(const std::string& path, const std::vector<std::string>& ends) {
  return std::any_of(ends.begin(), ends.end(),
                     [&](const std::string& end) { return path.ends_with(end); });
}
bool is_header(const std::string& path) { return ends_with_any(path, {".h", ".cuh"}); }
bool is_source(const std::string& path) { return ends_with_any(path, {".cpp", ".cu"}); }
bool is_code(const std::string& path) { return is_header(path) || is_source(path); }

std::string folder_of(const std::string& path) { return path.substr(0, path.find('/')); }
bool is_layer(const std::string& path) {
  return kMayInclude.contains(folder_of(path)) && folder_of(path) != "tests" &&
         folder_of(path) != "bench";
}

std::string at(const File& file, std::size_t line, const std::string& what) {
  return file.path + ":" + std::to_string(line) + ": " + what;
}

// The words (letters, digits, _) of a line.
std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words(1);
  for (const char c : line) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_')
      words.back() += c;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

// Calls visit(line number, header, quoted) for each include.
template <class Visit>
void for_each_include(const File& file, Visit visit) {
  std::size_t number = 0;
  for (const std::string& line : lines_of(file.text)) {
    ++number;
    const std::size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line[hash] != '#') continue;
    const std::size_t word = line.find_first_not_of(" \t", hash + 1);
    if (word == std::string::npos || line.compare(word, 7, "include") != 0) continue;
    const std::size_t open = line.find_first_of("<\"", word);
    if (open == std::string::npos) continue;
    const bool quoted = line[open] == '"';
    const std::size_t close = line.find(quoted ? '"' : '>', open + 1);
    visit(number, line.substr(open + 1, close - open - 1), quoted);
  }
}

// The text with comments, strings and characters blanked, lines kept.
std::string code_only(const std::string& text) {
  std::string code = text;
  const auto blank = [&](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < std::min(to, code.size()); ++i)
      if (code[i] != '\n') code[i] = ' ';
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::size_t end = i;
    if (text.compare(i, 2, "//") == 0) {
      end = text.find('\n', i);
    } else if (text.compare(i, 2, "/*") == 0) {
      end = text.find("*/", i + 2) + 2;
    } else if (text.compare(i, 2, "R\"") == 0) {
      const std::size_t open = text.find('(', i);
      const std::string close = std::string(")").append(text, i + 2, open - i - 2) + "\"";
      end = text.find(close, open) + close.size();
    } else if (text[i] == '"' || (text[i] == '\'' && (i == 0 || !std::isalnum(text[i - 1])))) {
      for (end = i + 1; end < text.size() && text[end] != text[i]; ++end)
        if (text[end] == '\\') ++end;
      ++end;
    } else {
      continue;
    }
    blank(i, end);
    i = std::min(end, text.size()) - 1;
  }
  return code;
}

// --- the rules ---

Complaints layers(const Files& files) {
  Complaints complaints;
  for (const File& file : files) {
    const auto rule = kMayInclude.find(folder_of(file.path));
    if (!is_code(file.path) || rule == kMayInclude.end()) continue;
    for_each_include(file, [&](std::size_t line, const std::string& header, bool quoted) {
      if (!quoted) return;
      const bool qualified = header.find('/') != std::string::npos;
      if (!qualified && !is_layer(file.path)) return;  // tests and benches: their own helpers
      if (!qualified || !rule->second.contains(folder_of(header)))
        complaints.push_back(at(file, line, rule->first + " may not include " + header));
    });
  }
  return complaints;
}

Complaints third_party(const Files& files) {
  Complaints complaints;
  for (const Confined& confined : kConfined) {
    int sources = 0;
    for (const File& file : files) {
      if (!is_code(file.path) || !is_layer(file.path)) continue;
      for_each_include(file, [&](std::size_t line, const std::string& header, bool) {
        if (!header.starts_with(confined.prefix)) return;
        ++sources;
        if (is_header(file.path) && file.path != kJsonLibrary)
          complaints.push_back(at(file, line, header + " in a header of ours"));
        else if (!confined.folders.contains(folder_of(file.path)))
          complaints.push_back(at(file, line, header + " in this folder"));
      });
    }
    if (sources > confined.sources_max)
      complaints.push_back(confined.prefix + " is included by " + std::to_string(sources) +
                           " sources, above " + std::to_string(confined.sources_max));
  }
  return complaints;
}

Complaints columns(const Files& files) {
  Complaints complaints;
  for (const File& file : files) {
    if (!is_code(file.path) && folder_of(file.path) != "scripts") continue;
    std::size_t number = 0;
    for (const std::string& line : lines_of(file.text)) {
      ++number;
      const auto width = std::count_if(line.begin(), line.end(),
                                       [](char c) { return (c & 0xC0) != 0x80; });  // UTF-8
      if (static_cast<std::size_t>(width) > kColumns)
        complaints.push_back(at(file, number, std::to_string(width) + " columns"));
    }
  }
  return complaints;
}

// Is the text between the last ; { or } and an opening brace the head of a function?
bool is_function_head(const std::string& head) {
  const std::size_t open = head.find('(');
  if (open == std::string::npos || head.find('=') != std::string::npos) return false;
  static const std::set<std::string> other = {"namespace", "class", "struct",
                                              "enum",      "union", "extern"};
  const std::vector<std::string> words = words_of(head.substr(0, open));
  return std::none_of(words.begin(), words.end(),
                      [](const std::string& word) { return other.contains(word); });
}

// Calls visit(name, first line, lines) for each function body with its head.
template <class Visit>
void for_each_function(const File& file, Visit visit) {
  const std::string code = code_only(file.text);
  int depth = 0;
  int body_depth = -1;  // of the function being read
  std::size_t line = 1, first_line = 1;
  std::string head, name;
  for (std::size_t i = 0; i < code.size(); ++i) {
    const char c = code[i];
    if (c == '\n') ++line;
    if (c == '#' && body_depth < 0 && head.find_first_not_of(" \n") == std::string::npos) {
      while (i < code.size() && code[i] != '\n') i += code[i] == '\\' ? 2 : 1;
      ++line;
    } else if (c == '{') {
      if (body_depth < 0 && is_function_head(head)) {
        body_depth = depth;
        name = head.substr(0, head.find('('));
        name = name.substr(name.find_last_of(" \n*&") + 1);
      }
      ++depth;
      if (body_depth < 0) head.clear();
    } else if (c == '}') {
      --depth;
      if (depth == body_depth) {
        visit(name, first_line, static_cast<int>(line - first_line + 1));
        body_depth = -1;
      }
      if (body_depth < 0) head.clear();
    } else if (c == ';' && body_depth < 0) {
      head.clear();
    } else if (body_depth < 0) {
      if (head.find_first_not_of(" \n") == std::string::npos) first_line = line;
      head += c;
    }
  }
}

Complaints long_functions(const Files& files, const std::map<std::string, int>& known) {
  Complaints complaints;
  std::set<std::string> seen;
  for (const File& file : files) {
    if (!is_code(file.path)) continue;
    for_each_function(file, [&](const std::string& name, std::size_t line, int length) {
      if (length <= kFunctionLines) return;
      const std::string key = file.path + " " + name;
      seen.insert(key);
      const auto allowed = known.find(key);
      if (allowed == known.end() || length > allowed->second)
        complaints.push_back(at(file, line, name + " has " + std::to_string(length) + " lines"));
    });
  }
  for (const auto& [key, length] : known)
    if (!seen.contains(key)) complaints.push_back(key + " is short now: take it off the list");
  return complaints;
}

// What waits, or decides by time, goes by the monotonic clock: the other one may be set while a
// run goes on. It tells people when something was.
Complaints wall_clocks(const Files& files) {
  Complaints found;
  for (const File& file : files) {
    const bool layer = !file.path.starts_with("tests/") && !file.path.starts_with("bench/");
    if (!layer || kWallClocks.count(file.path) > 0) continue;
    for (const char* word : {"system_clock", "gettimeofday", "CLOCK_REALTIME", "time(nullptr)"})
      if (file.text.find(word) != std::string::npos)
        found.push_back(file.path + ":1: reads the wall clock: " + word);
  }
  return found;
}

Complaints long_files(const Files& files) {
  Complaints complaints;
  for (const File& file : files) {
    const auto count = std::count(file.text.begin(), file.text.end(), '\n');
    if (is_code(file.path) && count > kFileLines)
      complaints.push_back(at(file, 1, std::to_string(count) + " lines: split it"));
  }
  return complaints;
}

Complaints headers(const Files& files) {
  Complaints complaints;
  for (const File& file : files) {
    if (!is_header(file.path)) continue;
    if (!file.text.starts_with("// ")) complaints.push_back(at(file, 1, "no opening sentence"));
    const std::vector<std::string> lines = lines_of(file.text);
    if (std::find(lines.begin(), lines.end(), "#pragma once") == lines.end() &&
        !kBodies.contains(file.path))
      complaints.push_back(at(file, 1, "no #pragma once"));
    const std::vector<std::string> code = lines_of(code_only(file.text));
    for (std::size_t i = 0; i < code.size(); ++i) {
      const std::vector<std::string> words = words_of(code[i]);
      if (words.size() > 1 && words[0] == "using" && words[1] == "namespace")
        complaints.push_back(at(file, i + 1, "a header opens a namespace for everyone"));
    }
  }
  return complaints;
}

Complaints loose_ends(const Files& files) {
  // Pieced together, so that this file does not break its own rule.
  static const std::set<std::string> marks = {
      "TO"
      "DO",
      "FIX"
      "ME",
      "X"
      "XX"};
  Complaints complaints;
  for (const File& file : files) {
    const std::vector<std::string> lines = lines_of(file.text);
    for (std::size_t i = 0; i < lines.size(); ++i)
      for (const std::string& word : words_of(lines[i]))
        if (marks.contains(word) && lines[i].find(word + "(#") == std::string::npos)
          complaints.push_back(at(file, i + 1, "an open end without an issue: write (#number)"));
  }
  return complaints;
}

// A source is named by its file name, or, as brood_test(name ...) does, without the extension.
Complaints unbuilt(const Files& files) {
  std::set<std::string> words;
  for (const File& file : files) {
    if (!file.path.ends_with("CMakeLists.txt") && !file.path.ends_with(".cmake")) continue;
    std::string word;
    for (const char c : file.text + " ") {
      if (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.') {
        word += c;
      } else {
        words.insert(word);
        word.clear();
      }
    }
  }
  Complaints complaints;
  for (const File& file : files) {
    const std::filesystem::path path(file.path);
    if (is_source(file.path) && !words.contains(path.filename()) && !words.contains(path.stem()))
      complaints.push_back(at(file, 1, "is in no CMakeLists.txt"));
  }
  return complaints;
}

// --- the rules on made-up files ---

using testing::ElementsAre;
using testing::IsEmpty;

TEST(TidyRules, ALayerIncludesOnlyWhatIsBelowIt) {
  EXPECT_THAT(layers({{"engine/a.cpp", "#include \"engine/a.h\"\n#include <vector>\n"},
                      {"cli/a.cpp", "#include \"store/a.h\"\n"},
                      {"tests/a.cpp", "#include \"helper.h\"\n"}}),
              IsEmpty());
  EXPECT_THAT(layers({{"engine/a.cpp", "\n#include \"store/a.h\"\n"}}),
              ElementsAre("engine/a.cpp:2: engine may not include store/a.h"));
  EXPECT_THAT(layers({{"store/a.cpp", "#include \"trainers/a.h\"\n"}}),
              ElementsAre("store/a.cpp:1: store may not include trainers/a.h"));
  EXPECT_THAT(layers({{"trainers/cnn/a.cpp", "#include \"a.h\"\n"}}),
              ElementsAre("trainers/cnn/a.cpp:1: trainers may not include a.h"));
  EXPECT_THAT(layers({{"cli/a.cpp", "#include \"tests/a.h\"\n"}}),
              ElementsAre("cli/a.cpp:1: cli may not include tests/a.h"));
}

TEST(TidyRules, AThirdPartyHeaderStaysInItsPlace) {
  EXPECT_THAT(third_party({{"store/a.cpp", "#include <sqlite3.h>\n"}}), IsEmpty());
  EXPECT_THAT(third_party({{"store/a.h", "#include <sqlite3.h>\n"}}),
              ElementsAre("store/a.h:1: sqlite3.h in a header of ours"));
  EXPECT_THAT(third_party({{"engine/a.cpp", "#include <sqlite3.h>\n"}}),
              ElementsAre("engine/a.cpp:1: sqlite3.h in this folder"));
  EXPECT_THAT(third_party({{"store/a.cpp", "#include <sqlite3.h>\n"},
                           {"store/b.cpp", "#include <sqlite3.h>\n"}}),
              ElementsAre("sqlite3.h is included by 2 sources, above 1"));
}

TEST(TidyRules, LinesEndAtTheLastColumn) {
  EXPECT_THAT(columns({{"engine/a.cpp", std::string(100, 'x') + "\n"}}), IsEmpty());
  EXPECT_THAT(columns({{"engine/a.cpp", std::string("\n").append(101, 'x') + "\n"}}),
              ElementsAre("engine/a.cpp:2: 101 columns"));
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "\xc3\xbc";
  EXPECT_THAT(columns({{"engine/a.cpp", umlauts}, {"README.md", std::string(500, 'x')}}),
              IsEmpty());
}

std::string function_of(int lines) {
  std::string text = "namespace a {\nclass B {\n  int c(int d) const {\n";
  for (int i = 0; i < lines - 2; ++i) text += "    if (d) { call(\"}\"); }  // }\n";
  return text + "  }\n};\n}\n";
}

TEST(TidyRules, FunctionsAreCountedFromHeadToBrace) {
  EXPECT_THAT(long_functions({{"a.cpp", function_of(70)}}, {}), IsEmpty());
  EXPECT_THAT(long_functions({{"a.cpp", function_of(71)}}, {}),
              ElementsAre("a.cpp:3: c has 71 lines"));
  const std::string test = std::string("TEST(A, B) {\n").append(70, '\n') + "}\n";
  EXPECT_THAT(long_functions({{"a.cpp", "#include <a>\n\n" + test}}, {}),
              ElementsAre("a.cpp:3: TEST has 72 lines"));
  const std::string table = std::string("const int kTable[] = {\n").append(90, '\n') + "};\n";
  const std::string raw =
      std::string("const char* kText = R\"x(\n{ ( \n").append(90, '\n') + ")x\";\n";
  EXPECT_THAT(long_functions({{"a.cpp", table + raw}}, {}), IsEmpty());
}

TEST(TidyRules, KnownLongFunctionsMayOnlyShrink) {
  const Files files = {{"a.cpp", function_of(80)}};
  EXPECT_THAT(long_functions(files, {{"a.cpp c", 80}}), IsEmpty());
  EXPECT_THAT(long_functions(files, {{"a.cpp c", 79}}), ElementsAre("a.cpp:3: c has 80 lines"));
  EXPECT_THAT(long_functions({{"a.cpp", function_of(9)}}, {{"a.cpp c", 80}}),
              ElementsAre("a.cpp c is short now: take it off the list"));
}

TEST(TidyRules, TheWallClockIsForPeople) {
  const std::string now = "std::chrono::system_clock::now()";
  EXPECT_THAT(wall_clocks({{"engine/clock.cpp", now}, {"tests/a_test.cpp", now}}), IsEmpty());
  EXPECT_THAT(wall_clocks({{"engine/a.cpp", now}}),
              ElementsAre("engine/a.cpp:1: reads the wall clock: system_clock"));
}

TEST(TidyRules, FilesAreSplitInTime) {
  EXPECT_THAT(long_files({{"a.cpp", std::string(600, '\n')}}), IsEmpty());
  EXPECT_THAT(long_files({{"a.cpp", std::string(601, '\n')}}),
              ElementsAre("a.cpp:1: 601 lines: split it"));
}

TEST(TidyRules, AHeaderStartsWithASentenceAndIsReadOnce) {
  EXPECT_THAT(headers({{"a.h", "// What it is for.\n#pragma once\n// using namespace std;\n"}}),
              IsEmpty());
  EXPECT_THAT(headers({{"a.h", "#pragma once\n"}}), ElementsAre("a.h:1: no opening sentence"));
  EXPECT_THAT(headers({{"a.h", "// A.\n"}}), ElementsAre("a.h:1: no #pragma once"));
  EXPECT_THAT(headers({{"a.h", "// A.\n#pragma once\nusing namespace std;\n"}}),
              ElementsAre("a.h:3: a header opens a namespace for everyone"));
}

TEST(TidyRules, OpenEndsNameTheirIssue) {
  const std::string word =
      "TO"
      "DO";
  EXPECT_THAT(loose_ends({{"a.cpp", "// " + word + "(#12): later\n"}}), IsEmpty());
  EXPECT_THAT(loose_ends({{"a.cpp", "// " + word + ": later\n"}}),
              ElementsAre("a.cpp:1: an open end without an issue: write (#number)"));
}

TEST(TidyRules, EverySourceIsBuilt) {
  EXPECT_THAT(unbuilt({{"engine/CMakeLists.txt", "add_library(x STATIC\n  a.cpp)\n"},
                       {"engine/a.cpp", ""},
                       {"tests/t.cmake", "brood_test(b_test LIBS x)\n"},
                       {"tests/b_test.cpp", ""}}),
              IsEmpty());
  EXPECT_THAT(unbuilt({{"engine/CMakeLists.txt", "aa.cpp"}, {"engine/a.cpp", ""}}),
              ElementsAre("engine/a.cpp:1: is in no CMakeLists.txt"));
}

// --- the rules on the tree ---

std::filesystem::path root() {
  const char* source = std::getenv("BROOD_SOURCE_DIR");
  EXPECT_NE(source, nullptr) << "run it by ctest";
  return source == nullptr ? "." : source;
}

const Files& tree() {
  static const Files files = [] {
    Files found;
    for (const char* folder : {"engine", "strategies", "trainers", "store", "cli", "tests", "bench",
                               "scripts", "examples"}) {
      if (!std::filesystem::exists(root() / folder)) continue;
      for (const auto& entry : std::filesystem::recursive_directory_iterator(root() / folder)) {
        const std::string path = std::filesystem::relative(entry.path(), root()).generic_string();
        if (!entry.is_regular_file() || path.find("/golden/") != std::string::npos) continue;
        std::ostringstream text;
        text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        found.push_back({path, text.str()});
      }
    }
    std::sort(found.begin(), found.end(),
              [](const File& a, const File& b) { return a.path < b.path; });
    return found;
  }();
  return files;
}

TEST(Tidy, FindsTheTree) { EXPECT_GT(tree().size(), 50U); }
TEST(Tidy, LayersAreADag) { EXPECT_THAT(layers(tree()), IsEmpty()); }
TEST(Tidy, ThirdPartyHeadersStayInTheirPlaces) { EXPECT_THAT(third_party(tree()), IsEmpty()); }
TEST(Tidy, LinesFit) { EXPECT_THAT(columns(tree()), IsEmpty()); }
TEST(Tidy, FunctionsFitOnAScreen) {
  EXPECT_THAT(long_functions(tree(), kLongFunctions), IsEmpty());
}
TEST(Tidy, TheWallClockIsForPeople) { EXPECT_THAT(wall_clocks(tree()), IsEmpty()); }
TEST(Tidy, FilesHoldOneIdea) { EXPECT_THAT(long_files(tree()), IsEmpty()); }
TEST(Tidy, HeadersSayWhatTheyAreFor) { EXPECT_THAT(headers(tree()), IsEmpty()); }
TEST(Tidy, OpenEndsNameTheirIssue) { EXPECT_THAT(loose_ends(tree()), IsEmpty()); }
TEST(Tidy, EverySourceIsBuilt) { EXPECT_THAT(unbuilt(tree()), IsEmpty()); }

TEST(Tidy, EveryStrategyHasAGoldenFileAndNoOther) {
  std::set<std::string> golden;
  for (const auto& entry :
       std::filesystem::directory_iterator(root() / "tests" / "golden" / "strategies"))
    golden.insert(entry.path().stem());
  const std::vector<std::string> names = strategy_names();
  EXPECT_EQ(golden, std::set<std::string>(names.begin(), names.end()));
}

}  // namespace
}  // namespace brood
