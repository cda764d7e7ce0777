// CIFAR-10 and CIFAR-100 in their binary version: records of label bytes and 3 x 32 x 32 pixels,
// a plane for each of red, green and blue.
//
// Source: Alex Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and the
// page https://www.cs.toronto.edu/~kriz/cifar.html.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "trainers/data/byte_file.h"
#include "trainers/data/object_reader.h"
#include "trainers/data/source.h"

namespace brood::data {

inline constexpr int kCifarSide = 32;
inline constexpr std::size_t kCifarPixels = std::size_t{3} * kCifarSide * kCifarSide;

// Calls visit(labels, pixels) for each record, pixels as they lie in the file; returns how many
// there were. Throws UserError, naming `name`, unless the bytes are one or more whole records.
std::int64_t parse_cifar(
    const ByteReader& read, const std::string& name, std::size_t label_bytes,
    const std::function<void(std::span<const std::uint8_t>, std::span<const std::uint8_t>)>& visit);

void read_cifar100(ObjectReader& reader, DatasetSpec& spec);

std::unique_ptr<Source> open_cifar(const DatasetSpec& spec, const Places& places);

}  // namespace brood::data
