#include "trainers/cnn/cuda/device_memory.h"

#include <algorithm>

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/norm_fusion.h"

namespace brood::cnn::cuda {

namespace {

constexpr std::int64_t kAlignment = 256;

std::int64_t rounded(std::int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::int64_t chunks(std::int64_t items, std::int64_t chunk) { return (items + chunk - 1) / chunk; }

std::size_t z(std::int64_t value) { return static_cast<std::size_t>(value); }

class Builder {
 public:
  Builder(const Plan& plan, DeviceMemory& memory)
      : plan_(plan), out_(memory), element_(memory.precision == Precision::fp32 ? 4 : 2) {}

  void build() {
    out_.state = add(sizeof(SlotState));
    out_.dropouts = add(static_cast<std::int64_t>(sizeof(SlotDropout)) * count_of_dropouts());
    out_.order_stride = plan_.data.train;
    out_.order = add(2 * 4 * plan_.data.train);
    out_.class_tallies = add(std::int64_t{2 * 2 * 8} * plan_.data.classes);
    parameters();
    std::vector<bool> stored(plan_.tensors.size(), true);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
      if (out_.paired[i] >= 0 || out_.norms[i].at_readers) stored[z(plan_.steps[i].output)] = false;
    for (std::size_t t = 0; t < plan_.tensors.size(); ++t) {
      out_.values.push_back(tensor(plan_.tensors[t]));
      if (stored[t]) out_.values.back().offset = add(bytes_of(out_.values.back()));
    }
    gradient_partials();
    slopes();
    for (const Step& step : plan_.steps) saved(step);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const bool pool = out_.paired[i] >= 0 && out_.norms[i].slopes >= 0 &&
                        plan_.steps[z(out_.paired[i])].op == Step::Op::max_pool;
      out_.selected.push_back(
          pool ? add(bytes_of(out_.values[z(plan_.steps[z(out_.paired[i])].output)])) : -1);
    }
    for (const Step& step : plan_.steps) packed(step);
    out_.draws = add(batch() * static_cast<std::int64_t>(sizeof(Draw)));
    out_.labels = add(batch() * static_cast<std::int64_t>(sizeof(SampleLabel)));
    out_.losses = add(batch() * static_cast<std::int64_t>(sizeof(SampleLoss)));
    out_.partial_bytes = partial_bytes();
    out_.partials = add(out_.partial_bytes);
    out_.norm_partial_bytes = norm_partial_bytes();
    out_.norm_partials = add(out_.norm_partial_bytes);
    out_.slot_bytes = size_;
  }

 private:
  std::int64_t add(std::int64_t bytes) {
    const std::int64_t offset = size_;
    size_ += rounded(bytes);
    return offset;
  }

  std::int64_t batch() const { return plan_.batch_size; }

  std::int64_t count_of_dropouts() const {
    return std::count_if(plan_.steps.begin(), plan_.steps.end(),
                         [](const Step& step) { return step.op == Step::Op::dropout; });
  }

  static std::int64_t place(const std::vector<Parameter>& list, std::vector<std::int64_t>& places) {
    std::int64_t count = 0;
    for (const Parameter& parameter : list) {
      places.push_back(count);
      count += parameter.inputs * parameter.columns;
    }
    return count;
  }

  void parameters() {
    out_.parameter_count = place(plan_.parameters, out_.parameter);
    out_.state_count = place(plan_.states, out_.state_array);
    const std::int64_t bytes = 4 * out_.parameter_count, state_bytes = 4 * out_.state_count;
    out_.parameters = add(bytes);
    out_.gradients = add(bytes);
    for (int i = 0; i < out_.moments; ++i) out_.moment[i] = add(bytes);
    out_.states = add(state_bytes);
    if (!out_.averages) return;
    out_.average = add(bytes);
    out_.average_states = add(state_bytes);
  }

  Tensor tensor(const Shape& shape) const { return tensor_of(shape, out_.precision); }

  std::int64_t bytes_of(const Tensor& t) const {
    return batch() * t.height * t.width * t.pitch * element_;
  }

  // The step in whose backward pass the value and the gradient of a tensor are used for the last
  // time: that which makes it; or the norm that is one with it, which reads what its pair writes;
  // or the one that adds a sum's gradient, which comes last.
  std::vector<int> made() const {
    std::vector<int> out(plan_.tensors.size(), -1);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
      out[z(plan_.steps[i].output)] = static_cast<int>(i);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
      if (out_.paired[i] >= 0) out[z(plan_.steps[z(out_.paired[i])].output)] = static_cast<int>(i);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
      if (out_.skips[i] >= 0) out[z(plan_.steps[i].output)] = out_.skips[i];
    return out;
  }

  std::int64_t weight_partial_bytes(const Step& step) const {
    if (step.weight < 0 || step.op == Step::Op::batch_norm) return 0;
    const Parameter& weight = plan_.parameters[z(step.weight)];
    const Tensor& y = out_.values[z(step.output)];
    const std::int64_t parts = chunks(batch(), images_per_chunk(y.height * y.width));
    const bool direct = parts == 1 && step.op != Step::Op::depthwise_conv;
    return direct ? 0 : 4 * parts * weight.inputs * weight.columns;
  }
  std::int64_t bias_partial_bytes(const Step& step) const {
    if (step.bias < 0 || step.op == Step::Op::batch_norm) return 0;
    const Tensor& y = out_.values[z(step.output)];
    return 8 * y.channels * chunks(batch() * y.height * y.width, kChunkPixels);
  }

  // All gradients are summed at the end of the backward pass, in one launch. Until then their
  // partial sums lie where the values were that only passes before have read, as the gradients of
  // later layers are computed first: from the end of the values down, and as far beyond it as that
  // is too little.
  void gradient_partials() {
    const auto steps = plan_.steps.size();
    const std::vector<int> last_used = made();
    const auto free_from = [&](std::size_t step) {
      std::int64_t end = out_.values.front().offset;
      for (std::size_t t = 0; t < plan_.tensors.size(); ++t) {
        const Tensor& value = out_.values[t];
        if (value.offset >= 0 && last_used[t] <= static_cast<int>(step))
          end = std::max(end, value.offset + rounded(bytes_of(value)));
      }
      return end;
    };
    std::int64_t taken = 0, more = 0;
    for (std::size_t i = steps; i-- > 0;) {
      const Step& step = plan_.steps[i];
      taken += rounded(bias_partial_bytes(step)) + rounded(weight_partial_bytes(step));
      more = std::max(more, taken - (size_ - free_from(i)));
    }
    add(more);
    std::int64_t end = size_;
    out_.weight_partials.assign(steps, -1);
    out_.bias_partials.assign(steps, -1);
    for (std::size_t i = steps; i-- > 0;) {
      const Step& step = plan_.steps[i];
      if (const std::int64_t bytes = bias_partial_bytes(step); bytes > 0)
        out_.bias_partials[i] = end -= rounded(bytes);
      if (const std::int64_t bytes = weight_partial_bytes(step); bytes > 0)
        out_.weight_partials[i] = end -= rounded(bytes);
    }
  }

  // A gradient lives from the backward pass of the last step that reads its tensor to that of the
  // step that makes it; those that never live at once share memory.
  void slopes() {
    const auto steps = static_cast<int>(plan_.steps.size());
    const std::vector<bool> needed = tensors_with_gradient(plan_);
    const std::vector<int> made = this->made();
    std::vector<int> last_read(plan_.tensors.size(), -1);
    last_read.back() = steps;
    std::vector<bool> stored = needed;
    for (int i = 0; i < steps; ++i) {
      for (const int input : plan_.steps[z(i)].inputs)
        last_read[z(input)] = std::max(last_read[z(input)], i);
      // Nobody reads the gradient of its own values.
      if (out_.paired[z(i)] >= 0) stored[z(plan_.steps[z(i)].output)] = false;
    }
    std::vector<std::size_t> placed;
    std::int64_t end = 0;
    for (const Shape& shape : plan_.tensors) out_.slopes.push_back(tensor(shape));
    for (std::size_t t = plan_.tensors.size(); t-- > 0;) {
      if (!stored[t]) continue;
      std::vector<std::pair<std::int64_t, std::int64_t>> taken;
      for (const std::size_t other : placed)
        if (made[other] <= last_read[t] && made[t] <= last_read[other])
          taken.emplace_back(out_.slopes[other].offset,
                             out_.slopes[other].offset + rounded(bytes_of(out_.slopes[other])));
      std::sort(taken.begin(), taken.end());
      std::int64_t offset = 0;
      const std::int64_t bytes = rounded(bytes_of(out_.slopes[t]));
      for (const auto& [first, last] : taken)
        if (offset + bytes > first) offset = std::max(offset, last);
      out_.slopes[t].offset = offset;
      end = std::max(end, offset + bytes);
      placed.push_back(t);
    }
    const std::int64_t base = add(end);
    for (const std::size_t t : placed) out_.slopes[t].offset += base;
  }

  void saved(const Step& step) {
    std::int64_t bytes = 0;
    if (step.op == Step::Op::batch_norm)
      bytes = std::int64_t{kNormArraysKept} * 4 * out_.values[z(step.output)].channels;
    if (step.op == Step::Op::max_pool) {
      const Tensor& y = out_.values[z(step.output)];
      bytes = batch() * y.height * y.width * y.pitch;
    }
    out_.saved.push_back(bytes > 0 ? add(bytes) : -1);
  }

  void packed(const Step& step) {
    const bool used = uses_tensor_cores(step, out_.precision);
    const Tensor &x = out_.values[z(step.inputs.front())], &y = out_.values[z(step.output)];
    const bool dense = step.op == Step::Op::dense;
    const std::int64_t taps = dense ? std::int64_t{1} * x.height * x.width
                                    : std::int64_t{1} * step.kernel_height * step.kernel_width;
    out_.packed.push_back(used ? add(2 * y.channels * taps * x.pitch) : -1);
    const std::int64_t rows = dense ? taps * x.pitch : taps * x.channels;
    const bool wanted = out_.slopes[z(step.inputs.front())].offset >= 0;
    out_.packed_gradient.push_back(used && wanted ? add(2 * rows * y.pitch) : -1);
  }

  std::int64_t partial_bytes() const { return 8 * chunks(out_.parameter_count, kSquareChunk); }

  // Three sums of a part at most.
  std::int64_t norm_partial_bytes() const {
    std::int64_t most = 0;
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      if (plan_.steps[i].op != Step::Op::batch_norm) continue;
      const Tensor& y = out_.values[z(plan_.steps[i].output)];
      const NormFusion& sums = out_.norms[i];
      const std::int64_t parts =
          std::max<std::int64_t>({chunks(batch() * y.height * y.width, kChunkPixels),
                                  sums.statistics_parts, sums.slopes_parts});
      most = std::max(most, 3 * 8 * y.channels * parts);
    }
    return most;
  }

