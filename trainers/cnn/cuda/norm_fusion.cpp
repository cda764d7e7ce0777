#include "trainers/cnn/cuda/norm_fusion.h"

#include "trainers/cnn/cuda/step_arguments.h"
#include "trainers/cnn/cuda/tensor_launch.h"

namespace brood::cnn::cuda {

namespace {

std::size_t z(std::int64_t value) { return static_cast<std::size_t>(value); }

// 2x2 windows side by side, all inside.
bool is_plain_pool(const Plan& plan, const Step& pool) {
  const Shape &from = plan.tensors[z(pool.inputs.front())], &to = plan.tensors[z(pool.output)];
  return pool.op == Step::Op::max_pool && pool.kernel_height == 2 && pool.kernel_width == 2 &&
         pool.stride_height == 2 && pool.stride_width == 2 && pool.pad_top == 0 &&
         pool.pad_left == 0 && 2 * to.height <= from.height && 2 * to.width <= from.width;
}

// Blocks along x of a step's product, or of its input gradient.
int parts_of(const Plan& plan, const Step& step, Precision precision, bool gradient) {
  const Tensor x = tensor_of(plan.tensors[z(step.inputs.front())], precision);
  const Tensor y = tensor_of(plan.tensors[z(step.output)], precision);
  TensorArguments product = tensor_arguments(step);
  product.from = gradient ? y : as_pixel(step, x);
  product.to = gradient ? as_pixel(step, x) : y;
  return tensor_launch(step, product, plan.batch_size, gradient).x;
}

}  // namespace

std::vector<int> pairs_of_norms(const Plan& plan, const Fusion& fusion) {
  const auto steps = static_cast<int>(plan.steps.size());
  std::vector<int> out(plan.steps.size(), -1), readers(plan.tensors.size(), 0);
  std::vector<int> made(plan.tensors.size(), -1);
  for (int i = 0; i < steps; ++i) {
    made[z(plan.steps[z(i)].output)] = i;
    for (const int input : plan.steps[z(i)].inputs) ++readers[z(input)];
  }
  const auto lone_norm = [&](int tensor) {
    const int i = made[z(tensor)];
    return i >= 0 && plan.steps[z(i)].op == Step::Op::batch_norm && readers[z(tensor)] == 1;
  };
  for (int i = 0; fusion.pairs && i < steps; ++i) {
    const Step& step = plan.steps[z(i)];
    if (is_plain_pool(plan, step) && lone_norm(step.inputs.front()))
      out[z(made[z(step.inputs.front())])] = i;
    if (step.op != Step::Op::add) continue;
    // The later of both: the other is there by then.
    const bool second = made[z(step.inputs[1])] > made[z(step.inputs[0])];
    const int later = step.inputs[second ? 1 : 0];
    if (lone_norm(later)) out[z(made[z(later)])] = i;
  }
  return out;
}

std::vector<NormSums> sums_of_norms(const Plan& plan, const std::vector<int>& paired,
                                    Precision precision, const Fusion& fusion) {
  std::vector<NormSums> out(plan.steps.size());
  for (std::size_t i = 1; i < plan.steps.size(); ++i) {
    const Step &norm = plan.steps[i], &before = plan.steps[i - 1];
    if (norm.op != Step::Op::batch_norm) continue;
    if (fusion.statistics && before.output == norm.inputs.front() &&
        uses_tensor_cores(before, precision)) {
      out[i].statistics = static_cast<int>(i - 1);
      out[i].statistics_parts = parts_of(plan, before, precision, false);
    }
    // The next step is the last to write the gradient, as others that read the values come later.
    const std::size_t end = paired[i] < 0 ? i : z(paired[i]);
    const Step& last = plan.steps[end];
    if (!fusion.slopes || last.op == Step::Op::max_pool || end + 1 >= plan.steps.size()) continue;
    const Step& next = plan.steps[end + 1];
    if (next.op != Step::Op::conv || next.inputs.front() != last.output ||
        !uses_tensor_cores(next, precision))
      continue;
    out[i].slopes = static_cast<int>(end + 1);
    out[i].slopes_parts = parts_of(plan, next, precision, true);
  }
  return out;
}

}  // namespace brood::cnn::cuda
