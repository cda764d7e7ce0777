#include <algorithm>

#include "trainers/data/cifar.h"
#include "trainers/data/idx_source.h"
#include "trainers/data/image_folder.h"
#include "trainers/data/source.h"
#include "trainers/data/synthetic.h"
#include "trainers/data/tfrecord_source.h"

namespace brood::data {

const std::vector<Format>& formats() {
  static const std::vector<Format> all = {
      {"fashion_mnist", nullptr, open_idx_source},
      {"mnist", nullptr, open_idx_source},
      {"cifar10", nullptr, open_cifar},
      {"cifar100", read_cifar100, open_cifar},
      {"idx", nullptr, open_idx_source},
      {"image_folder", read_image_folder, open_image_folder},
      {"tfrecord", read_tfrecord, open_tfrecord},
      {"synthetic", read_synthetic, open_synthetic},
  };
  return all;
}

std::unique_ptr<Source> open_source(const DatasetSpec& spec, const Places& places) {
  const auto found = std::find_if(formats().begin(), formats().end(),
                                  [&](const Format& format) { return format.name == spec.format; });
  CHECK(found != formats().end(), "a checked spec names a format");
  return found->open(spec, places);
}

}  // namespace brood::data
