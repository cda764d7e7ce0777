#include "trainers/data/dataset.h"

#include <algorithm>

#include "engine/error.h"
#include "trainers/data/cache.h"
#include "trainers/data/cache_file.h"
#include "trainers/data/note.h"
#include "trainers/data/source.h"

namespace brood::data {

namespace {

// Collects in memory.
class MemorySink final : public Sink {
 public:
  explicit MemorySink(const Contents& contents) : contents_(contents) {
    for (const Part part : {Part::train, Part::test}) {
      const auto count = static_cast<std::size_t>(contents.count(part));
      of(part).labels.resize(count);
      of(part).pixels.resize(count * image_bytes());
    }
  }

  void put(Part part, std::int64_t first, std::span<const std::uint8_t> pixels,
           std::span<const std::uint16_t> labels) override {
    CHECK(pixels.size() == labels.size() * image_bytes(), "whole images with their labels");
    const auto start = static_cast<std::size_t>(first);
    CHECK(first >= 0 && start + labels.size() <= of(part).labels.size(), "counted before");
    std::copy(labels.begin(), labels.end(), of(part).labels.begin() + first);
    std::copy(pixels.begin(), pixels.end(), of(part).pixels.data() + start * image_bytes());
  }

  Dataset finish() { return in_memory(contents_, std::move(train_), std::move(test_)); }

 private:
  std::size_t image_bytes() const { return static_cast<std::size_t>(contents_.image_bytes()); }
  Decoded& of(Part part) { return part == Part::train ? train_ : test_; }

  const Contents contents_;
  Decoded train_, test_;
};

// Empty when there is none.
std::string cache_dir_of(const Places& places) {
  return places.cache_dir.empty() ? default_cache_dir() : places.cache_dir;
}

// The entry of a list of pairs, made when it is not there.
template <class T, class Make>
const T& remembered(std::deque<std::pair<DatasetSpec, T>>& list, const DatasetSpec& spec,
                    Make make) {
  const auto found = std::find_if(list.begin(), list.end(),
                                  [&](const auto& entry) { return entry.first == spec; });
  if (found != list.end()) return found->second;
  return list.emplace_back(spec, make()).second;
}

}  // namespace

std::uint64_t Dataset::bytes() const {
  return train.pixels.size_bytes() + test.pixels.size_bytes() + train.labels.size_bytes() +
         test.labels.size_bytes();
}

Dataset in_memory(const Contents& contents, Decoded train, Decoded test) {
  struct Both {
    Decoded train, test;
  };
  const auto owner = std::make_shared<const Both>(Both{std::move(train), std::move(test)});
  Dataset out;
  out.height = contents.height;
  out.width = contents.width;
  out.channels = contents.channels;
  out.classes = contents.classes();
  out.class_names = contents.class_names;
  out.made_up = contents.made_up;
  out.train = {contents.train, owner->train.pixels, owner->train.labels};
  out.test = {contents.test, owner->test.pixels, owner->test.labels};
  out.owner = owner;
  return out;
}

std::shared_ptr<const Dataset> load_dataset(const DatasetSpec& spec, const Places& places) {
  const std::unique_ptr<Source> source = open_source(spec, places);
  if (!source->files().empty()) {
    try {
      return std::make_shared<const Dataset>(cached_dataset(*source, cache_dir_of(places)));
    } catch (const CacheTrouble& trouble) {
      note(std::string(trouble.what()) +
           "; each process decodes the data into memory of its own (set \"cache_dir\" to a folder "
           "that can be written to)");
    }
  }
  MemorySink sink(source->contents());
  source->read(sink);
  return std::make_shared<const Dataset>(sink.finish());
}

std::shared_ptr<const Dataset> load_dataset(const DatasetSpec& spec, const std::string& data_dir) {
  return load_dataset(spec, Places{data_dir, "", ""});
}

Contents dataset_contents(const DatasetSpec& spec, const Places& places) {
  const std::unique_ptr<Source> source = open_source(spec, places);
  if (const std::string folder = cache_dir_of(places); !source->files().empty() && !folder.empty())
    if (const auto known = cached_contents(*source, folder)) return *known;
  return source->contents();
}

std::shared_ptr<const Dataset> Library::load(const DatasetSpec& spec) {
  const std::scoped_lock lock(mutex_);
  return remembered(loaded_, spec, [&] { return load_dataset(spec, places_); });
}

const Contents& Library::contents(const DatasetSpec& spec) {
  const std::scoped_lock lock(mutex_);
  return remembered(known_, spec, [&] { return dataset_contents(spec, places_); });
}

}  // namespace brood::data
