// The labels of many records become classes: 0, 1, ... with a name each.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "trainers/data/tfrecord_features.h"

namespace brood::data {

// Whole numbers from 0 or 1 are the classes as they are; names are sorted by their bytes. One data
// set has the one or the other.
class LabelCollector {
 public:
  // place: of the record, for messages.
  void add(const RecordLabel& label, std::string_view class_name, const std::string& place);

  struct Classes {
    std::vector<std::uint16_t> labels;  // in the order of add()
    std::vector<std::string> names;
  };
  // The first `train` of the labels decide which classes there are. Throws UserError when the
  // others have one more, or there are fewer than two. files: for messages.
  Classes finish(std::size_t train, const std::string& files) const;

 private:
  Classes of_numbers(std::size_t train, const std::string& files) const;
  Classes of_names(std::size_t train, const std::string& files) const;

  std::vector<std::int64_t> numbers_;
  std::map<std::int64_t, std::string> class_names_;  // of numbers, where records tell
  std::vector<std::uint32_t> texts_;                 // indices into the order of first appearance
  std::map<std::string, std::uint32_t, std::less<>> known_texts_;
};

}  // namespace brood::data
