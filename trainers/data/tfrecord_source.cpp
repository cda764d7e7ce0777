#include "trainers/data/tfrecord_source.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "engine/error.h"
#include "engine/json_library.h"
#include "engine/params.h"
#include "trainers/data/parallel.h"
#include "trainers/data/resize.h"
#include "trainers/data/stratified.h"
#include "trainers/data/tfrecord_features.h"
#include "trainers/data/tfrecord_files.h"
#include "trainers/data/tfrecord_labels.h"

namespace brood::data {

namespace {

namespace fs = std::filesystem;

constexpr int kSideMax = 2048;
constexpr int kColours = 3;                                // of JPEG and PNG, unless set
constexpr std::size_t kBlockBytes = std::size_t{1} << 25;  // read, or decoded, before it is put
constexpr std::size_t kNamedMax = 10;                      // broken records in a message

// What one pass over all records tells.
struct Index {
  Contents contents;
  std::optional<RecordFeatures> features;
  std::vector<std::uint16_t> labels;  // of all records: the training files', then the test files'
  std::vector<bool> in_test;
};

// A record that waits to be decoded.
struct Waiting {
  std::vector<std::uint8_t> bytes;
  std::string place;
};

class TfRecord final : public Source {
 public:
  TfRecord(const TfRecordSpec& spec, const std::string& base)
      : spec_(spec), train_(find_shards(spec.train, base)), test_(find_shards(spec.test, base)) {
    for (const std::string& path : test_)
      if (std::find(train_.begin(), train_.end(), path) != train_.end())
        throw UserError(path + ": is among both \"train\" and \"test\"");
  }

  std::vector<std::string> files() const override {
    std::vector<std::string> out = train_;
    out.insert(out.end(), test_.begin(), test_.end());
    return out;
  }

  std::string options() const override {
    return "tfrecord 1 size " + std::to_string(spec_.height) + "x" + std::to_string(spec_.width) +
           " channels " + std::to_string(spec_.channels) +
           (spec_.fit == Fit::crop ? " crop" : " squash") + " pixels " +
           std::to_string(static_cast<int>(spec_.pixels)) + " files " +
           std::to_string(train_.size()) + " share " + to_text(Value(share())) + " seed " +
           std::to_string(spec_.seed) + " features " + std::to_string(spec_.image.size()) + " " +
           spec_.image + " " + std::to_string(spec_.label.size()) + " " + spec_.label + " " +
           spec_.class_name;
  }

  Contents contents() override { return index().contents; }

  void read(Sink& sink) override {
    const Index& all = index();
    std::vector<Waiting> block;
    std::size_t bytes = 0, first = 0;
    const auto flush = [&] {
      put(block, first, sink);
      first += block.size();
      block.clear();
      bytes = 0;
    };
    const auto image_bytes = static_cast<std::size_t>(all.contents.image_bytes());
    for_each_record([&](std::span<const std::uint8_t> record, const RecordReader& reader) {
      block.push_back({{record.begin(), record.end()}, reader.place()});
      bytes += record.size();
      if (bytes >= kBlockBytes || block.size() * image_bytes >= kBlockBytes) flush();
    });
    flush();
    if (first != all.labels.size()) changed();
  }

 private:
  double share() const { return test_.empty() ? spec_.test_share.value_or(kTestShare) : 0.0; }

  [[noreturn]] void changed() const {
    throw UserError(train_.front() + ": the records changed while they were read; start again");
  }

  template <class Visit>
  void for_each_record(Visit visit) const {
    for (const std::string& path : files()) {
      RecordReader reader = open_records(path);
      while (const auto record = reader.next()) visit(*record, reader);
    }
  }

  static Example example_of(std::span<const std::uint8_t> record, const std::string& place) {
    try {
      return parse_example(record);
    } catch (const UserError& error) {
      throw UserError(place + ": " + error.what());
    }
  }

  const Index& index() {
    if (!index_) index_ = make_index();
    return *index_;
  }

