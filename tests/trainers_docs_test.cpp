// Goal: docs/trainers.md says what the trainers read. Method: the comments in the page say where in
// a block its tables belong; every key of a table must be known there, and every word that the
// sources of the readers quote must be known there only if the table has it. The configs of the
// page are read, its programs run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "cli/config.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "tests/trainers_drive.h"
#include "trainers/command_line.h"
#include "trainers/trainers.h"

namespace brood {
namespace {

using Words = std::set<std::string>;

std::string contents(const std::string& name) {
  const char* const dir = std::getenv("BROOD_SOURCE_DIR");
  std::ifstream in((dir == nullptr ? "" : std::string(dir) + "/") + name, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  EXPECT_FALSE(text.str().empty()) << name;
  return text.str();
}

const std::string& page() {
  static const std::string text = contents("docs/trainers.md");
  return text;
}

std::vector<std::smatch> matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return {std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()};
}

// What a source quotes that could be a key or an option. A literal right after another one is the
// rest of a message.
Words quoted_words(const std::string& source) {
  static std::map<std::string, std::string> texts;  // matches point into them
  const std::string& text = texts.emplace(source, contents(source)).first->second;
  Words words;
  for (const std::smatch& match : matches(text, R"re([(,{=]\s*"([a-z][a-z_0-9]*)")re"))
    words.insert(match[1]);
  return words;
}

// The words in `code` of column `column` (0, 1, ...) of a row.
Words coded(const std::string& row, int column) {
  std::istringstream cells(row);
  std::string cell;
  for (int i = -1; i <= column; ++i) std::getline(cells, cell, '|');
  Words words;
  for (const std::smatch& match : matches(cell, "`([a-z_0-9]+)`")) words.insert(match[1]);
  return words;
}

// The rows between <!-- name --> and <!-- /end -->.
std::vector<std::string> rows(const std::string& name, const std::string& end) {
  const std::size_t start = page().find("<!-- " + name + " -->");
  const std::size_t stop = page().find("<!-- /" + end + " -->", start);
  EXPECT_TRUE(start != std::string::npos && stop != std::string::npos) << name;
  std::istringstream lines(page().substr(start, stop - start));
  std::vector<std::string> out;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("| `")) out.push_back(line);
  EXPECT_FALSE(out.empty()) << name;
  return out;
}

Words first_column(const std::string& name, const std::string& end) {
  Words words;
  for (const std::string& row : rows(name, end)) words.merge(coded(row, 0));
  return words;
}

// Is the key known in the place of the frame that says HERE? Its value, null, may be refused.
bool known(const std::string& trainer, std::string frame, const std::string& key) {
  frame.replace(frame.find("HERE"), 4, "{\"" + key + "\": null}");
  for (const Problem& problem : check_trainer(trainer, frame))
    if (problem.pointer.ends_with("/" + key) &&
        (problem.message.starts_with("unknown key") ||
         problem.message.starts_with("is not a key") ||
         problem.message.starts_with("comes with a later version")))
      return false;
  return true;
}

Words known_of(const std::string& trainer, const std::string& frame, const Words& candidates) {
  Words out;
  for (const std::string& key : candidates)
    if (known(trainer, frame, key)) out.insert(key);
  return out;
}

Words candidates_of(const std::string& trainer) {
  Words words = quoted_words(trainer == "cnn" ? "trainers/cnn/network_spec.cpp"
                                              : "trainers/" + trainer + ".cpp");
  if (trainer == "cnn")
    for (const char* const source :
         {"trainers/cnn/layer_spec.cpp", "trainers/data/synthetic.cpp", "trainers/data/cifar.cpp",
          "trainers/data/image_folder.cpp", "trainers/data/tfrecord_source.cpp"})
      words.merge(quoted_words(source));
  EXPECT_GT(words.size(), 8U);
  words.insert("no_such_key");
  return words;
}

TEST(TrainersPage, ItsTablesHaveEveryKeyThatTheTrainersKnowAndNoOther) {
  const auto marks = matches(page(), "<!-- (keys: ([a-z]+) (.*HERE.*)) -->");
  ASSERT_EQ(marks.size(), 10U);
  for (const std::smatch& mark : marks) {
    const Words described = first_column(mark[1], "keys");
    Words candidates = candidates_of(mark[2]);
    candidates.insert(described.begin(), described.end());
    EXPECT_EQ(described, known_of(mark[2], mark[3], candidates)) << mark[1];
  }
}

TEST(TrainersPage, HasEveryLayerWithEveryKey) {
  std::map<std::string, Words> described, actual;
  Words candidates = candidates_of("cnn");
  for (const std::string& row : rows("layers", "layers"))
    for (const std::string& kind : coded(row, 0)) described[kind].merge(coded(row, 1));
  for (const auto& [kind, keys] : described) candidates.insert(keys.begin(), keys.end());
  for (const std::string& kind : candidates) {
    bool refused = false;
    for (const Problem& problem : check_trainer("cnn", R"({"layers": [{")" + kind + R"(": {}}]})"))
      refused = refused || problem.pointer == "/layers/0/" + kind;
    if (!refused)
      actual[kind] = known_of("cnn", R"({"layers": [{")" + kind + R"(": HERE}]})", candidates);
  }
  actual["depthwise_conv"].erase("filters");  // known, to be refused with the reason
  EXPECT_EQ(described, actual);
}

TEST(TrainersPage, HasEveryKeyOfTheLinesOfPrograms) {
  Words told;
  const Json line = parse_json(assignment_line(trial_of(1, 2)));
  for (const auto& [key, value] : line.items()) told.insert(key);
  EXPECT_EQ(first_column("trial line", "trial line"), told);

  Words candidates = quoted_words("trainers/command_line.cpp"), accepted;
  candidates.insert("no_such_key");
  for (const std::string& key : candidates) {
    try {
      parse_line("{\"" + key + "\": null}");
      accepted.insert(key);
    } catch (const UserError& error) {
      if (!std::string(error.what()).starts_with("unknown key")) accepted.insert(key);
    }
  }
  EXPECT_EQ(first_column("report line", "report line"), accepted);
}

TEST(TrainersPage, HasEveryWordThatTheReadersKnow) {
  for (const char* source : {"trainers/cnn/network_spec.cpp", "trainers/cnn/layer_spec.cpp",
                             "trainers/data/image_folder.cpp", "trainers/data/synthetic.cpp",
                             "trainers/command_line.cpp", "trainers/synthetic.cpp"})
    for (const std::string& word : quoted_words(source))
      EXPECT_TRUE(page().find("`" + word + "`") != std::string::npos ||
                  page().find("\"" + word + "\"") != std::string::npos)
          << source << ": " << word;
}

// The texts of the page's blocks of code in this language.
std::vector<std::string> blocks(const std::string& language) {
  std::vector<std::string> out;
  const std::string open = "\n```" + language + "\n";
  for (std::size_t at = 0; (at = page().find(open, at)) != std::string::npos;) {
    at += open.size();
    out.push_back(page().substr(at, page().find("\n```\n", at) + 1 - at));
  }
  return out;
}

TEST(TrainersPage, ItsConfigsAreReadWithoutProblems) {
  const auto configs = blocks("json");
  EXPECT_EQ(configs.size(), 3U);
  for (const std::string& config : configs)
    EXPECT_NO_THROW(read_config_text(config, "page.json")) << config;
}

TEST(TrainersPage, ItsProgramsTrainATrial) {
  const TestFolder folder;
  int programs = 0;
  for (const std::string language : {"bash", "python"}) {
    for (const std::string& text : blocks(language)) {
      const std::string path = folder.path("program_" + std::to_string(++programs));
      std::ofstream(path) << text;
      const bool persistent = text.find("ended=True") != std::string::npos;
      TrainerSetup setup;
      setup.name = "command";
      setup.objective = "loss";
      setup.base_dir = folder.path("");
      setup.config = Json({{"name", "command"},
                           {"argv", {language == "bash" ? "bash" : "python3", path}},
                           {"epochs", 3},
                           {"persistent", persistent}})
                         .dump();
      const auto trainer = make_trainer(setup);
      Assignment assignment = trial_of(1, 3);
      assignment.log = path + ".log";
      const bool saves = text.find("os.replace") != std::string::npos;
      if (saves) {
        assignment.save_dir = path + ".saved";
        assignment.save_every_epochs = 2;
      }
      trainer->start(0, assignment);
      const std::vector<std::string> plain = {"report 1", "report 2", "report 3", "ended 3"};
      const std::vector<std::string> saving = {"report 1", "report 2", "saved 2",
                                               "report 3", "saved 3",  "ended 3"};
      EXPECT_EQ(story(drive_to_end(*trainer)), saves ? saving : plain) << text;
    }
  }
  EXPECT_EQ(programs, 3);
}

}  // namespace
}  // namespace brood
