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

// How a step's product is launched, or its input gradient.
TensorLaunch launch_of(const Plan& plan, const Step& step, Precision precision, bool gradient) {
  const Tensor x = tensor_of(plan.tensors[z(step.inputs.front())], precision);
  const Tensor y = tensor_of(plan.tensors[z(step.output)], precision);
  TensorArguments product = tensor_arguments(step);
  product.from = gradient ? y : as_pixel(step, x);
  product.to = gradient ? as_pixel(step, x) : y;
  return tensor_launch(step, product, plan.batch_size, gradient);
}

// Whether a step can make a batch norm's values from what the norm reads: a product and a weight
// gradient that read an element once or a few times. An implicit GEMM reads it for each tap and
// each tile of columns, and would make the value as often: more work than the pass that it saves.
bool makes_values(const Plan& plan, const Step& step, Precision precision) {
  if (step.op != Step::Op::conv || !uses_tensor_cores(step, precision)) return false;
  const Tensor x = tensor_of(plan.tensors[z(step.inputs.front())], precision);
  const Tensor y = tensor_of(plan.tensors[z(step.output)], precision);
  const TensorLaunch product = launch_of(plan, step, precision, false);
  const TensorLaunch weights = tensor_gradient_launch(step, product_arguments(step, x, y), 1);
  const auto few = [&x](const TensorLaunch& launch, int inputs) {
    return launch.is_halo() &&
           halo_copies(halo_pixels(launch.halo, x.width), inputs, launch.threads) <= kHaloCopiesMax;
  };
  return few(product, x.pitch) && few(weights, halo_columns(x.pitch));
}

// Whether all that reads a step's values can make them itself.
bool made_at_readers(const Plan& plan, const Step& norm, Precision precision) {
  bool any = false;
  for (const Step& step : plan.steps)
    for (const int input : step.inputs) {
      if (input != norm.output) continue;
      if (!makes_values(plan, step, precision)) return false;
      any = true;
    }
  return any;
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

std::vector<NormFusion> fused_norms(const Plan& plan, const std::vector<int>& paired,
                                    Precision precision, const Fusion& fusion) {
  std::vector<NormFusion> out(plan.steps.size());
  for (std::size_t i = 1; i < plan.steps.size(); ++i) {
    const Step &norm = plan.steps[i], &before = plan.steps[i - 1];
    if (norm.op != Step::Op::batch_norm) continue;
    out[i].at_readers = fusion.reads && paired[i] < 0 && made_at_readers(plan, norm, precision);
    if (fusion.statistics && before.output == norm.inputs.front() &&
        uses_tensor_cores(before, precision)) {
      out[i].statistics = static_cast<int>(i - 1);
      out[i].statistics_parts = launch_of(plan, before, precision, false).x;
    }
    // The next step is the last to write the gradient, as others that read the values come later.
    const std::size_t end = paired[i] < 0 ? i : z(paired[i]);
    const Step& last = plan.steps[end];
    if (!fusion.slopes || end + 1 >= plan.steps.size()) continue;
    const Step& next = plan.steps[end + 1];
    if (next.op != Step::Op::conv || next.inputs.front() != last.output ||
        !uses_tensor_cores(next, precision))
      continue;
    out[i].slopes = static_cast<int>(end + 1);
    out[i].slopes_parts = launch_of(plan, next, precision, true).x;
  }
  return out;
}

bool is_masked(const Plan& plan, const DeviceMemory& memory, const Step& sum) {
  for (std::size_t i = 0; sum.relu && i < plan.steps.size(); ++i)
    if (memory.paired[i] >= 0 && &plan.steps[z(memory.paired[i])] == &sum)
      return memory.norms[i].slopes >= 0;
  return false;
}

std::vector<int> skips_of_sums(const Plan& plan, const DeviceMemory& memory, Precision precision,
                               const Fusion& fusion) {
  const std::vector<bool> wanted = tensors_with_gradient(plan);
  std::vector<int> out(plan.steps.size(), -1);
  for (std::size_t i = 0; fusion.skips && i < plan.steps.size(); ++i) {
    const Step& sum = plan.steps[i];
    if (sum.op != Step::Op::add || (sum.relu && !is_masked(plan, memory, sum))) continue;
    for (const int input : sum.inputs) {
      // The one other step that reads what is added.
      std::vector<int> readers;
      for (std::size_t j = 0; j < plan.steps.size(); ++j)
        for (const int read : plan.steps[j].inputs)
          if (read == input) readers.push_back(static_cast<int>(j));
      if (readers.size() != 2 || readers[1] != static_cast<int>(i) || !wanted[z(input)]) continue;
      const Step& other = plan.steps[z(readers[0])];
      if (other.op == Step::Op::conv && uses_tensor_cores(other, precision)) out[i] = readers[0];
    }
  }
  return out;
}

}  // namespace brood::cnn::cuda
