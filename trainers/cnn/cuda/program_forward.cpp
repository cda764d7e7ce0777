#include "trainers/cnn/cuda/program_builder.h"
#include "trainers/cnn/cuda/step_arguments.h"

namespace brood::cnn::cuda {

void ProgramBuilder::forward(const Step& step) {
  name(step.pointer);
  switch (step.op) {
    case Step::Op::conv:
    case Step::Op::dense:
      if (tensor(step)) return tensor_forward(step);
      return product(KernelId::product_forward, pixels(output(step)), output(step).pitch, 1,
                     product_of(step, input(step), output(step)));
    case Step::Op::depthwise_conv:
      return elements(KernelId::depthwise_forward, output(step),
                      product_of(step, input(step), output(step)));
    case Step::Op::max_pool:
      if (is_paired(step)) return;
      return elements(KernelId::max_pool_forward, output(step),
                      pool_of(step, input(step), output(step)));
    case Step::Op::avg_pool:
    case Step::Op::global_avg_pool:
      return elements(KernelId::average_pool_forward, output(step),
                      pool_of(step, input(step), output(step)));
    case Step::Op::batch_norm:
      return norm_forward(step);
    case Step::Op::dropout:
    case Step::Op::activation:
    case Step::Op::add:
    case Step::Op::gate:
      if (is_paired(step)) return;
      return element_forward(step);
    case Step::Op::concat:
      return concat_forward(step);
  }
}

void ProgramBuilder::tensor_product(const Step& step, const TensorArguments& product,
                                    bool gradient) {
  const TensorLaunch launch = tensor_launch(step, product, plan_.batch_size, gradient);
  if (!launch.is_halo()) return add_tensor(launch, product);
  HaloArguments a{};
  a.product = product;
  if (!gradient) a.read = read_of(step);
  a.shape = launch.halo;
  a.tiles_per_block = kHaloTilesPerBlock;
  a.turned = gradient;
  add_tensor(launch, a);
}

void ProgramBuilder::tensor_forward(const Step& step) {
  TensorArguments a = tensor_arguments(step);
  a.from = as_pixel(step, read_by(step));
  a.to = output(step);
  a.packed = memory_.packed[index(step)];
  a.bias = weight(step.bias);
  a.relu = step.relu;
  for (std::size_t i = 0; train_ && i < plan_.steps.size(); ++i)
    if (is_me(memory_.norms[i].statistics, step)) a.sums.partials = memory_.norm_partials;
  tensor_product(step, a, false);
}

void ProgramBuilder::norm_channels(KernelId kernel, const NormArguments& a) {
  add(kernel, blocks(a.x.channels, kNormChannels), 1, kThreads, kSumSharedBytes, a);
}

void ProgramBuilder::norm_forward(const Step& step) {
  NormArguments a = norm_arguments(step);
  const NormFusion& sums = memory_.norms[index(step)];
  if (train_ && sums.statistics < 0) chunks(KernelId::norm_statistics, a.x, a);
  a.parts = sums.statistics_parts;
  norm_channels(KernelId::norm_prepare, a);
  if (sums.at_readers) return;
  const Step* pair = pair_of(step);
  if (pair == nullptr) return lanes(KernelId::norm_forward, a.x, a);
  if (pair->op == Step::Op::add)
    return lanes(KernelId::norm_add_forward, a.x, with_sum(a, *pair, false));
  lanes(KernelId::norm_pool_forward, output(*pair),
        with_pool(a, *pair, train_ ? memory_.selected[index(step)] : -1));
}

void ProgramBuilder::element_forward(const Step& step) {
  ElementArguments a = element_of(step);
  a.x = a.a = input(step);
  if (step.inputs.size() > 1) a.b = value(step.inputs[1]);
  a.y = output(step);
  if (step.op == Step::Op::activation) return lanes(KernelId::activation_forward, a.y, a);
  if (step.op == Step::Op::add) return lanes(KernelId::add_forward, a.y, a);
  elements(step.op == Step::Op::dropout ? KernelId::dropout : KernelId::gate_forward, a.y, a);
}

void ProgramBuilder::concat_forward(const Step& step) {
  CopyArguments a{};
  a.to = output(step);
  for (const int input : step.inputs) {
    a.from = value(input);
    a.channels = a.from.channels;
    const bool last = a.to_first + a.channels == a.to.channels;
    a.zeros = last ? a.to.pitch - a.to.channels : 0;
    add(KernelId::copy_channels, blocks(pixels(a.to) * (a.channels + a.zeros), kThreads), 1,
        kThreads, 0, a);
    a.to_first += a.channels;
  }
}
}  // namespace brood::cnn::cuda
