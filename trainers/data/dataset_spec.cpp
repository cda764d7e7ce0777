#include "trainers/data/dataset_spec.h"

#include <algorithm>

#include "engine/json_library.h"
#include "engine/suggest.h"
#include "trainers/data/object_reader.h"
#include "trainers/data/source.h"

namespace brood::data {

DatasetSpec read_dataset(const Json& json, const std::string& pointer,
                         std::vector<Problem>& problems) {
  DatasetSpec out;
  std::vector<std::string> names;
  std::string list;
  for (const Format& format : formats()) {
    names.push_back(format.name);
    list += (list.empty() ? "" : ", ") + format.name;
  }
  const bool plain = json.is_string();
  if (!plain && !(json.is_object() && json.size() == 1 && json.begin()->is_object())) {
    problems.push_back({pointer, "must be one of " + list +
                                     ", or an object with one of them as its key and its settings, "
                                     "for example {\"synthetic\": {\"classes\": 4}} (is " +
                                     brief(json) + ")"});
    return out;
  }
  const std::string name = plain ? json.get<std::string>() : json.begin().key();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    problems.push_back(
        {plain ? pointer : join(pointer, name),
         "must be one of " + list + " (is \"" + name + "\")" + did_you_mean(name, names)});
    return out;
  }
  const Format& format = formats()[static_cast<std::size_t>(found - names.begin())];
  out.format = name;
  if (plain) return out;
  ObjectReader reader(*json.begin(), join(pointer, name), problems);
  if (format.read_settings)
    format.read_settings(reader, out);
  else if (!json.begin()->empty())
    reader.problem("", "has no settings; write \"" + name + "\"");
  if (format.read_settings) reader.finish();
  return out;
}

}  // namespace brood::data
