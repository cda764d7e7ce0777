#include "trainers/cnn/dataset.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"

namespace brood::cnn {

DataShape shape_of(const data::Contents& contents) {
  return {contents.height, contents.width, contents.channels, contents.classes(), contents.train, 0,
          contents.test};
}

DataShape shape_of(const Dataset& data) {
  return {data.height,      data.width, data.channels,  data.classes,
          data.train.count, 0,          data.test.count};
}

DataShape divided(const NetworkSpec& spec, DataShape shape) {
  const std::int64_t all =
      spec.limit_train > 0 ? std::min(spec.limit_train, shape.train) : shape.train;
  shape.validation = spec.validation_count > 0
                         ? spec.validation_count
                         : static_cast<std::int64_t>(
                               std::floor(spec.validation_fraction * static_cast<double>(all)));
  if (shape.validation == 0 && spec.validation_fraction > 0.0)
    throw UserError("the share of " + std::to_string(all) +
                    " training samples that \"validation\" asks for is less than one; use a larger "
                    "share, a whole number, or 0 for no validation");
  shape.train = all - shape.validation;
  if (shape.train < 1)
    throw UserError("validation takes " + std::to_string(shape.validation) + " of the " +
                    std::to_string(all) +
                    " training samples and leaves none; use a smaller \"validation\" or a larger "
                    "\"limit_train\"");
  if (spec.limit_test > 0) shape.test = std::min(spec.limit_test, shape.test);
  return shape;
}

std::vector<std::uint32_t> shuffled(std::int64_t n, Rng rng) {
  std::vector<std::uint32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  return order;
}

Split make_split(const NetworkSpec& spec, const DataShape& files, std::uint64_t experiment_seed) {
  const DataShape sizes = divided(spec, files);
  const Rng rng(experiment_seed, 0, Purpose::split);
  const auto order = shuffled(files.train, rng.split(0));
  const auto validation = order.begin() + sizes.validation;
  Split out;
  out.validation.assign(order.begin(), validation);
  out.train.assign(validation, validation + sizes.train);
  const auto test = shuffled(files.test, rng.split(1));
  out.test.assign(test.begin(), test.begin() + sizes.test);
  return out;
}

}  // namespace brood::cnn
