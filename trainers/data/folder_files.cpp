#include "trainers/data/folder_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <filesystem>

#include "engine/error.h"
#include "trainers/data/stratified.h"

namespace brood::data {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kClassesMax = 10000;
constexpr std::array<const char*, 3> kRead = {".jpg", ".jpeg", ".png"};
constexpr std::array<const char*, 10> kOther = {".gif",  ".bmp",  ".webp", ".tif", ".tiff",
                                                ".heic", ".avif", ".ppm",  ".pgm", ".jp2"};
constexpr std::array<const char*, 4> kTestFolders = {"test", "val", "valid", "validation"};

[[noreturn]] void cannot_read(const std::string& path, const std::error_code& error) {
  throw UserError(path + ": cannot be read (" + error.message() + ")");
}

std::string ending_of(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& letter : ending)
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return ending;
}

template <class List>
bool contains(const List& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::vector<std::string> folders_in(const std::string& path) {
  std::error_code error;
  std::vector<std::string> out;
  fs::directory_iterator at(path, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code unknown;
    if (!name.starts_with(".") && at->is_directory(unknown)) out.push_back(name);
  }
  if (error) cannot_read(path, error);
  std::sort(out.begin(), out.end());
  return out;
}

// Also from the folders below it.
std::vector<std::string> pictures_in(const std::string& path) {
  std::error_code error;
  std::vector<std::string> out;
  fs::recursive_directory_iterator at(path, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code unknown;
    if (at->path().filename().string().starts_with(".")) {
      if (at->is_directory(unknown)) at.disable_recursion_pending();
      continue;
    }
    const std::string ending = ending_of(at->path());
    if (at->is_directory(unknown)) continue;
    if (contains(kOther, ending))
      throw UserError(at->path().string() + ": pictures of this kind are not read, JPEG and PNG " +
                      "are; convert it, or remove it");
    if (contains(kRead, ending)) out.push_back(at->path().string());
  }
  if (error) cannot_read(path, error);
  std::sort(out.begin(), out.end());
  return out;
}

// One beside the folders of the classes belongs to none, and was meant for one.
void refuse_strays(const std::string& root) {
  std::error_code error;
  std::vector<std::string> strays;
  fs::directory_iterator at(root, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string(), ending = ending_of(at->path());
    std::error_code unknown;
    if (!name.starts_with(".") && (contains(kRead, ending) || contains(kOther, ending)) &&
        !at->is_directory(unknown))
      strays.push_back(at->path().string());
  }
  if (error) cannot_read(root, error);
  if (strays.empty()) return;
  std::sort(strays.begin(), strays.end());
  throw UserError(
      strays.front() + ": lies beside the folders of the classes" +
      (strays.size() > 1 ? ", as " + std::to_string(strays.size() - 1) + " more pictures do" : "") +
      "; move it into the folder of its class, or elsewhere");
}

std::vector<FolderFile> list_part(const std::string& root, const std::vector<std::string>& names) {
  refuse_strays(root);
  std::vector<FolderFile> out;
  for (const std::string& name : folders_in(root)) {
    const std::string folder = (fs::path(root) / name).string();
    const auto found = std::lower_bound(names.begin(), names.end(), name);
    if (found == names.end() || *found != name)
      throw UserError(folder +
                      ": is no class of the training pictures; remove it, or add "
                      "training pictures of it");
    const std::vector<std::string> paths = pictures_in(folder);
    if (paths.empty())
      throw UserError(folder + ": holds no picture (.jpg, .jpeg, .png); add some, or remove it");
    for (const std::string& path : paths)
      out.push_back({path, static_cast<std::uint16_t>(found - names.begin())});
  }
  return out;
}

// The folder of the test pictures beside train/; empty: there is none.
std::string test_folder(const ImageFolderSpec& spec, const std::string& root) {
  const std::vector<std::string> folders = folders_in(root);
  if (!spec.test_folder.empty()) {
    if (!contains(folders, spec.test_folder))
      throw UserError(root + ": has no folder \"" + spec.test_folder +
                      "\" for \"test\"; name another one, or a share such as 0.2");
    return spec.test_folder;
  }
  if (spec.test_share) return "";
  std::string found;
  for (const char* const name : kTestFolders) {
    if (!contains(folders, name)) continue;
    if (!found.empty())
      throw UserError(root + ": has both " + found + " and " + name +
                      "; say which to test with: \"test\": \"" + name +
                      "\" (the validation part is taken from train, by \"validation\")");
    found = name;
  }
  return found;
}

void move_to_test(FolderFiles& files, double share, std::uint64_t seed) {
  std::vector<std::uint16_t> labels;
  for (const FolderFile& file : files.train) labels.push_back(file.label);
  const std::vector<bool> in_test = set_apart(labels, share, seed);
  std::vector<FolderFile> train;
  for (std::size_t i = 0; i < labels.size(); ++i)
    (in_test[i] ? files.test : train).push_back(std::move(files.train[i]));
  files.train = std::move(train);
}

}  // namespace

FolderFiles list_folder(const ImageFolderSpec& spec, const std::string& root) {
  std::error_code error;
  if (!fs::is_directory(root, error))
    throw UserError(root +
                    ": is not a folder; \"path\" (below data_dir, or beside the config) "
                    "should be one that holds a folder for each class, or train/ and test/");
  FolderFiles out;
  const bool parts = fs::is_directory(fs::path(root) / "train", error);
  if (!parts && !spec.test_folder.empty())
    throw UserError(root +
                    ": has no folder \"train\", so \"test\" should be a share such as 0.2 "
                    "(is \"" +
                    spec.test_folder + "\")");
  const std::string train = parts ? (fs::path(root) / "train").string() : root;
  out.class_names = folders_in(train);
  if (out.class_names.size() < 2 || out.class_names.size() > kClassesMax)
    throw UserError(train + ": has " + std::to_string(out.class_names.size()) +
                    " folders, expected one for each of 2 to " + std::to_string(kClassesMax) +
                    " classes");
  out.train = list_part(train, out.class_names);
  const std::string test = parts ? test_folder(spec, root) : "";
  if (test.empty())
    move_to_test(out, spec.test_share.value_or(kTestShare), spec.seed);
  else
    out.test = list_part((fs::path(root) / test).string(), out.class_names);
  return out;
}

}  // namespace brood::data
