#include <algorithm>

#include "trainers/cnn/cuda/norm_fusion.h"
#include "trainers/cnn/cuda/program_builder.h"
#include "trainers/cnn/cuda/step_arguments.h"

namespace brood::cnn::cuda {

ProductArguments ProgramBuilder::product_of(const Step& step, const Tensor& x,
                                            const Tensor& y) const {
  ProductArguments a = product_arguments(step, x, y);
  a.weight = weight(step.weight);
  a.bias = weight(step.bias);
  a.partials = memory_.weight_partials[index(step)];
  return a;
}

PoolArguments ProgramBuilder::pool_of(const Step& step, const Tensor& x, const Tensor& y) const {
  PoolArguments a = pool_arguments(step, x, y);
  a.places = saved(step);
  return a;
}

ElementArguments ProgramBuilder::element_of(const Step& step) const {
  ElementArguments a = element_arguments(step);
  a.dropouts = memory_.dropouts;
  a.train = train_;
  return a;
}

const Step* ProgramBuilder::norm_read_by(const Step& step) const {
  for (std::size_t i = 0; i < plan_.steps.size(); ++i)
    if (memory_.norms[i].at_readers && plan_.steps[i].output == step.inputs.front())
      return &plan_.steps[i];
  return nullptr;
}

const Tensor& ProgramBuilder::read_by(const Step& step) const {
  const Step* norm = norm_read_by(step);
  return input(norm ? *norm : step);
}

NormRead ProgramBuilder::read_of(const Step& step) const {
  const Step* norm = norm_read_by(step);
  NormRead a;
  if (norm) a.saved = saved(*norm);
  if (norm) a.relu = norm->relu;
  return a;
}

NormArguments ProgramBuilder::norm_arguments(const Step& step) const {
  NormArguments a{};
  a.x = input(step);
  a.y = output(step);
  a.scale = weight(step.weight);
  a.shift = weight(step.bias);
  a.scale_gradient = gradient(step.weight);
  a.shift_gradient = gradient(step.bias);
  a.mean = states_ + 4 * memory_.state_array[z(step.state)];
  a.variance = states_ + 4 * memory_.state_array[z(step.state + 1)];
  a.saved = saved(step);
  a.partials = memory_.norm_partials;
  a.relu = step.relu;
  a.train = train_;
  return a;
}

const Step* ProgramBuilder::pair_of(const Step& norm) const {
  const int pair = memory_.paired[index(norm)];
  return pair < 0 ? nullptr : &plan_.steps[z(pair)];
}

bool ProgramBuilder::is_paired(const Step& step) const {
  const auto& pairs = memory_.paired;
  return std::find(pairs.begin(), pairs.end(), static_cast<int>(index(step))) != pairs.end();
}

NormPoolArguments ProgramBuilder::with_pool(const NormArguments& norm, const Step& pool,
                                            std::int64_t selected) const {
  NormPoolArguments a{norm, saved(pool), selected};
  a.norm.y = output(pool);
  a.norm.dy = slope(pool.output);
  return a;
}

NormAddArguments ProgramBuilder::with_sum(const NormArguments& norm, const Step& sum,
                                          bool backward) const {
  const bool first = value(sum.inputs[0]).offset < 0;  // it is the norm's, not stored
  NormAddArguments a{norm, value(sum.inputs[first ? 1 : 0]), sum.relu};
  if (backward && is_masked(plan_, memory_, sum)) a.relu = 0;
  a.norm.y = output(sum);
  a.norm.dy = slope(sum.output);
  return a;
}

ColumnSumArguments ProgramBuilder::slope_sums(const Step& norm) const {
  ColumnSumArguments a;
  a.partials = memory_.norm_partials;
  const std::int64_t selected = memory_.selected[index(norm)];
  a.x = selected < 0 ? input(norm).offset : selected;
  a.saved = saved(norm);
  a.relu = norm.relu;
  return a;
}
}  // namespace brood::cnn::cuda
