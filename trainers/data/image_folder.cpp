#include "trainers/data/image_folder.h"

#include <algorithm>
#include <filesystem>

#include "engine/error.h"
#include "engine/json_library.h"
#include "engine/params.h"
#include "trainers/data/folder_files.h"
#include "trainers/data/parallel.h"
#include "trainers/data/resize.h"

namespace brood::data {

namespace {

namespace fs = std::filesystem;

constexpr int kSideMax = 2048;
constexpr std::int64_t kBlockBytes = std::int64_t{1} << 25;  // decoded before they are put
constexpr std::size_t kNamedMax = 50;                        // broken files in a message

[[noreturn]] void broken(const std::vector<std::string>& failures) {
  std::string text = failures.front();
  for (std::size_t i = 1; i < std::min(failures.size(), kNamedMax); ++i) text += "\n" + failures[i];
  if (failures.size() > kNamedMax)
    text += "\nand " + std::to_string(failures.size() - kNamedMax) + " further files";
  throw UserError(text);
}

std::string text(const PictureSize& size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

class ImageFolder final : public Source {
 public:
  ImageFolder(const ImageFolderSpec& spec, const std::string& root)
      : spec_(spec), root_(root), files_(list_folder(spec, root)) {}

  std::vector<std::string> files() const override {
    std::vector<std::string> out;
    for (const auto* part : {&files_.train, &files_.test})
      for (const FolderFile& file : *part) out.push_back(file.path);
    return out;
  }

  // The test part's files follow from the share and the seed, and from the names of the folders.
  std::string options() const override {
    std::string out = "image_folder 1 size " + text({spec_.height, spec_.width}) + " channels " +
                      std::to_string(spec_.channels) +
                      (spec_.fit == Fit::crop ? " crop" : " squash") + " test " +
                      std::to_string(files_.test.size()) + " seed " + std::to_string(spec_.seed);
    for (const std::string& name : files_.class_names) out += " " + name;
    return out;
  }

  Contents contents() override {
    const PictureSize size = spec_.height > 0 ? PictureSize{spec_.height, spec_.width} : common();
    return {size.height,
            size.width,
            spec_.channels,
            files_.class_names,
            static_cast<std::int64_t>(files_.train.size()),
            static_cast<std::int64_t>(files_.test.size()),
            false};
  }

  void read(Sink& sink) override {
    const Contents shape = contents();
    std::vector<std::string> failures;
    read_part(Part::train, files_.train, shape, sink, failures);
    read_part(Part::test, files_.test, shape, sink, failures);
    if (!failures.empty()) broken(failures);
  }

 private:
  // The size that all pictures have.
  PictureSize common() const {
    const std::vector<std::string> paths = files();
    std::vector<PictureSize> sizes(paths.size());
    const auto count = static_cast<std::int64_t>(paths.size());
    const auto failures = on_all_cores(count, [&](auto i) {
      const auto at = static_cast<std::size_t>(i);
      sizes[at] = picture_size(picture_bytes(paths[at]), paths[at]);
    });
    // Then all that are broken are wanted, not those alone whose first bytes show it.
    if (!failures.empty())
      broken(on_all_cores(count, [&](auto i) {
        const auto at = static_cast<std::size_t>(i);
        decode_picture(picture_bytes(paths[at]), paths[at]);
      }));
    for (std::size_t i = 1; i < sizes.size(); ++i)
      if (sizes[i] != sizes.front())
        throw UserError(paths[i] + ": has " + text(sizes[i]) + " pixels, " + paths.front() + " " +
                        text(sizes.front()) +
                        "; set \"size\" for pictures of several sizes, for example "
                        "{\"image_folder\": {\"size\": 32}}");
    if (sizes.front().height > kSideMax || sizes.front().width > kSideMax)
      throw UserError(paths.front() + ": has " + text(sizes.front()) +
                      " pixels; set \"size\", at most " + std::to_string(kSideMax) + " a side");
    return sizes.front();
  }

  void read_part(Part part, const std::vector<FolderFile>& files, const Contents& shape, Sink& sink,
                 std::vector<std::string>& failures) const {
    const auto count = static_cast<std::int64_t>(files.size());
    const std::int64_t block =
        std::clamp<std::int64_t>(kBlockBytes / shape.image_bytes(), 16, 4096);
    std::vector<std::uint8_t> pixels;
    std::vector<std::uint16_t> labels;
    for (std::int64_t first = 0; first < count; first += block) {
      const std::int64_t size = std::min(block, count - first);
      pixels.resize(static_cast<std::size_t>(size * shape.image_bytes()));
      labels.resize(static_cast<std::size_t>(size));
      const auto found = on_all_cores(size, [&](std::int64_t i) {
        const FolderFile& file = files[static_cast<std::size_t>(first + i)];
        const Picture picture =
            read_picture(file.path, shape.height, shape.width, shape.channels, spec_.fit);
        std::copy(picture.pixels.begin(), picture.pixels.end(),
                  pixels.data() + i * shape.image_bytes());
        labels[static_cast<std::size_t>(i)] = file.label;
      });
      failures.insert(failures.end(), found.begin(), found.end());
      if (failures.empty()) sink.put(part, first, pixels, labels);
    }
  }

  const ImageFolderSpec spec_;
  const std::string root_;
  const FolderFiles files_;
};

}  // namespace

void read_image_folder(ObjectReader& reader, DatasetSpec& spec) {
  ImageFolderSpec& out = spec.image_folder;
  if (const Json* found = reader.find("path")) {
    if (found->is_string() && !found->get<std::string>().empty())
      out.path = found->get<std::string>();
    else
      reader.problem("path", "must be a folder (is " + brief(*found) + ")");
  }
  std::tie(out.height, out.width) = reader.sides("size", std::pair{0, 0}, kSideMax);
  out.channels = static_cast<int>(reader.whole("channels", out.channels, 1, 3));
  if (out.channels == 2)
    reader.problem("channels", "must be 1 (grey) or 3 (red, green, blue) (is 2)");
  if (reader.word("fit", "crop", {"crop", "squash"}) == "squash") {
    out.fit = Fit::squash;
    if (out.height == 0) reader.problem("fit", "has no effect without \"size\"; remove it");
  }
  out.seed = static_cast<std::uint64_t>(reader.whole("seed", 0, 0, std::int64_t{1} << 53));
  const Json* const test = reader.find("test");
  if (!test) return;
  const double share = test->is_number() ? test->get<double>() : -1.0;
  if (test->is_string() && !test->get<std::string>().empty() &&
      test->get<std::string>().find('/') == std::string::npos)
    out.test_folder = test->get<std::string>();
  else if (share >= 0.0 && share < 1.0)
    out.test_share = share;
  else
    reader.problem("test",
                   "must be the name of the folder beside train/ to test with, or the share "
                   "of each class to set apart, from 0, below 1 (is " +
                       brief(*test) + ")");
}

std::unique_ptr<Source> open_image_folder(const DatasetSpec& spec, const Places& places) {
  const ImageFolderSpec& folder = spec.image_folder;
  const std::string& base = places.data_dir.empty() ? places.base_dir : places.data_dir;
  if (folder.path.empty() && places.data_dir.empty())
    throw UserError(
        "dataset \"image_folder\": needs \"path\" or \"data_dir\", a folder with a "
        "folder for each class, for example {\"image_folder\": {\"path\": \"pets\"}}");
  const fs::path root = folder.path.empty() ? fs::path(base) : fs::path(base) / folder.path;
  return std::make_unique<ImageFolder>(folder, fs::absolute(root).lexically_normal().string());
}

}  // namespace brood::data