  Index make_index() const {
    Index out;
    LabelCollector labels;
    std::optional<RecordFeatures::Shape> common;
    std::size_t records = 0, train = 0;
    for_each_record([&](std::span<const std::uint8_t> record, const RecordReader& reader) {
      const std::string place = reader.place();
      const Example example = example_of(record, place);
      if (!out.features) out.features.emplace(spec_, example, place);
      labels.add(out.features->label(example, place), out.features->class_name(example, place),
                 place);
      ++records;
      if (std::find(test_.begin(), test_.end(), reader.name()) == test_.end()) train = records;
      // With the size and the channels given, any picture will do.
      if (common && spec_.height > 0 && (spec_.channels > 0 || !out.features->raw())) return;
      const RecordFeatures::Shape shape = out.features->shape(example, place);
      if (!common) common = shape;
      if (spec_.height == 0 && (shape.height != common->height || shape.width != common->width))
        throw UserError(place + ": its picture is " + sides(shape) + ", the first one's is " +
                        sides(*common) +
                        "; set \"size\" for pictures of several sizes, for example \"size\": 32");
      if (spec_.channels == 0 && shape.channels != common->channels)
        throw UserError(place +
                        ": its picture has other channels than the first one; set "
                        "\"channels\" to 1 or 3");
    });
    LabelCollector::Classes classes = labels.finish(train, train_.front());
    out.labels = std::move(classes.labels);
    if (test_.empty()) {
      out.in_test = set_apart(out.labels, share(), spec_.seed);
    } else {
      out.in_test.assign(train, false);
      out.in_test.resize(records, true);
    }
    const auto test = std::count(out.in_test.begin(), out.in_test.end(), true);
    const bool as_they_are = spec_.height == 0;
    const int stored = common->channels > 0 ? common->channels : kColours;
    out.contents = {as_they_are ? common->height : spec_.height,
                    as_they_are ? common->width : spec_.width,
                    spec_.channels > 0 ? spec_.channels : stored,
                    std::move(classes.names),
                    static_cast<std::int64_t>(records) - test,
                    test,
                    false};
    if (out.contents.height > kSideMax || out.contents.width > kSideMax)
      throw UserError(train_.front() + ": its pictures are " + sides(*common) +
                      "; set \"size\", at most " + std::to_string(kSideMax) + " a side");
    return out;
  }

  static std::string sides(const RecordFeatures::Shape& shape) {
    return std::to_string(shape.width) + "x" + std::to_string(shape.height);
  }

  // Decodes records first, first + 1, ... and puts each where it belongs.
  void put(const std::vector<Waiting>& block, std::size_t first, Sink& sink) {
    const Index& all = *index_;
    const Contents& shape = all.contents;
    if (first + block.size() > all.labels.size()) changed();
    const auto image_bytes = static_cast<std::size_t>(shape.image_bytes());
    std::vector<std::uint8_t> pixels(block.size() * image_bytes);
    const auto failures = on_all_cores(static_cast<std::int64_t>(block.size()), [&](auto i) {
      const Waiting& one = block[static_cast<std::size_t>(i)];
      const Example example = example_of(one.bytes, one.place);
      const Picture picture = fitted(all.features->picture(example, one.place), shape.height,
                                     shape.width, shape.channels, spec_.fit);
      std::copy(picture.pixels.begin(), picture.pixels.end(),
                pixels.data() + static_cast<std::size_t>(i) * image_bytes);
    });
    refuse(failures);
    for (std::size_t begin = 0, end = 0; begin < block.size(); begin = end) {
      const bool in_test = all.in_test[first + begin];
      while (end < block.size() && all.in_test[first + end] == in_test) ++end;
      std::int64_t& done = in_test ? put_in_test_ : put_in_train_;
      sink.put(in_test ? Part::test : Part::train, done,
               std::span(pixels).subspan(begin * image_bytes, (end - begin) * image_bytes),
               std::span(all.labels).subspan(first + begin, end - begin));
      done += static_cast<std::int64_t>(end - begin);
    }
  }

