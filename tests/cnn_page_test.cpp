// Goal: docs/network.md shows what the trainer takes, and leaves its keys to docs/trainers.md.
// Method: each of its examples is read and planned; each kind of layer and activation must be in
// the reference, and no table of keys on the page.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "trainers/cnn/layer_spec.h"
#include "trainers/cnn/network_spec.h"
#include "trainers/cnn/plan.h"

namespace brood::cnn {
namespace {

std::string page(const std::string& name = "network.md") {
  const char* source = std::getenv("BROOD_SOURCE_DIR");
  EXPECT_NE(source, nullptr) << "set BROOD_SOURCE_DIR to the source tree";
  std::ostringstream text;
  if (source) text << std::ifstream(std::string(source) + "/docs/" + name).rdbuf();
  return text.str();
}

std::vector<std::string> examples(const std::string& text) {
  const std::string open = "```json\n", close = "```";
  std::vector<std::string> out;
  for (std::size_t at = text.find(open); at != std::string::npos; at = text.find(open, at)) {
    at += open.size();
    const std::size_t end = text.find(close, at);
    out.push_back(text.substr(at, end - at));
    at = end + close.size();
  }
  return out;
}

TEST(CnnPage, HasExamplesThatCanBeTrained) {
  const std::vector<std::string> found = examples(page());
  EXPECT_GE(found.size(), 3U);
  for (const std::string& example : found) {
    const std::string block = example.front() == '{'
                                  ? example
                                  : R"({"name": "cnn", "dataset": "synthetic", "epochs": 1,
                  "optimizer": {"name": "sgd", "learning_rate": 0.1}, "layers": )" +
                                        example + "}";
    std::vector<Problem> problems;
    const NetworkSpec spec = parse_network(block, problems);
    for (const Problem& problem : problems)
      ADD_FAILURE() << problem.pointer << ": " << problem.message << " in " << example;
    EXPECT_EQ(make_plan(spec, {28, 28, 1, 10, 1000, 0, 0}).infeasible, "") << example;
  }
}

TEST(CnnPage, EveryLayerAndActivationIsInTheReference) {
  const std::string text = page("trainers.md");
  for (const std::string& name : layer_names())
    EXPECT_NE(text.find("`" + name + "`"), std::string::npos) << name;
  for (const std::string& name : activation_names())
    EXPECT_NE(text.find("\"" + name + "\""), std::string::npos) << name;
}

TEST(CnnPage, KeysAndDefaultsStandInOnePlace) {
  EXPECT_EQ(page().find("\n|---|"), std::string::npos);
}

}  // namespace
}  // namespace brood::cnn
