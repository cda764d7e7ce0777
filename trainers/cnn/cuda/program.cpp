#include "trainers/cnn/cuda/program.h"

#include <algorithm>
#include <cstddef>

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/launch_list.h"
#include "trainers/cnn/cuda/norm_fusion.h"
#include "trainers/cnn/cuda/step_arguments.h"
#include "trainers/cnn/cuda/tensor_launch.h"

namespace brood::cnn::cuda {

namespace {

std::size_t z(std::int64_t value) { return static_cast<std::size_t>(value); }

// Makes the launches of one list: of training steps, or of evaluations.
class Builder : private LaunchList {
 public:
  Builder(const Plan& plan, const DeviceMemory& memory, const DeviceData& data, bool train)
      : LaunchList(memory.precision, plan.batch_size),
        plan_(plan),
        memory_(memory),
        data_(data),
        train_(train),
        needs_gradient_(tensors_with_gradient(plan)),
        written_(plan.tensors.size(), false) {
    const bool averages = memory.averages && !train;
    weights_ = averages ? memory.average : memory.parameters;
    states_ = averages ? memory.average_states : memory.states;
  }

  std::vector<Launch> training() {
    StepArguments a{};
    a.draws = memory_.draws;
    a.order = memory_.order;
    a.order_stride = memory_.order_stride;
    a.pool = data_.train.samples;
    a.pool_count = data_.train.count;
    a.height = plan_.data.height;
    a.width = plan_.data.width;
    add(KernelId::begin_step, blocks(batch(), kThreads), 1, kThreads, 0, a);
    gather(KernelId::gather_train, data_.train, 0);
    pack();
    for (const Step& step : plan_.steps) forward(step);
    loss(0, 0);
    for (std::size_t i = plan_.steps.size(); i-- > 0;) backward(plan_.steps[i]);
    sum_gradients();
    update();
    return take();
  }

  std::vector<Launch> evaluation(const DevicePart& part, int index) {
    if (part.count == 0) return {};
    gather(KernelId::gather_evaluation, part, index);
    pack();
    for (const Step& step : plan_.steps) forward(step);
    loss(index, part.count);
    return take();
  }

 private:
  // --- places ---

  const Tensor& value(int tensor) const { return memory_.values[z(tensor)]; }
  const Tensor& slope(int tensor) const { return memory_.slopes[z(tensor)]; }
  const Tensor& input(const Step& step) const { return value(step.inputs.front()); }
  const Tensor& output(const Step& step) const { return value(step.output); }
  std::int64_t weight(int parameter) const {
    return parameter < 0 ? -1 : weights_ + 4 * memory_.parameter[z(parameter)];
  }
  std::int64_t gradient(int parameter) const {
    return memory_.gradients + 4 * memory_.parameter[z(parameter)];
  }
  std::size_t index(const Step& step) const {
    return static_cast<std::size_t>(&step - plan_.steps.data());
  }
  std::int64_t saved(const Step& step) const { return memory_.saved[index(step)]; }
  bool wanted(int tensor) const { return needs_gradient_[z(tensor)]; }
  // Whether a gradient is added to what another reader of the tensor has left.
  bool accumulate(int tensor) {
    const bool before = written_[z(tensor)];
    written_[z(tensor)] = true;
    return before;
  }

  // --- the frame ---

  std::int64_t tallies(int part) const {
    return memory_.class_tallies + std::int64_t{part} * plan_.data.classes * 2 * 8;
  }

  void gather(KernelId kernel, const DevicePart& part, int index) {
    GatherArguments a{};
    a.image = value(0);
    a.draws = memory_.draws;
    a.labels = memory_.labels;
    a.pixels = part.pixels;
    a.all_labels = part.labels;
    a.samples = part.samples;
    a.part_samples = part.count;
    a.class_tallies = tallies(index);
    a.part = index;
    a.batch_max = plan_.batch_size;
    a.classes = plan_.data.classes;
    elements(kernel, a.image, a);
  }

  void loss(int part, std::int64_t samples) {
    LossArguments a{};
    a.logits = memory_.values.back();
    a.slopes = memory_.slopes.back();
    a.labels = memory_.labels;
    a.losses = memory_.losses;
    a.class_tallies = tallies(part);
    a.part_samples = samples;
    a.train = train_;
    a.part = part;
    name("");
    add(KernelId::loss, 1, 1, kThreads, kSumSharedBytes, a);
    written_.back() = true;
  }