  static void refuse(const std::vector<std::string>& failures) {
    if (failures.empty()) return;
    std::string text;
    for (std::size_t i = 0; i < std::min(failures.size(), kNamedMax); ++i)
      text += (i > 0 ? "\n" : "") + failures[i];
    if (failures.size() > kNamedMax)
      text += "\nand " + std::to_string(failures.size() - kNamedMax) + " further records";
    throw UserError(text);
  }

  const TfRecordSpec spec_;
  const std::vector<std::string> train_, test_;
  std::optional<Index> index_;
  std::int64_t put_in_train_ = 0, put_in_test_ = 0;
};

// A file, a pattern, or a list of them.
std::vector<std::string> read_patterns(ObjectReader& reader, const std::string& key,
                                       const Json& found) {
  std::vector<std::string> out;
  const auto add = [&](const Json& one) {
    if (!one.is_string() || one.get<std::string>().empty()) return false;
    out.push_back(one.get<std::string>());
    return true;
  };
  bool good = found.is_array() ? !found.empty() : add(found);
  if (found.is_array())
    for (const Json& one : found) good = add(one) && good;
  if (!good)
    reader.problem(key, "must be a file, a pattern such as \"" + key +
                            "-*.tfrecord\", or a list of them (is " + brief(found) + ")");
  return out;
}

std::string read_feature(ObjectReader& reader, const std::string& key) {
  const Json* const found = reader.find(key);
  if (found == nullptr) return "";
  if (found->is_string() && !found->get<std::string>().empty()) return found->get<std::string>();
  reader.problem(key, "must be the name of a feature (is " + brief(*found) + ")");
  return "";
}

}  // namespace

void read_tfrecord(ObjectReader& reader, DatasetSpec& spec) {
  TfRecordSpec& out = spec.tfrecord;
  if (const Json* found = reader.require("train", "\"train-*.tfrecord\""))
    out.train = read_patterns(reader, "train", *found);
  if (const Json* found = reader.find("test")) {
    const double share = found->is_number() ? found->get<double>() : -1.0;
    if (share >= 0.0 && share < 1.0)
      out.test_share = share;
    else if (found->is_number())
      reader.problem("test",
                     "must be files, or the share of each class to set apart, from 0, below "
                     "1 (is " +
                         brief(*found) + ")");
    else
      out.test = read_patterns(reader, "test", *found);
  }
  out.image = read_feature(reader, "image");
  out.label = read_feature(reader, "label");
  out.class_name = read_feature(reader, "class_name");
  const std::string pixels = reader.word("pixels", "auto", {"auto", "encoded", "raw"});
  using Pixels = TfRecordSpec::Pixels;
  out.pixels = pixels == "auto"      ? Pixels::automatic
               : pixels == "encoded" ? Pixels::encoded
                                     : Pixels::raw;
  std::tie(out.height, out.width) = reader.sides("size", std::pair{0, 0}, kSideMax);
  out.channels = static_cast<int>(reader.whole("channels", 0, 1, 3));
  if (out.channels == 2)
    reader.problem("channels", "must be 1 (grey) or 3 (red, green, blue) (is 2)");
  if (reader.word("fit", "crop", {"crop", "squash"}) == "squash") {
    out.fit = Fit::squash;
    if (out.height == 0) reader.problem("fit", "has no effect without \"size\"; remove it");
  }
  out.seed = static_cast<std::uint64_t>(reader.whole("seed", 0, 0, std::int64_t{1} << 53));
  if (!out.test.empty() && reader.find("seed") != nullptr)
    reader.problem("seed", "has no effect when \"test\" names files; remove it");
}

std::unique_ptr<Source> open_tfrecord(const DatasetSpec& spec, const Places& places) {
  if (spec.tfrecord.train.empty())
    throw UserError(
        "dataset \"tfrecord\": needs the names of its files, for example {\"tfrecord\": "
        "{\"train\": \"train-*.tfrecord\", \"test\": \"validation-*.tfrecord\"}}");
  return std::make_unique<TfRecord>(spec.tfrecord,
                                    places.data_dir.empty() ? places.base_dir : places.data_dir);
}

}  // namespace brood::data
