#include "trainers/cnn/cuda/norm_fusion.h"
#include "trainers/cnn/cuda/program_builder.h"
#include "trainers/cnn/cuda/step_arguments.h"

namespace brood::cnn::cuda {

void ProgramBuilder::backward(const Step& step) {
  if (!wanted(step.output)) return;
  name(step.pointer);
  switch (step.op) {
    case Step::Op::conv:
    case Step::Op::dense:
    case Step::Op::depthwise_conv:
      bias_backward(step);
      return step.op == Step::Op::depthwise_conv ? depthwise_backward(step)
                                                 : product_backward(step);
    case Step::Op::max_pool:
    case Step::Op::avg_pool:
    case Step::Op::global_avg_pool: {
      if (is_paired(step)) return;
      PoolArguments a = pool_of(step, slope(step.inputs.front()), slope(step.output));
      a.accumulate = accumulate(step.inputs.front());
      return elements(step.op == Step::Op::max_pool ? KernelId::max_pool_gradient
                                                    : KernelId::average_pool_gradient,
                      a.x, a);
    }
    case Step::Op::batch_norm:
      return norm_backward(step);
    case Step::Op::dropout:
    case Step::Op::activation:
    case Step::Op::add:
      return element_backward(step);
    case Step::Op::gate:
      return gate_backward(step);
    case Step::Op::concat:
      return concat_backward(step);
  }
}

void ProgramBuilder::bias_backward(const Step& step) {
  if (step.bias < 0) return;
  MaskArguments a{};
  a.y = output(step);
  a.dy = slope(step.output);
  a.partials = memory_.bias_partials[index(step)];
  a.relu = step.relu;
  chunks(KernelId::mask_gradient, a.dy, a);
  sums_.push_back({a.partials, gradient(step.bias), a.dy.channels, kChunkPixels,
                   a.dy.height * a.dy.width, 1, 0});
}

void ProgramBuilder::sum_weight(const Step& step, const ProductArguments& a) {
  const Parameter& parameter = plan_.parameters[z(step.weight)];
  sums_.push_back({a.partials, gradient(step.weight),
                   static_cast<std::int32_t>(parameter.inputs * parameter.columns), a.chunk, 1, 0,
                   0});
}

void ProgramBuilder::product_backward(const Step& step) {
  ProductArguments a = product_of(step, read_by(step), slope(step.output));
  const Parameter& parameter = plan_.parameters[z(step.weight)];
  const int images = images_per_chunk(a.y.height * a.y.width);
  const int parts = blocks(batch(), images);
  a.chunk = a.partials >= 0 ? images : 0;
  a.weight = gradient(step.weight);
  if (tensor(step))
    tensor_weight_gradient(step, a, parts);
  else
    product(KernelId::product_weight_gradient, parameter.inputs, parameter.columns, parts, a);
  if (a.chunk > 0) sum_weight(step, a);
  if (!wanted(step.inputs.front())) return;
  if (tensor(step)) return tensor_input_gradient(step);
  a.weight = weight(step.weight);
  a.x = slope(step.inputs.front());
  a.accumulate = accumulate(step.inputs.front());
  if (step.op == Step::Op::dense)
    product(KernelId::dense_input_gradient, plan_.batch_size,
            std::int64_t{1} * a.x.height * a.x.width * a.x.pitch, 1, a);
  else
    product(KernelId::product_input_gradient, pixels(a.x), a.x.pitch, 1, a);
}

void ProgramBuilder::tensor_weight_gradient(const Step& step, const ProductArguments& product,
                                            int parts) {
  const TensorLaunch launch = tensor_gradient_launch(step, product, parts);
  if (!launch.is_halo()) return add_tensor(launch, product);
  HaloGradientArguments a{};
  a.product = product;
  a.read = read_of(step);
  a.shape = launch.halo;
  add_tensor(launch, a);
}

void ProgramBuilder::tensor_input_gradient(const Step& step) {
  TensorArguments a = tensor_arguments(step);
  a.from = slope(step.output);
  a.to = as_pixel(step, slope(step.inputs.front()));
  a.packed = memory_.packed_gradient[index(step)];
  if (accumulate(step.inputs.front())) a.added = a.to.offset;
  for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
    if (is_me(memory_.skips[i], step)) a.added = slope(plan_.steps[i].output).offset;
    if (!is_me(memory_.norms[i].slopes, step)) continue;
    const Step* sum = pair_of(plan_.steps[i]);
    a.sums = slope_sums(plan_.steps[i]);
    if (sum && sum->relu) a.mask = output(*sum).offset;
  }
  tensor_product(step, a, true);
}

