#include "trainers/data/places.h"

#include <cstdlib>
#include <filesystem>

#include "engine/error.h"

namespace brood::data {

namespace fs = std::filesystem;

std::vector<std::string> folders_of(const Known& known, const Places& places) {
  std::vector<std::string> out;
  const auto below = [&](const fs::path& root) {
    for (const std::string& name : known.folders) out.push_back((root / name).string());
  };
  if (!places.data_dir.empty()) {
    out.push_back(places.data_dir);
    below(places.data_dir);
    return out;
  }
  if (!places.base_dir.empty()) below(fs::path(places.base_dir) / "data");
  out.insert(out.end(), known.system.begin(), known.system.end());
  const char* const home = std::getenv("HOME");
  if (home != nullptr && *home == '/') below(fs::path(home) / ".keras/datasets");
  return out;
}

void not_found(const Known& known, const std::vector<std::string>& looked,
               const std::string& partial) {
  std::string list;
  for (const std::string& folder : looked) list += (list.empty() ? "" : ", ") + folder;
  throw UserError(known.title + (partial.empty() ? " was not found in " + list : ": " + partial) +
                  "; " + known.how_to_get + ", and set \"data_dir\" to the folder that holds it");
}

}  // namespace brood::data
