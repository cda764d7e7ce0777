#include "trainers/cnn/fusion.h"

#include <algorithm>

#include "trainers/cnn/winograd.h"

namespace brood::cnn {

bool pools_pairs(const Step& pool, const Shape& in, const Shape& out) {
  return pool.kernel_height == 2 && pool.kernel_width == 2 && pool.stride_height == 2 &&
         pool.stride_width == 2 && pool.pad_top == 0 && pool.pad_left == 0 &&
         in.height == 2 * out.height && in.width == 2 * out.width;
}

namespace {

// Tiles of Winograd's algorithm that are worth a call.
constexpr std::int32_t kTilesMin = 48;

bool only_next_reads(const Plan& plan, std::size_t step) {
  const int between = plan.steps[step].output;
  std::ptrdiff_t readers = 0;
  for (const Step& other : plan.steps)
    readers += std::count(other.inputs.begin(), other.inputs.end(), between);
  return readers == 1 && step + 1 < plan.steps.size() &&
         plan.steps[step + 1].inputs.front() == between;
}

}  // namespace

bool takes_next_pool(const Plan& plan, std::size_t step) {
  if (plan.steps[step].op != Step::Op::batch_norm || !only_next_reads(plan, step)) return false;
  const Step& pool = plan.steps[step + 1];
  return pool.op == Step::Op::max_pool &&
         pools_pairs(pool, plan.tensors[static_cast<std::size_t>(plan.steps[step].output)],
                     plan.tensors[static_cast<std::size_t>(pool.output)]);
}

bool taken_by_norm(const Plan& plan, std::size_t step) {
  return step > 0 && takes_next_pool(plan, step - 1);
}

bool has_norm_behind(const Plan& plan, std::size_t step) {
  return plan.steps[step].op == Step::Op::conv && only_next_reads(plan, step) &&
         plan.steps[step + 1].op == Step::Op::batch_norm;
}

int conv_behind(const Plan& plan, std::size_t step) {
  if (plan.steps[step].op != Step::Op::batch_norm) return -1;
  const std::size_t last = takes_next_pool(plan, step) ? step + 1 : step;
  const bool found = only_next_reads(plan, last) && plan.steps[last + 1].op == Step::Op::conv;
  return found ? static_cast<int>(last + 1) : -1;
}

int norm_before(const Plan& plan, std::size_t step) {
  for (std::size_t back = 1; back <= 2 && back <= step; ++back)
    if (conv_behind(plan, step - back) == static_cast<int>(step))
      return static_cast<int>(step - back);
  return -1;
}

int images_at_a_time(const Step& conv, const Shape& in, const Shape& out) {
  if (!uses_winograd(conv, in, out)) return 1;
  const Winograd g =
      make_winograd(conv.kernel_height, out.height, out.width, in.channels, out.channels);
  return std::max(1, std::max(kTilesMin, g.group) / (g.across * g.down));
}

}  // namespace brood::cnn
