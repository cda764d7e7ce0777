#include "trainers/data/tfrecord_labels.h"

#include <algorithm>

#include "engine/error.h"

namespace brood::data {

namespace {

constexpr std::int64_t kClassesMax = 10000;

}  // namespace

void LabelCollector::add(const RecordLabel& label, std::string_view class_name,
                         const std::string& place) {
  if (label.number ? !texts_.empty() : !numbers_.empty())
    throw UserError(place + ": its label is a " + (label.number ? "number" : "name") +
                    ", those before are " + (label.number ? "names" : "numbers") +
                    "; all records of a data set need labels of one kind");
  if (!label.number) {
    const auto known = known_texts_.find(label.text);
    if (known != known_texts_.end()) {
      texts_.push_back(known->second);
      return;
    }
    const auto index = static_cast<std::uint32_t>(known_texts_.size());
    if (index >= kClassesMax)
      throw UserError(place + ": has the " + std::to_string(index + 1) +
                      "th different name of a class, at most " + std::to_string(kClassesMax) +
                      " are supported; is this feature the label?");
    known_texts_.emplace(label.text, index);
    texts_.push_back(index);
    return;
  }
  if (*label.number < 0 || *label.number > kClassesMax)
    throw UserError(place + ": has label " + std::to_string(*label.number) + ", expected 0 to " +
                    std::to_string(kClassesMax) +
                    (*label.number == -1 ? "; -1 often stands for an image without a label" : ""));
  numbers_.push_back(*label.number);
  if (class_name.empty()) return;
  const auto [at, is_new] = class_names_.emplace(*label.number, class_name);
  if (at->second != class_name)
    throw UserError(place + ": calls class " + std::to_string(*label.number) + " \"" +
                    shown_name(class_name) + "\", a record before \"" + shown_name(at->second) +
                    "\"; name another feature in \"class_name\"");
}

LabelCollector::Classes LabelCollector::of_numbers(std::size_t train,
                                                   const std::string& files) const {
  Classes out;
  const auto end = numbers_.begin() + static_cast<std::ptrdiff_t>(train);
  const std::int64_t least = *std::min_element(numbers_.begin(), numbers_.end());
  const std::int64_t most = *std::max_element(numbers_.begin(), end);
  const std::int64_t most_test = *std::max_element(numbers_.begin(), numbers_.end());
  if (most_test > most)
    throw UserError(files + ": the test records have label " + std::to_string(most_test) +
                    ", the training records go only up to " + std::to_string(most) +
                    "; do the files belong together?");
  const std::int64_t first = least == 1 ? 1 : 0;
  for (const std::int64_t number : numbers_)
    out.labels.push_back(static_cast<std::uint16_t>(number - first));
  for (std::int64_t number = first; number <= most; ++number) {
    const auto name = class_names_.find(number);
    out.names.push_back(name != class_names_.end() ? name->second : std::to_string(number));
  }
  return out;
}

LabelCollector::Classes LabelCollector::of_names(std::size_t train,
                                                 const std::string& files) const {
  Classes out;
  std::vector<std::uint16_t> label_of(known_texts_.size());
  std::vector<bool> in_train(known_texts_.size(), false);
  for (std::size_t i = 0; i < train; ++i) in_train[texts_[i]] = true;
  for (const auto& [name, index] : known_texts_) {
    if (!in_train[index])
      throw UserError(files + ": the test records have the class \"" + shown_name(name) +
                      "\", the training records have not; do the files belong together?");
    label_of[index] = static_cast<std::uint16_t>(out.names.size());
    out.names.push_back(name);
  }
  for (const std::uint32_t index : texts_) out.labels.push_back(label_of[index]);
  return out;
}

LabelCollector::Classes LabelCollector::finish(std::size_t train, const std::string& files) const {
  if (train == 0) throw UserError(files + ": there is no training record in these files");
  Classes out = texts_.empty() ? of_numbers(train, files) : of_names(train, files);
  if (out.names.size() < 2)
    throw UserError(files + ": all labels are equal; there is nothing to learn");
  return out;
}

}  // namespace brood::data
