// Reads one JSON object of a config and notes everything that is wrong with it, so that a person
// sees all errors at once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/json.h"

namespace brood::data {

std::string join(const std::string& pointer, const std::string& key);  // escapes ~ and /
std::string join(const std::string& pointer, std::size_t index);

// Each reading names a key that the object may have; finish() refuses all others. A reading that
// fails notes a problem and returns the fallback, or the smallest legal value when there is none
// and the key is required. The references must outlive the reader.
class ObjectReader {
 public:
  ObjectReader(const Json& json, std::string pointer, std::vector<Problem>& problems);

  std::int64_t whole(const std::string& key, std::optional<std::int64_t> fallback, std::int64_t min,
                     std::int64_t max);
  // min and max are inclusive unless the flag says that the bound itself is refused.
  double real(const std::string& key, std::optional<double> fallback, double min, double max,
              bool open_min = false, bool open_max = false);
  bool flag(const std::string& key, bool fallback);
  std::string word(const std::string& key, std::optional<std::string> fallback,
                   const std::vector<std::string>& options);
  // A whole number for both sides, or [height, width].
  std::pair<int, int> sides(const std::string& key, std::optional<std::pair<int, int>> fallback,
                            int max);

  const Json* find(const std::string& key);                                 // nullptr: absent
  const Json* require(const std::string& key, const std::string& example);  // notes its absence
  void refuse(const std::string& key, const std::string& why);  // a problem when it is there
  void problem(const std::string& key, const std::string& message);
  const std::string& pointer() const { return pointer_; }
  void finish();

 private:
  const Json& json_;
  std::string pointer_;
  std::vector<Problem>& problems_;
  std::vector<std::string> known_;
};

// At most 60 characters of it, for messages.
std::string brief(const Json& json);

}  // namespace brood::data
