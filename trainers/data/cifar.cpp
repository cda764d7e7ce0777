#include "trainers/data/cifar.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/error.h"
#include "trainers/data/cifar_names.h"
#include "trainers/data/places.h"

namespace brood::data {

namespace {

namespace fs = std::filesystem;

// What a version of the data set has on disk.
struct Layout {
  std::vector<std::string> train, test;    // file names
  std::size_t label_bytes = 1, label = 0;  // of a record, and which of them is used
  std::string names_file;
  std::vector<std::string> names;  // where that file is missing
  std::string unreadable;          // the folder of the version that is no use
  Known known;
};

Known known_cifar(const std::string& digits, const std::string& folder) {
  const std::string archive = "cifar-" + digits + "-binary.tar.gz";
  return {"CIFAR-" + digits,
          {folder, "cifar" + digits, "cifar-" + digits},
          {"/usr/share/datasets/" + folder},
          "get its binary version (curl -LO https://www.cs.toronto.edu/~kriz/" + archive +
              " && tar xzf " + archive + "; see https://www.cs.toronto.edu/~kriz/cifar.html)"};
}

Layout layout_of(const DatasetSpec& spec) {
  Layout out;
  if (spec.format == "cifar10") {
    for (int i = 1; i <= 5; ++i) out.train.push_back("data_batch_" + std::to_string(i) + ".bin");
    out.test = {"test_batch.bin"};
    out.names_file = "batches.meta.txt";
    out.names = cifar10_names();
    out.unreadable = "cifar-10-batches-py";
    out.known = known_cifar("10", "cifar-10-batches-bin");
    return out;
  }
  out.train = {"train.bin"};
  out.test = {"test.bin"};
  out.label_bytes = 2;
  out.label = spec.cifar100.coarse ? 0 : 1;
  out.names_file = spec.cifar100.coarse ? "coarse_label_names.txt" : "fine_label_names.txt";
  out.names = spec.cifar100.coarse ? cifar100_coarse_names() : cifar100_fine_names();
  out.unreadable = "cifar-100-python";
  out.known = known_cifar("100", "cifar-100-binary");
  return out;
}

struct Files {
  std::vector<std::string> train, test;
  std::string names;  // empty: there is no such file
};

// partial: what is wrong with the folder when something of the data set is there.
std::optional<Files> look_in(const std::string& folder, const Layout& layout,
                             std::string& partial) {
  Files out;
  std::string missing;
  for (const auto* list : {&layout.train, &layout.test}) {
    for (const std::string& name : *list) {
      const std::string path = plain_or_packed((fs::path(folder) / name).string());
      if (path.empty() && missing.empty()) missing = name;
      if (!path.empty()) (list == &layout.train ? out.train : out.test).push_back(path);
    }
  }
  std::error_code error;
  if (missing.empty()) {
    const fs::path names = fs::path(folder) / layout.names_file;
    if (fs::exists(names, error)) out.names = names.string();
    return out;
  }
  if (out.train.size() + out.test.size() > 0)
    partial = folder + " lacks " + missing + " (plain or .gz)";
  const fs::path beside = fs::path(folder).parent_path() / layout.unreadable;
  for (const fs::path& pickles : {fs::path(folder) / layout.unreadable, beside})
    if (partial.empty() && fs::exists(pickles, error))
      partial = pickles.string() + " is the version for Python, whose pickles only Python reads";
  return std::nullopt;
}

Files find_files(const Layout& layout, const Places& places) {
  const std::vector<std::string> folders = folders_of(layout.known, places);
  std::string partial;
  for (const std::string& folder : folders)
    if (const auto files = look_in(folder, layout, partial)) return *files;
  not_found(layout.known, folders, partial);
}

std::vector<std::string> read_names(const std::string& path, std::size_t count) {
  std::ifstream in(path);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line) && out.size() <= count;) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) out.push_back(line);
  }
  if (out.size() != count)
    throw UserError(path + ": has " + (out.size() > count ? "more than " : "") +
                    std::to_string(std::min(out.size(), count)) + " class names, expected " +
                    std::to_string(count) + "; get the file again, or remove it");
  return out;
}

