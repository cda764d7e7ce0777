// What was found out about things, by their names; as they may be without number, those not looked
// at for the longest time are forgotten.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace brood::cnn::cuda {

template <class Value>
class Recent {
 public:
  explicit Recent(std::size_t most) : most_(most) {}

  // nullptr: nothing is known.
  Value* find(const std::string& name) {
    const auto at = known_.find(name);
    if (at == known_.end()) return nullptr;
    at->second.looked_at = ++looks_;
    return &at->second.value;
  }

  // Of a name that is not known.
  Value& add(const std::string& name, Value value) {
    if (known_.size() >= most_)
      known_.erase(std::min_element(known_.begin(), known_.end(), [](const auto& a, const auto& b) {
        return a.second.looked_at < b.second.looked_at;
      }));
    return known_.emplace(name, Entry{std::move(value), ++looks_}).first->second.value;
  }

  std::size_t size() const { return known_.size(); }

 private:
  struct Entry {
    Value value;
    std::uint64_t looked_at = 0;
  };
  const std::size_t most_;
  std::uint64_t looks_ = 0;
  std::map<std::string, Entry> known_;
};

}  // namespace brood::cnn::cuda
