#include "trainers/cnn/cuda/program.h"

#include "trainers/cnn/cuda/program_builder.h"
#include "trainers/cnn/cuda/step_arguments.h"

namespace brood::cnn::cuda {

ProgramBuilder::ProgramBuilder(const Plan& plan, const DeviceMemory& memory, const DeviceData& data,
                               bool train)
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

std::vector<Launch> ProgramBuilder::training() {
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

std::vector<Launch> ProgramBuilder::evaluation(const DevicePart& part, int index) {
  if (part.count == 0) return {};
  gather(KernelId::gather_evaluation, part, index);
  pack();
  for (const Step& step : plan_.steps) forward(step);
  loss(index, part.count);
  return take();
}

std::int64_t ProgramBuilder::tallies(int part) const {
  return memory_.class_tallies + std::int64_t{part} * plan_.data.classes * 2 * 8;
}

void ProgramBuilder::gather(KernelId kernel, const DevicePart& part, int index) {
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

void ProgramBuilder::loss(int part, std::int64_t samples) {
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

void ProgramBuilder::update() {
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
  add(KernelId::norm_of_gradients, blocks(a.count, kSquareChunk), 1, kThreads, kSumSharedBytes, a);
  add(KernelId::update, blocks(a.count + (memory_.averages ? a.state_count : 0), kThreads), 1,
      kThreads, 0, a);
}

void ProgramBuilder::pack() {
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

void ProgramBuilder::sum_gradients() {
  table(KernelId::sum_partials, kSumSharedBytes, sums_,
        [](const SumEntry& sum) { return blocks(sum.count, sum.bias ? kChannelLanes : kThreads); });
}

Program make_program(const Plan& plan, const DeviceMemory& memory, const DeviceData& data) {
  Program program;
  program.train = ProgramBuilder(plan, memory, data, true).training();
  program.validate = ProgramBuilder(plan, memory, data, false).evaluation(data.validation, 0);
  program.test = ProgramBuilder(plan, memory, data, false).evaluation(data.test, 1);
  return program;
}

void bind(std::vector<Launch>& launches, const Group& group, int trials) {
  for (Launch& launch : launches) launch.bind(group, trials);
}

}  // namespace brood::cnn::cuda
