// Reads a trainer's resolved block key by key, and knows afterwards everything that was wrong.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/experiment.h"
#include "engine/json.h"

namespace brood {

class BlockReader {
 public:
  // Throws UserError unless the text is a JSON object.
  explicit BlockReader(const std::string& json);
  // Reads an object inside another block; problems get the pointer in front.
  BlockReader(const Json& object, std::string pointer);
  ~BlockReader();

  // Each returns the fallback when the key is absent or wrong.
  std::int64_t whole(const std::string& key, std::int64_t min, std::int64_t max,
                     std::optional<std::int64_t> fallback);  // nullopt: the key is required
  double real(const std::string& key, double min, double fallback);
  Millis duration(const std::string& key, Millis fallback);  // "90s"
  bool flag(const std::string& key, bool fallback);
  std::string word(const std::string& key, const std::vector<std::string>& known,
                   const std::string& fallback);  // empty fallback: the key is required
  // A list of simple values as text: [1, 0.5, "x", true]. count_min 0: the key may be absent.
  std::vector<std::string> texts(const std::string& key, std::size_t count_min);
  std::vector<std::pair<std::string, std::string>> named_texts(const std::string& key);

  // nullptr when absent. The key counts as known.
  const Json* find(const std::string& key);

  void problem(const std::string& key, const std::string& message);
  void take_problems(BlockReader& inner);

  // Also reports the keys that were not asked for.
  std::vector<Problem> finish();

 private:
  void wrong(const std::string& key, const std::string& expected, const Json& found);

  std::unique_ptr<const Json> owned_;
  const Json& object_;
  std::string pointer_;
  std::vector<std::string> known_;
  std::vector<Problem> problems_;
};

}  // namespace brood
