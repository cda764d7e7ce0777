#include "trainers/cnn/memory.h"

#include <algorithm>

#include "trainers/cnn/fusion.h"
#include "trainers/cnn/kernels.h"
#include "trainers/cnn/layers.h"
#include "trainers/cnn/sparse_gradient.h"
#include "trainers/cnn/winograd.h"

namespace brood::cnn {

namespace {

struct Halo {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;

  void cover(const Halo& other) {
    top = std::max(top, other.top);
    left = std::max(left, other.left);
    bottom = std::max(bottom, other.bottom);
    right = std::max(right, other.right);
  }
};

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// What a convolution reads beyond the edges of its input.
Halo input_halo(const Step& step, const Shape& in, const Shape& out) {
  if (uses_winograd(step, in, out)) {
    const int kernel = step.kernel_height;
    return {step.pad_top, step.pad_left,
            winograd_after(kernel, out.height, step.pad_top, in.height),
            winograd_after(kernel, out.width, step.pad_left, in.width)};
  }
  const auto after = [](int outputs, int stride, int kernel, int padding, int input) {
    return std::max<std::int64_t>(0, std::int64_t{outputs - 1} * stride + kernel - padding - input);
  };
  return {step.pad_top, step.pad_left,
          after(out.height, step.stride_height, reach(step.kernel_height, step.dilation_height),
                step.pad_top, in.height),
          after(out.width, step.stride_width, reach(step.kernel_width, step.dilation_width),
                step.pad_left, in.width)};
}

// What its gradient by the input reads beyond the edges of the gradient of its output.
Halo output_halo(const Step& step, const Shape& in, const Shape& out) {
  if (uses_winograd(step, in, out)) {
    const int kernel = step.kernel_height;
    const int top = kernel - 1 - step.pad_top, left = kernel - 1 - step.pad_left;
    // The gradient by weights reads whole tiles of it.
    return {top, left,
            std::max(winograd_after(kernel, in.height, top, out.height),
                     winograd_after(1, out.height, 0, out.height)),
            std::max(winograd_after(kernel, in.width, left, out.width),
                     winograd_after(1, out.width, 0, out.width))};
  }
  const auto before = [](int stride, int kernel, int padding) {
    return std::max(0, (kernel - 1 - padding) / stride);
  };
  const auto after = [](int outputs, int stride, int padding, int input) {
    return std::max(0, (input - 1 + padding) / stride - (outputs - 1));
  };
  return {before(step.stride_height, reach(step.kernel_height, step.dilation_height), step.pad_top),
          before(step.stride_width, reach(step.kernel_width, step.dilation_width), step.pad_left),
          after(out.height, step.stride_height, step.pad_top, in.height),
          after(out.width, step.stride_width, step.pad_left, in.width)};
}

class Planner {
 public:
  Planner(const Plan& plan, int moments, bool averages) : plan_(plan) {
    out_.tensors.resize(plan.tensors.size());
    out_.steps.resize(plan.steps.size());
    find_masks();
    place_parameters(moments, averages);
    place_tensors();
    out_.scratch_offset = reserve(scratch_floats());
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      place_step(plan.steps[i], out_.steps[i]);
      if (taken_by_norm(plan, i)) out_.steps[i - 1].largest = reserve(pixels_of(plan.steps[i]));
    }
    // Tiles read and write whole panels; the last one may end beyond its array.
    reserve(64);
    out_.floats = used_;
    const auto too_much = [](std::int64_t count) { return count > (std::int64_t{1} << 31) - 1; };
    for (const TensorMemory& tensor : out_.tensors)
      if (too_much(tensor.value.image) || too_much(tensor.value.image * plan.batch_size))
        out_.too_large = "the activations of one layer take more than 8 GiB";
  }

  Memory take() { return std::move(out_); }

 private:
  std::int64_t reserve(std::int64_t floats) {
    const std::int64_t start = used_;
    used_ += round_up(floats, 16);
    return start;
  }

  static std::int64_t place(const std::vector<Parameter>& list,
                            std::vector<ParameterMemory>& places) {
    std::int64_t offset = 0;
    for (const Parameter& parameter : list) {
      const std::int64_t size = parameter.weight
                                    ? parameter.inputs * panels(parameter.columns) * kPanel
                                    : round_up(parameter.columns, kPanel);
      places.push_back({offset, size});
      offset += size;
    }
    return offset;
  }