  const Plan& plan_;
  DeviceMemory& out_;
  const std::int64_t element_;
  std::int64_t size_ = 0;
};

}  // namespace

bool uses_tensor_cores(const Step& step, Precision precision) {
  const bool taps_fit = std::int64_t{1} * step.kernel_height * step.kernel_width <= kTapsMax;
  return precision == Precision::bf16 &&
         (step.op == Step::Op::dense || (step.op == Step::Op::conv && taps_fit));
}

std::vector<bool> tensors_with_gradient(const Plan& plan) {
  std::vector<bool> out(plan.tensors.size(), false);
  for (const Step& step : plan.steps) {
    bool needed = step.weight >= 0;
    for (const int input : step.inputs) needed = needed || out[z(input)];
    out[z(step.output)] = needed;
  }
  return out;
}

Tensor tensor_of(const Shape& shape, Precision precision) {
  const int unit = precision == Precision::fp32 ? 1 : kVectorLanes;
  return {-1, shape.height, shape.width, shape.channels, (shape.channels + unit - 1) / unit * unit};
}

DeviceMemory make_device_memory(const Plan& plan, int moments, bool averages, Precision precision,
                                const Fusion& fusion) {
  DeviceMemory memory;
  memory.paired = pairs_of_norms(plan, fusion);
  memory.norms = fused_norms(plan, memory.paired, precision, fusion);
  memory.skips = skips_of_sums(plan, memory, precision, fusion);
  memory.precision = precision;
  memory.moments = moments;
  memory.averages = averages;
  Builder(plan, memory).build();
  return memory;
}

