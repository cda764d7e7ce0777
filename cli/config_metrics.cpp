#include "cli/config_metrics.h"

#include <algorithm>
#include <set>

#include "engine/suggest.h"

namespace brood {

namespace {

const std::string kClass = "_class_";

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// "val_accuracy_class_" of "val_accuracy_class_12"; empty: it is no metric of a class.
std::string class_family(const std::string& name) {
  const std::size_t at = name.rfind(kClass);
  if (at == std::string::npos) return "";
  const std::string number = name.substr(at + kClass.size());
  const bool digits =
      !number.empty() && number.size() <= 5 &&
      std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || (number.size() > 1 && number.front() == '0')) return "";
  return name.substr(0, at + kClass.size());
}

}  // namespace

std::string metric_problem(const std::string& name, const std::vector<std::string>& known) {
  const std::string family = class_family(name);
  const std::string kind = family.empty() ? name : family;
  const bool is_test = name.starts_with("test_");
  if (!is_test && !name.ends_with(kClass) && contains(known, kind)) return "";
  const std::string quoted = "\"" + name + "\"";
  const std::set<std::string> of_test = {"test_loss", "test_accuracy", "test_accuracy_class_"};
  if (of_test.contains(kind))
    return quoted +
           " is for the end: who selects on it has no test left; take val_loss or val_accuracy";
  const std::set<std::string> measured = {"seconds", "images_per_second", "peak_memory_bytes"};
  if (measured.contains(name))
    return quoted +
           " is measured, and differs between machines; that comes with a later version of brood";
  const std::set<std::string> of_validation = {"val_loss", "val_accuracy", "val_accuracy_class_"};
  if (of_validation.contains(kind) && !contains(known, "val_loss"))
    return quoted + " needs a validation part, and trainer.validation is 0";
  if (of_validation.contains(kind))
    return quoted + " is reported with \"report\": [\"class_accuracy\"] in the trainer's block";
  const std::set<std::string> of_cost = {"parameters", "flops", "memory_bytes"};
  if (of_cost.contains(name))
    return quoted + " is reported with \"report\": [\"cost\"] in the trainer's block";
  std::string list;
  for (const std::string& one : known)
    if (!one.starts_with("test_"))
      list += (list.empty() ? "" : ", ") + one + (one.ends_with(kClass) ? "N" : "");
  return "the trainer reports no " + quoted + did_you_mean(name, known) + "; there are " + list;
}

}  // namespace brood
