// One decoded data set as a file to be mapped.
//
// A page-aligned header (sizes, class names, the key that it was made for, checksums), then train
// pixels, test pixels, train labels, test labels, each at a multiple of 64 bytes. The numbers are
// those of the machine: a cache is never carried elsewhere.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>

#include "trainers/data/dataset.h"
#include "trainers/data/source.h"

namespace brood::data {

// A cache that cannot be used or written: the caller does without.
class CacheTrouble : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// nullopt: there is no such file, or it is damaged, cut short, of another version or key. The whole
// file is checked against its checksum.
std::optional<Dataset> map_cache(const std::string& path, const std::string& key);

// Of the header alone.
std::optional<Contents> cache_contents(const std::string& path, const std::string& key);

// Writes a file beside its place; it is in place, complete and safe from a crash, after finish().
// Without finish() nothing is left. All throw CacheTrouble.
class CacheWriter final : public Sink {
 public:
  // beside: the name while it is written; whatever has it is overwritten.
  CacheWriter(std::string beside, Contents contents, std::string key);
  CacheWriter(const CacheWriter&) = delete;
  CacheWriter& operator=(const CacheWriter&) = delete;
  ~CacheWriter() override;

  void put(Part part, std::int64_t first, std::span<const std::uint8_t> pixels,
           std::span<const std::uint16_t> labels) override;
  void finish(const std::string& path);

 private:
  void write(const void* bytes, std::size_t size, std::uint64_t offset);

  const std::string beside_;
  const Contents contents_;
  const std::string key_;
  const std::uint64_t header_bytes_;
  int file_ = -1;
  std::int64_t images_ = 0;  // put so far
};

}  // namespace brood::data