void ProgramBuilder::depthwise_backward(const Step& step) {
  ProductArguments a = product_of(step, input(step), slope(step.output));
  const int places = a.kernel_height * a.kernel_width;
  a.chunk = images_per_chunk(a.y.height * a.y.width);
  add(KernelId::depthwise_weight_gradient, places * blocks(a.x.channels, kChannelLanes),
      blocks(batch(), a.chunk), kThreads, kSumSharedBytes, a);
  sum_weight(step, a);
  if (!wanted(step.inputs.front())) return;
  a.x = slope(step.inputs.front());
  a.accumulate = accumulate(step.inputs.front());
  elements(KernelId::depthwise_input_gradient, a.x, a);
}

void ProgramBuilder::norm_backward(const Step& step) {
  NormArguments a = norm_arguments(step);
  const Step* pair = pair_of(step);
  const bool sum = pair && pair->op == Step::Op::add;
  const NormFusion& sums = memory_.norms[index(step)];
  if (!pair) a.dy = slope(step.output);
  if (sums.slopes < 0) {
    if (sum)
      chunks(KernelId::norm_add_sums, a.x, with_sum(a, *pair, true));
    else if (pair)
      chunks(KernelId::norm_pool_sums, a.x, with_pool(a, *pair, -1));
    else
      chunks(KernelId::norm_sums, a.x, a);
  }
  a.parts = sums.slopes_parts;
  norm_channels(KernelId::norm_slopes, a);
  if (!wanted(step.inputs.front())) return;
  a.dx = slope(step.inputs.front());
  a.accumulate = accumulate(step.inputs.front());
  if (sum)
    lanes(KernelId::norm_add_gradient, a.x, with_sum(a, *pair, true));
  else if (pair)
    lanes(KernelId::norm_pool_gradient, a.x, with_pool(a, *pair, -1));
  else
    lanes(KernelId::norm_gradient, a.x, a);
}

void ProgramBuilder::element_backward(const Step& step) {
  ElementArguments a = element_of(step);
  const bool dropout = step.op == Step::Op::dropout;
  const int skip = memory_.skips[index(step)];
  if (is_masked(plan_, memory_, step)) a.relu = 0;
  a.x = dropout ? slope(step.output) : input(step);
  a.a = output(step);
  a.b = slope(step.output);
  for (const int to : step.inputs) {
    if (!wanted(to) || slope(to).offset < 0) continue;  // a norm reads the sum's itself
    a.y = slope(to);
    a.accumulate = accumulate(to);
    if (skip >= 0 && plan_.steps[z(skip)].inputs.front() == to) continue;
    if (dropout)
      elements(KernelId::dropout, a.y, a);
    else
      lanes(
          step.op == Step::Op::activation ? KernelId::activation_gradient : KernelId::add_gradient,
          a.y, a);
  }
}

void ProgramBuilder::gate_backward(const Step& step) {
  const int whole = step.inputs[0], gate = step.inputs[1];
  ElementArguments a = element_of(step);
  a.b = value(gate);
  if (wanted(gate)) {
    a.a = value(whole);
    a.x = slope(step.output);
    a.y = slope(gate);
    a.accumulate = accumulate(gate);
    elements(KernelId::gate_sums, a.y, a);
  }
  if (!wanted(whole)) return;
  a.a = slope(step.output);
  a.y = slope(whole);
  a.accumulate = accumulate(whole);
  elements(KernelId::gate_forward, a.y, a);
}

void ProgramBuilder::concat_backward(const Step& step) {
  CopyArguments a{};
  a.from = slope(step.output);
  for (const int input : step.inputs) {
    a.channels = value(input).channels;
    if (wanted(input)) {
      a.to = slope(input);
      a.zeros = a.to.pitch - a.channels;
      a.accumulate = accumulate(input);
      add(KernelId::copy_channels, blocks(pixels(a.to) * a.to.pitch, kThreads), 1, kThreads, 0, a);
    }
    a.from_first += a.channels;
  }
}
}  // namespace brood::cnn::cuda