  void place_parameters(int moments, bool averages) {
    out_.parameter_floats = place(plan_.parameters, out_.parameters);
    out_.state_floats = place(plan_.states, out_.states);
    out_.parameter_offset = reserve(out_.parameter_floats);
    out_.gradient_offset = reserve(out_.parameter_floats);
    out_.moment_offset = reserve(out_.parameter_floats * moments);
    out_.state_offset = reserve(out_.state_floats);
    out_.average_offset = reserve(averages ? out_.parameter_floats : 0);
    out_.state_average_offset = reserve(averages ? out_.state_floats : 0);
  }

  // Without its place.
  static Layout lay(const Shape& shape, int pixel, const Halo& halo) {
    Layout out;
    out.shape = shape;
    out.pixel = pixel;
    out.row = (shape.width + halo.left + halo.right) * pixel;
    // An odd number of cache lines: images a power of two apart would share cache sets.
    out.image = (round_up((shape.height + halo.top + halo.bottom) * out.row, 16) / 16 | 1) * 16;
    out.before = halo.top * out.row + halo.left * pixel;
    return out;
  }

  // The step during whose backward pass that of step s is computed.
  int computed_back(int step) const {
    auto s = static_cast<std::size_t>(step);
    if (taken_by_norm(plan_, s)) --s;
    if (s > 0 && has_norm_behind(plan_, s - 1)) --s;
    return static_cast<int>(s);
  }

  // Images of a tensor's gradient that are there at a time.
  int gradient_images(std::size_t tensor) const {
    for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
      const Step& step = plan_.steps[s];
      if (step.output != static_cast<int>(tensor) || !has_norm_behind(plan_, s)) continue;
      return std::min(
          plan_.batch_size,
          images_at_a_time(step, plan_.tensors[static_cast<std::size_t>(step.inputs.front())],
                           plan_.tensors[tensor]));
    }
    return plan_.batch_size;
  }

