// The images that a network learns from, as all who use them see them: decoded, labelled, shared.
//
// A data set is decoded once. What is made of files lies in a cache file (trainers/data/cache.h)
// that every process maps read-only, so that all workers of a machine share one copy; what is made
// up lies in memory. How a new format is added: trainers/data/source.h.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "trainers/data/dataset_spec.h"

namespace brood::data {

enum class Part : std::uint8_t { train, test };

// What is known of a data set before an image is decoded.
struct Contents {
  int height = 0, width = 0, channels = 0;
  std::vector<std::string> class_names;  // in the order of the labels; at least two
  std::int64_t train = 0, test = 0;      // images
  bool made_up = false;                  // in each process's own memory, never in a cache file

  int classes() const { return static_cast<int>(class_names.size()); }
  std::int64_t image_bytes() const { return std::int64_t{1} * height * width * channels; }
  std::int64_t count(Part part) const { return part == Part::train ? train : test; }
  // Of all pixels and labels.
  std::uint64_t bytes() const {
    return static_cast<std::uint64_t>((train + test) * (image_bytes() + 2));
  }
  friend bool operator==(const Contents&, const Contents&) = default;
};

// Views of memory that the data set keeps alive.
struct Images {
  std::int64_t count = 0;
  std::span<const std::uint8_t> pixels;   // (count, height, width, channels)
  std::span<const std::uint16_t> labels;  // 0 .. classes - 1
};

// Immutable; cheap to copy: copies share the memory.
struct Dataset {
  int height = 0, width = 0, channels = 0, classes = 0;
  std::vector<std::string> class_names;
  Images train, test;
  bool made_up = false;
  std::string cache_file;             // what is mapped and shared; empty: the process's own memory
  std::shared_ptr<const void> owner;  // of what the views show

  const Images& images(Part part) const { return part == Part::train ? train : test; }
  const std::uint8_t* pixels(const Images& part, std::int64_t sample) const {
    return part.pixels.data() + sample * height * width * channels;
  }
  std::uint64_t bytes() const;  // pixels and labels
};

// A data set in the process's memory.
struct Decoded {
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint16_t> labels;
};
Dataset in_memory(const Contents& contents, Decoded train, Decoded test);

// Where files are looked for and kept.
struct Places {
  std::string data_dir;   // absolute; the only place that is looked into; empty: the usual places
  std::string base_dir;   // absolute folder of the config, what relative paths start at
  std::string cache_dir;  // absolute; empty: $XDG_CACHE_HOME/brood or ~/.cache/brood
};

// Looks at the files each time, decodes only what no cache has. Throws UserError for files that
// are missing, damaged or do not belong together. Any thread.
std::shared_ptr<const Dataset> load_dataset(const DatasetSpec& spec, const Places& places);
std::shared_ptr<const Dataset> load_dataset(const DatasetSpec& spec, const std::string& data_dir);

// From names, sizes and headers.
Contents dataset_contents(const DatasetSpec& spec, const Places& places);

// What a process has opened: every data set once, however many trials ask for it, and the same one
// until the process ends, whatever happens to the files. Any thread.
class Library {
 public:
  explicit Library(Places places) : places_(std::move(places)) {}
  std::shared_ptr<const Dataset> load(const DatasetSpec& spec);
  const Contents& contents(const DatasetSpec& spec);  // as long as the library

 private:
  template <class T>
  using Entries = std::deque<std::pair<DatasetSpec, T>>;

  const Places places_;
  std::mutex mutex_;
  Entries<std::shared_ptr<const Dataset>> loaded_;  // guarded by mutex_
  Entries<Contents> known_;                         // guarded by mutex_; never erased
};

}  // namespace brood::data
