// Which features of a tf.train.Example are the image and its label, and what they hold.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "trainers/data/dataset_spec.h"
#include "trainers/data/picture.h"
#include "trainers/data/tf_example.h"

namespace brood::data {

// One of the two is there.
struct RecordLabel {
  std::optional<std::int64_t> number;
  std::string_view text;  // into the record
};

// Chosen by the settings and, where these say nothing, by the first record: of the usual names the
// first that it has. All records of a data set are read alike. `place` is a record's, for messages;
// all throw UserError beginning with it.
class RecordFeatures {
 public:
  RecordFeatures(const TfRecordSpec& spec, const Example& first, const std::string& place);

  // The image's bytes: a JPEG or PNG, or pixels.
  std::span<const std::uint8_t> image(const Example& example, const std::string& place) const;
  bool raw() const { return raw_; }

  // Without decoding it. Channels: 0 for a JPEG or PNG, which may have any.
  struct Shape {
    int height = 0, width = 0, channels = 0;
    friend bool operator==(const Shape&, const Shape&) = default;
  };
  Shape shape(const Example& example, const std::string& place) const;
  // As it is, not yet of the size and the channels that are wanted.
  Picture picture(const Example& example, const std::string& place) const;

  RecordLabel label(const Example& example, const std::string& place) const;
  // The name of the label's class; empty: records do not tell.
  std::string_view class_name(const Example& example, const std::string& place) const;

 private:
  Shape raw_shape(const Example& example, const std::string& place) const;

  TfRecordSpec spec_;
  bool raw_ = false;
  std::string image_, label_, class_name_, height_, width_, channels_;  // empty: there is none
};

}  // namespace brood::data
