// Where images come from: one class per format of data sets.
//
// A new format is a file pair with
//   - a Source, made by a function open_...(spec, places), which finds the files or throws a
//     UserError that says where it looked and how to get them;
//   - its settings, if it has any, as a struct in DatasetSpec, and a function that reads them;
//   - its row in formats() (formats.cpp), and a row in docs/trainers.md.
// Everything else (cache, sharing, plan, `brood data`) follows from the Source.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainers/data/dataset.h"

namespace brood::data {

class ObjectReader;

// Takes decoded images, each once, in any order. One thread.
class Sink {
 public:
  virtual ~Sink() = default;
  // Images first, first + 1, ... of the part, labels.size() of them with their pixels (NHWC).
  virtual void put(Part part, std::int64_t first, std::span<const std::uint8_t> pixels,
                   std::span<const std::uint16_t> labels) = 0;
};

// One thread. All throw UserError naming the file, what was found and the remedy.
class Source {
 public:
  virtual ~Source() = default;

  // Every file that a pixel, a label or a class name comes from, absolute, in a fixed order: when
  // one of them changes, so does the cache's key. None: the data is made up and kept in memory.
  virtual std::vector<std::string> files() const = 0;

  // All else that pixels, labels and their order depend on, as text. Begins with the format's
  // name and a number that rises when the same files would give other pixels than before.
  virtual std::string options() const = 0;

  // From names, sizes and headers, without decoding images.
  virtual Contents contents() = 0;

  // Decodes everything: exactly the images that contents() counts.
  virtual void read(Sink& sink) = 0;
};

struct Format {
  std::string name;  // in a config: "name", or {"name": {settings}}
  // Reads the settings; nullptr: it has none, and only the plain name is legal.
  void (*read_settings)(ObjectReader& reader, DatasetSpec& spec);
  std::unique_ptr<Source> (*open)(const DatasetSpec& spec, const Places& places);
};

const std::vector<Format>& formats();

// The source that a checked spec names.
std::unique_ptr<Source> open_source(const DatasetSpec& spec, const Places& places);

}  // namespace brood::data