std::vector<DeviceArray> device_arrays(const Plan& plan, const DeviceMemory& memory,
                                       const OptimizerSpec& optimizer) {
  std::vector<DeviceArray> out;
  const auto add = [&out](const std::vector<Parameter>& list,
                          const std::vector<std::int64_t>& places, std::int64_t base,
                          const std::string& prefix) {
    for (std::size_t i = 0; i < list.size(); ++i)
      out.push_back({prefix + list[i].name, list[i].shape, base + 4 * places[i],
                     list[i].inputs * list[i].columns, prefix.empty() ? &list[i] : nullptr});
  };
  add(plan.parameters, memory.parameter, memory.parameters, "");
  add(plan.states, memory.state_array, memory.states, "");
  // rmsprop keeps the mean square first.
  const char* names[] = {"optimizer.first_moment.", "optimizer.second_moment."};
  if (optimizer.kind == OptimizerSpec::Kind::rmsprop) std::swap(names[0], names[1]);
  for (int i = 0; i < memory.moments; ++i)
    add(plan.parameters, memory.parameter, memory.moment[i], names[i]);
  if (!memory.averages) return out;
  add(plan.parameters, memory.parameter, memory.average, "average.");
  add(plan.states, memory.state_array, memory.average_states, "average.");
  return out;
}

}  // namespace brood::cnn::cuda