// Planes side by side become pixels of three channels.
void interleave(std::span<const std::uint8_t> planes, std::uint8_t* to) {
  constexpr std::size_t kPlane = kCifarPixels / 3;
  for (std::size_t i = 0; i < kPlane; ++i)
    for (std::size_t c = 0; c < 3; ++c) *to++ = planes[c * kPlane + i];
}

class Cifar final : public Source {
 public:
  Cifar(const DatasetSpec& spec, const Places& places)
      : format_(spec.format), layout_(layout_of(spec)), files_(find_files(layout_, places)) {}

  std::vector<std::string> files() const override {
    std::vector<std::string> out = files_.train;
    out.insert(out.end(), files_.test.begin(), files_.test.end());
    if (!files_.names.empty()) out.push_back(files_.names);
    return out;
  }

  std::string options() const override {
    return format_ + " 1 label " + std::to_string(layout_.label);
  }

  Contents contents() override {
    Contents out{kCifarSide, kCifarSide, 3, layout_.names, 0, 0, false};
    if (!files_.names.empty()) out.class_names = read_names(files_.names, layout_.names.size());
    for (const std::string& path : files_.train) out.train += records(path);
    for (const std::string& path : files_.test) out.test += records(path);
    return out;
  }

  void read(Sink& sink) override {
    read_part(Part::train, files_.train, sink);
    read_part(Part::test, files_.test, sink);
  }

 private:
  // Plain files need not be read for it.
  std::int64_t records(const std::string& path) const {
    const std::size_t record = layout_.label_bytes + kCifarPixels;
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path, error);
    if (!error && !path.ends_with(".gz") && size > 0 && size % record == 0)
      return static_cast<std::int64_t>(size / record);
    return parse_cifar(open_bytes(path).read, path, layout_.label_bytes, [](auto, auto) {});
  }

  void read_part(Part part, const std::vector<std::string>& paths, Sink& sink) const {
    std::int64_t first = 0;
    for (const std::string& path : paths) {
      std::vector<std::uint8_t> pixels;
      std::vector<std::uint16_t> labels;
      parse_cifar(open_bytes(path).read, path, layout_.label_bytes,
                  [&](std::span<const std::uint8_t> found, std::span<const std::uint8_t> planes) {
                    const std::uint8_t label = found[layout_.label];
                    if (label >= layout_.names.size())
                      broken_file(path, "record " + std::to_string(labels.size() + 1) +
                                            " has label " + std::to_string(label) + ", above " +
                                            std::to_string(layout_.names.size() - 1));
                    labels.push_back(label);
                    pixels.resize(pixels.size() + kCifarPixels);
                    interleave(planes, pixels.data() + pixels.size() - kCifarPixels);
                  });
      sink.put(part, first, pixels, labels);
      first += static_cast<std::int64_t>(labels.size());
    }
  }

  const std::string format_;
  const Layout layout_;
  const Files files_;
};

}  // namespace

std::int64_t parse_cifar(const ByteReader& read, const std::string& name, std::size_t label_bytes,
                         const std::function<void(std::span<const std::uint8_t>,
                                                  std::span<const std::uint8_t>)>& visit) {
  const std::size_t size = label_bytes + kCifarPixels;
  std::vector<std::uint8_t> record(size);
  const std::span<const std::uint8_t> whole(record);
  std::int64_t count = 0;
  while (const std::size_t got = read_fully(read, record.data(), size)) {
    if (got < size)
      broken_file(name, "ends after " + std::to_string(got) + " bytes of record " +
                            std::to_string(count + 1) + "; records have " + std::to_string(size));
    visit(whole.first(label_bytes), whole.subspan(label_bytes));
    ++count;
  }
  if (count == 0) broken_file(name, "is empty");
  return count;
}

void read_cifar100(ObjectReader& reader, DatasetSpec& spec) {
  spec.cifar100.coarse = reader.word("labels", "fine", {"fine", "coarse"}) == "coarse";
}

std::unique_ptr<Source> open_cifar(const DatasetSpec& spec, const Places& places) {
  return std::make_unique<Cifar>(spec, places);
}

}  // namespace brood::data