  void update() {
    UpdateArguments a{};
    a.parameters = memory_.parameters;
    a.gradients = memory_.gradients;
    a.first = memory_.moment[0];
    a.second = memory_.moment[1];
    a.average = memory_.averages ? memory_.average : -1;
    a.states = memory_.states;
    a.average_states = memory_.average_states;
    a.partials = memory_.partials;
    a.count = memory_.parameter_count;
    a.state_count = memory_.state_count;
    name("");
    add(KernelId::norm_of_gradients, blocks(a.count, kSquareChunk), 1, kThreads, kSumSharedBytes,
        a);
    add(KernelId::update, blocks(a.count + (memory_.averages ? a.state_count : 0), kThreads), 1,
        kThreads, 0, a);
  }

  // --- steps, forward ---

  void forward(const Step& step) {
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

  ProductArguments product_of(const Step& step, const Tensor& x, const Tensor& y) const {
    ProductArguments a = product_arguments(step, x, y);
    a.weight = weight(step.weight);
    a.bias = weight(step.bias);
    a.partials = memory_.weight_partials[index(step)];
    return a;
  }

  PoolArguments pool_of(const Step& step, const Tensor& x, const Tensor& y) const {
    PoolArguments a = pool_arguments(step, x, y);
    a.places = saved(step);
    return a;
  }

  ElementArguments element_of(const Step& step) const {
    ElementArguments a = element_arguments(step);
    a.dropouts = memory_.dropouts;
    a.train = train_;
    return a;
  }

  // --- on tensor cores ---

  // The batch norm whose values a step makes where it reads; nullptr: it reads what is stored.
  const Step* norm_read_by(const Step& step) const {
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
      if (memory_.norms[i].at_readers && plan_.steps[i].output == step.inputs.front())
        return &plan_.steps[i];
    return nullptr;
  }
  const Tensor& read_by(const Step& step) const {
    const Step* norm = norm_read_by(step);
    return input(norm ? *norm : step);
  }
  NormRead read_of(const Step& step) const {
    const Step* norm = norm_read_by(step);
    NormRead a;
    if (norm) a.saved = saved(*norm);
    if (norm) a.relu = norm->relu;
    return a;
  }

  bool is_me(int step, const Step& me) const { return step == static_cast<int>(index(me)); }

  ColumnSumArguments slope_sums(const Step& norm) const {
    ColumnSumArguments a;
    a.partials = memory_.norm_partials;
    const std::int64_t selected = memory_.selected[index(norm)];
    a.x = selected < 0 ? input(norm).offset : selected;
    a.saved = saved(norm);
    a.relu = norm.relu;
    return a;
  }

  bool tensor(const Step& step) const { return uses_tensor_cores(step, memory_.precision); }

  // The weights of this batch as they are read there.
  void pack() {
    std::vector<PackEntry> entries;
    for (const Step& step : plan_.steps) {
      if (!tensor(step)) continue;
      PackEntry entry = pack_entry(step, input(step), output(step));
      entry.weight = weight(step.weight);
      entry.forward = memory_.packed[index(step)];
      if (train_ && wanted(step.inputs.front()))
        entry.gradient = memory_.packed_gradient[index(step)];
      entries.push_back(entry);
    }
    table(KernelId::pack_weights, kPackSharedBytes, entries, pack_blocks);
  }

  template <class Arguments>
  void add_tensor(const TensorLaunch& launch, const Arguments& arguments) {
    add(launch.kernel, launch.x, launch.y, launch.threads, launch.shared_bytes, arguments);
  }

  void tensor_product(const Step& step, const TensorArguments& product, bool gradient) {
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

  void tensor_forward(const Step& step) {
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

  void tensor_input_gradient(const Step& step) {
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

  void tensor_weight_gradient(const Step& step, const ProductArguments& product, int parts) {
    const TensorLaunch launch = tensor_gradient_launch(step, product, parts);
    if (!launch.is_halo()) return add_tensor(launch, product);
    HaloGradientArguments a{};
    a.product = product;
    a.read = read_of(step);
    a.shape = launch.halo;
    add_tensor(launch, a);
  }

  NormArguments norm_arguments(const Step& step) const {
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

  // The pool or the sum that a batch norm is one with.
  const Step* pair_of(const Step& norm) const {
    const int pair = memory_.paired[index(norm)];
    return pair < 0 ? nullptr : &plan_.steps[z(pair)];
  }
  // Whether a pool or a sum is one with a batch norm.
  bool is_paired(const Step& step) const {
    const auto& pairs = memory_.paired;
    return std::find(pairs.begin(), pairs.end(), static_cast<int>(index(step))) != pairs.end();
  }

  NormPoolArguments with_pool(const NormArguments& norm, const Step& pool,
                              std::int64_t selected) const {
    NormPoolArguments a{norm, saved(pool), selected};
    a.norm.y = output(pool);
    a.norm.dy = slope(pool.output);
    return a;
  }

  NormAddArguments with_sum(const NormArguments& norm, const Step& sum, bool backward) const {
    const bool first = value(sum.inputs[0]).offset < 0;  // it is the norm's, not stored
    NormAddArguments a{norm, value(sum.inputs[first ? 1 : 0]), sum.relu};
    if (backward && is_masked(plan_, memory_, sum)) a.relu = 0;
    a.norm.y = output(sum);
    a.norm.dy = slope(sum.output);
    return a;
  }

  void norm_channels(KernelId kernel, const NormArguments& a) {
    add(kernel, blocks(a.x.channels, kNormChannels), 1, kThreads, kSumSharedBytes, a);
  }

  void norm_forward(const Step& step) {
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

  void element_forward(const Step& step) {
    ElementArguments a = element_of(step);
    a.x = a.a = input(step);
    if (step.inputs.size() > 1) a.b = value(step.inputs[1]);
    a.y = output(step);
    if (step.op == Step::Op::activation) return lanes(KernelId::activation_forward, a.y, a);
    if (step.op == Step::Op::add) return lanes(KernelId::add_forward, a.y, a);
    elements(step.op == Step::Op::dropout ? KernelId::dropout : KernelId::gate_forward, a.y, a);
  }

  void concat_forward(const Step& step) {
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

  // --- steps, backward ---

  void backward(const Step& step) {
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

  // What a ReLU lets through, and the bias's gradient; there is no ReLU without a bias.
  void bias_backward(const Step& step) {
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

  void sum_gradients() {
    table(KernelId::sum_partials, kSumSharedBytes, sums_, [](const SumEntry& sum) {
      return blocks(sum.count, sum.bias ? kChannelLanes : kThreads);
    });
  }

  // Later: the sum of what a kernel leaves in chunks.
  void sum_weight(const Step& step, const ProductArguments& a) {
    const Parameter& parameter = plan_.parameters[z(step.weight)];
    sums_.push_back({a.partials, gradient(step.weight),
                     static_cast<std::int32_t>(parameter.inputs * parameter.columns), a.chunk, 1, 0,
                     0});
  }

  void product_backward(const Step& step) {
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

  void depthwise_backward(const Step& step) {
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

  void norm_backward(const Step& step) {
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

  void element_backward(const Step& step) {
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
        lanes(step.op == Step::Op::activation ? KernelId::activation_gradient
                                              : KernelId::add_gradient,
              a.y, a);
    }
  }

  void gate_backward(const Step& step) {
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

  void concat_backward(const Step& step) {
    CopyArguments a{};
    a.from = slope(step.output);
    for (const int input : step.inputs) {
      a.channels = value(input).channels;
      if (wanted(input)) {
        a.to = slope(input);
        a.zeros = a.to.pitch - a.channels;
        a.accumulate = accumulate(input);
        add(KernelId::copy_channels, blocks(pixels(a.to) * a.to.pitch, kThreads), 1, kThreads, 0,
            a);
      }
      a.from_first += a.channels;
    }
  }

  const Plan& plan_;
  const DeviceMemory& memory_;
  const DeviceData& data_;
  const bool train_;
  const std::vector<bool> needs_gradient_;
  std::vector<SumEntry> sums_;  // of gradients, to be added up at the end
  std::vector<bool> written_;   // tensors whose gradient some reader has left
  std::int64_t weights_ = 0, states_ = 0;
};

}  // namespace

Program make_program(const Plan& plan, const DeviceMemory& memory, const DeviceData& data) {
  Program program;
  program.train = Builder(plan, memory, data, true).training();
  program.validate = Builder(plan, memory, data, false).evaluation(data.validation, 0);
  program.test = Builder(plan, memory, data, false).evaluation(data.test, 1);
  return program;
}

void bind(std::vector<Launch>& launches, const Group& group, int trials) {
  for (Launch& launch : launches) launch.bind(group, trials);
}

}  // namespace brood::cnn::cuda
