// What the tests of the store share: a folder of their own, a small experiment, its changes.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/store.h"
#include "store/sqlite_store.h"

namespace brood {

// A fresh folder, removed with all that is in it.
class TestFolder {
 public:
  TestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "brood-store-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    path_ = pattern;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline Field real_field(const std::string& name, double min, double max) {
  Field field;
  field.name = name;
  field.kind = FieldKind::real;
  field.min = min;
  field.max = max;
  return field;
}

inline Field values_field(const std::string& name, FieldKind kind, std::vector<Value> values) {
  Field field;
  field.name = name;
  field.kind = kind;
  field.values = std::move(values);
  return field;
}

// learning_rate (real), filters[1] (ordinal), optimizer (labels), nesterov (flag).
inline ExperimentSpec small_spec(const std::string& name = "small") {
  ExperimentSpec spec;
  spec.name = name;
  spec.seed = 42;
  spec.config = R"({"experiment":{"name":")" + name + R"("},"version":1})";
  spec.space = SearchSpace(
      {real_field("learning_rate", 1e-4, 1.0),
       values_field("filters[1]", FieldKind::ordinal,
                    {std::int64_t{16}, std::int64_t{32}, std::int64_t{64}}),
       values_field("optimizer", FieldKind::categorical, {std::string("sgd"), std::string("adam")}),
       values_field("nesterov", FieldKind::flag, {false, true})});
  return spec;
}

inline Session small_session() {
  Session session;
  session.host = "here";
  session.pid = 4711;
  session.started_us = 1'000'000;
  session.executors = 2;
  session.launcher = "local";
  session.config_file = "/there/small.json";
  session.version = "0.1";
  session.expected = 8;
  return session;
}

inline Trial small_trial(TrialId id) {
  Trial trial;
  trial.id = id;
  trial.seed = 0x8000000000000000u + static_cast<std::uint64_t>(id);
  trial.last_epoch = 3;
  trial.params.set("learning_rate", 0.1 / static_cast<double>(id + 1));
  trial.params.set("filters[1]", std::int64_t{id % 2 == 0 ? 16 : 64});
  trial.params.set("optimizer", std::string(id % 2 == 0 ? "sgd" : "adam"));
  if (id % 2 == 0) trial.params.set("nesterov", true);  // active for sgd only
  return trial;
}

inline Report small_report(int epoch, double accuracy) {
  return {epoch, {{"val_accuracy", accuracy, true}, {"seconds_per_epoch", 0.5, false}}};
}

}  // namespace brood