  // Images of a tensor that are there at a time.
  int value_images(std::size_t tensor) const {
    for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
      const Step& step = plan_.steps[s];
      if (step.inputs.front() != static_cast<int>(tensor) || norm_before(plan_, s) < 0) continue;
      return std::min(plan_.batch_size,
                      images_at_a_time(step, plan_.tensors[tensor],
                                       plan_.tensors[static_cast<std::size_t>(step.output)]));
    }
    return plan_.batch_size;
  }

  static bool reads(const Step& step, std::size_t tensor) {
    return std::count(step.inputs.begin(), step.inputs.end(), static_cast<int>(tensor)) > 0;
  }

  // A max pool that alone reads what a step with a ReLU makes masks its gradient, unless a batch
  // norm does both.
  void find_masks() {
    for (std::size_t pool = 0; pool < plan_.steps.size(); ++pool) {
      const auto input = static_cast<std::size_t>(plan_.steps[pool].inputs.front());
      std::ptrdiff_t readers = 0;
      for (const Step& step : plan_.steps)
        readers += std::count(step.inputs.begin(), step.inputs.end(), static_cast<int>(input));
      if (plan_.steps[pool].op != Step::Op::max_pool || readers != 1) continue;
      if (taken_by_norm(plan_, pool)) continue;
      for (std::size_t made = 0; made < plan_.steps.size(); ++made)
        if (plan_.steps[made].output == static_cast<int>(input) && plan_.steps[made].relu)
          out_.steps[pool].mask_input = out_.steps[made].dy_masked = true;
    }
  }

  // Whether the backward pass of a step looks at its output, and at the values of its inputs.
  static bool needs_output(const Step& step, const StepMemory& memory) {
    switch (step.op) {
      case Step::Op::conv:
        return step.relu && !memory.dy_masked;
      case Step::Op::max_pool:
        return memory.mask_input;
      case Step::Op::activation:
        return step.activation != Activation::gelu && step.activation != Activation::silu;
      case Step::Op::batch_norm:  // finds the ReLU's side from the input
        return false;
      default:
        return step.relu;
    }
  }
  static bool needs_inputs(const Step& step) {
    switch (step.op) {
      case Step::Op::max_pool:
      case Step::Op::avg_pool:
      case Step::Op::global_avg_pool:
      case Step::Op::dropout:
      case Step::Op::add:
      case Step::Op::concat:
        return false;
      case Step::Op::activation:
        return step.activation == Activation::gelu || step.activation == Activation::silu;
      default:
        return true;
    }
  }

  bool passes(std::size_t tensor) const {
    if (tensor == 0 || tensor + 1 == plan_.tensors.size()) return false;
    for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
      const Step& step = plan_.steps[s];
      if (reads(step, tensor) && needs_inputs(step)) return false;
      if (step.output == static_cast<int>(tensor) && needs_output(step, out_.steps[s]))
        return false;
    }
    return true;
  }

  // What lives for a while: gradients, spare ones, and the values that no backward pass reads.
  struct Life {
    std::int64_t* offset;
    std::int64_t before;
    int first, last;  // times: the steps forward, then the steps backward
    std::int64_t size, start = 0;
  };

  std::vector<Life> lives() {
    const int steps = static_cast<int>(plan_.steps.size()), end = 2 * steps;
    std::vector<Life> out;
    for (std::size_t t = 0; t < out_.tensors.size(); ++t) {
      TensorMemory& tensor = out_.tensors[t];
      int made = 0, last_reader = -1;
      for (int s = 0; s < steps; ++s) {
        const Step& step = plan_.steps[static_cast<std::size_t>(s)];
        if (step.output == static_cast<int>(t)) made = s;
        if (reads(step, t)) last_reader = s;
      }
      if (passes(t))
        out.push_back({&tensor.value.offset, tensor.value.before,
                       made - (taken_by_norm(plan_, static_cast<std::size_t>(made)) ? 1 : 0),
                       last_reader, tensor.value.image * tensor.value_images});
      if (!tensor.needs_gradient) continue;
      tensor.gradient_birth = last_reader;
      // The loss writes only the classes of the logits' gradient: its other lanes must stay zero.
      const bool logits = last_reader < 0;
      tensor.gradient_images = gradient_images(t);
      const std::int64_t size = tensor.gradient.image * tensor.gradient_images;
      out.push_back({&tensor.gradient.offset, tensor.gradient.before,
                     logits ? 0 : end - 1 - last_reader,
                     logits ? end : end - 1 - computed_back(made), size});
      for (int s = 0; s < last_reader; ++s) {
        const auto reader = static_cast<std::size_t>(s);
        if (reads(plan_.steps[reader], t))
          out.push_back(
              {&out_.steps[reader].spare, tensor.gradient.before, end - 1 - s, end - 1 - s, size});
      }
    }
    return out;
  }

  // The largest first, each at the lowest place that no other of its time takes.
  void place_lives() {
    std::vector<Life> all = lives();
    std::stable_sort(all.begin(), all.end(),
                     [](const Life& a, const Life& b) { return a.size > b.size; });
    std::vector<Life> placed;  // by start
    std::int64_t size = 0;
    for (Life& life : all) {
      for (const Life& other : placed)
        if (other.first <= life.last && life.first <= other.last &&
            other.start < life.start + life.size && life.start < other.start + other.size)
          life.start = other.start + other.size;
      size = std::max(size, life.start + life.size);
      placed.insert(
          std::upper_bound(placed.begin(), placed.end(), life,
                           [](const Life& a, const Life& b) { return a.start < b.start; }),
          life);
    }
    const std::int64_t base = reserve(size);
    for (const Life& life : placed) *life.offset = base + life.start + life.before;
  }

  void place_tensors() {
    const std::size_t count = plan_.tensors.size();
    std::vector<Halo> value(count), gradient(count);
    bool exact_image = true;  // the image needs no padded channels when only products read it
    for (const Step& step : plan_.steps) {
      const auto in = static_cast<std::size_t>(step.inputs.front());
      const auto out = static_cast<std::size_t>(step.output);
      const bool product = step.op == Step::Op::conv || step.op == Step::Op::dense;
      out_.tensors[out].needs_gradient = step.weight >= 0;
      for (const int input : step.inputs) {
        const auto i = static_cast<std::size_t>(input);
        if (i == 0) exact_image = exact_image && product;
        if (out_.tensors[i].needs_gradient) out_.tensors[out].needs_gradient = true;
      }
      if (step.op != Step::Op::conv) continue;
      value[in].cover(input_halo(step, plan_.tensors[in], plan_.tensors[out]));
      if (out_.tensors[in].needs_gradient ||
          uses_winograd(step, plan_.tensors[in], plan_.tensors[out]))
        gradient[out].cover(output_halo(step, plan_.tensors[in], plan_.tensors[out]));
    }
    std::vector<bool> nowhere(count, false);
    for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
      if (!takes_next_pool(plan_, s)) continue;
      const auto between = static_cast<std::size_t>(plan_.steps[s].output);
      nowhere[between] = true;
      out_.tensors[between].needs_gradient = false;
    }
    for (std::size_t t = 0; t < count; ++t) {
      if (nowhere[t]) continue;
      const Shape& shape = plan_.tensors[t];
      const int pixel = t == 0 && exact_image ? shape.channels : padded(shape.channels);
      TensorMemory& tensor = out_.tensors[t];
      tensor.value = lay(shape, pixel, value[t]);
      tensor.value_images = value_images(t);
      if (!passes(t))
        tensor.value.offset =
            reserve(tensor.value.image * tensor.value_images) + tensor.value.before;
      if (!tensor.needs_gradient) continue;
      tensor.gradient = lay(shape, pixel, gradient[t]);
    }
    place_lives();
  }

  // Shared by all steps: packed gradients, transposed weights.
  std::int64_t scratch_floats() const {
    std::int64_t most = 0;
    for (const Step& step : plan_.steps) {
      const Shape& in = plan_.tensors[static_cast<std::size_t>(step.inputs.front())];
      const Shape& out = plan_.tensors[static_cast<std::size_t>(step.output)];
      const std::int64_t packed = std::int64_t{panels(out.channels)} * kPanel;
      std::int64_t need = 0;
      if (step.op == Step::Op::conv && uses_winograd(step, in, out))
        need = winograd_scratch(step, in, out);
      else if (step.op == Step::Op::conv)
        need = packed * out.height * out.width + std::int64_t{panels(in.channels)} * kPanel *
                                                     step.kernel_height * step.kernel_width *
                                                     out.channels;
      else if (step.op == Step::Op::dense)
        need = std::max({packed * plan_.batch_size, std::int64_t{kPanel} * out.channels,
                         SparseGradient::kScratch});
      else if (step.op == Step::Op::depthwise_conv)
        need = 2 * packed * step.kernel_height * step.kernel_width;
      else if (step.op == Step::Op::gate)
        need = 2 * packed;
      most = std::max(most, need);
    }
    return most;
  }

  // Numbers that a step makes, without halos.
  std::int64_t pixels_of(const Step& step) const {
    const Shape& out = plan_.tensors[static_cast<std::size_t>(step.output)];
    return std::int64_t{plan_.batch_size} * out.height * out.width * padded(out.channels);
  }

  void place_step(const Step& step, StepMemory& memory) {
    const Shape& in = plan_.tensors[static_cast<std::size_t>(step.inputs.front())];
    const Shape& out = plan_.tensors[static_cast<std::size_t>(step.output)];
    if (step.op == Step::Op::batch_norm)
      memory.saved = reserve(kNormArrays * std::int64_t{panels(out.channels)} * kPanel);
    if (step.op == Step::Op::dropout || step.op == Step::Op::max_pool) {
      memory.bytes = out_.byte_count;
      out_.byte_count += round_up(pixels_of(step), 64);
    }
    if (step.op == Step::Op::conv && !uses_winograd(step, in, out))
      out_.table_bytes +=
          8 * (std::int64_t{out.height} * out.width + std::int64_t{in.height} * in.width +
               std::int64_t{2} * step.kernel_height * step.kernel_width);
    if (step.op == Step::Op::dense && may_be_sparse(in, out))
      out_.table_bytes += SparseGradient::bytes(plan_.batch_size, out.channels);
  }

  const Plan& plan_;
  Memory out_;
  std::int64_t used_ = 0;
};

}  // namespace

std::uint64_t Memory::total_bytes() const {
  return static_cast<std::uint64_t>(floats * 4 + byte_count + table_bytes);
}

Memory make_memory(const Plan& plan, int moments, bool averages) {
  return Planner(plan, moments, averages).take();
}

int moment_count(const OptimizerSpec& optimizer) {
  const int momentum = optimizer.momentum > 0.0 ? 1 : 0;
  if (optimizer.kind == OptimizerSpec::Kind::sgd) return momentum;
  return optimizer.kind == OptimizerSpec::Kind::rmsprop ? 1 + momentum : 2;
}

}  // namespace brood::cnn
