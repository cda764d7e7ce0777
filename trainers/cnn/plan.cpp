#include "trainers/cnn/plan.h"

#include <algorithm>

#include "engine/error.h"

namespace brood::cnn {

namespace {

// What one side of an image becomes under a window; padding is what lies before the first pixel.
struct Side {
  int size = 0, padding = 0;
};

Side slide(int input, int window, int stride, bool same) {
  if (!same) return {input < window ? 0 : (input - window) / stride + 1, 0};
  const int size = (input + stride - 1) / stride;
  return {size, std::max(0, (size - 1) * stride + window - input) / 2};
}

std::string text(const Shape& shape) {
  return std::to_string(shape.height) + "x" + std::to_string(shape.width);
}

class Builder {
 public:
  Builder(Plan& plan, bool he, bool direct) : plan_(plan), he_(he), direct_(direct) {}

  void layer(const LayerSpec& layer, int index) {
    prefix_ = "layers." + std::to_string(index) + ".";
    switch (layer.kind) {
      case LayerKind::conv:
        return conv(layer);
      case LayerKind::max_pool:
        return pool(layer, Step::Op::max_pool);
      case LayerKind::avg_pool:
        return pool(layer, Step::Op::avg_pool);
      case LayerKind::global_avg_pool: {
        const int channels = shape().channels;
        add(layer, Step::Op::global_avg_pool, {1, 1, channels});
        return;
      }
      case LayerKind::batch_norm:
        return batch_norm(layer, false);
      case LayerKind::dropout: {
        Step& step = add(layer, Step::Op::dropout, shape());
        step.rate = layer.rate;
        step.stream = ++streams_;
        return;
      }
      case LayerKind::dense:
        return dense(layer, Parameter::Start::he, "dense");
      case LayerKind::activation:
        add(layer, Step::Op::relu, shape());
        return;
      case LayerKind::flatten:
        return;  // a dense layer reads any shape
    }
  }

  void classifier(int classes) {
    prefix_.clear();
    LayerSpec last;
    last.kind = LayerKind::dense;
    last.columns = classes;
    dense(last, Parameter::Start::linear, "classifier");
  }

 private:
  const Shape& shape() const { return plan_.tensors.back(); }

  Step& add(const LayerSpec& layer, Step::Op op, Shape output) {
    Step step;
    step.op = op;
    step.pointer = layer.pointer;
    step.inputs = {static_cast<int>(plan_.tensors.size()) - 1};
    step.output = static_cast<int>(plan_.tensors.size());
    plan_.tensors.push_back(output);
    plan_.steps.push_back(step);
    return plan_.steps.back();
  }

  int parameter(const std::string& name, std::vector<std::int64_t> dimensions,
                Parameter::Start start, bool normalised = false) {
    Parameter out;
    out.name = prefix_ + name;
    out.weight = dimensions.size() > 1;
    out.columns = static_cast<int>(dimensions.back());
    for (std::size_t i = 0; i + 1 < dimensions.size(); ++i) out.inputs *= dimensions[i];
    out.shape = std::move(dimensions);
    // A bias follows its weight; the other vectors are not drawn.
    if (out.weight)
      out.fan_in = out.inputs;
    else if (!normalised)
      out.fan_in = plan_.parameters.back().fan_in;
    out.start = he_ || normalised ? start : Parameter::Start::bound;
    plan_.parameter_count += out.inputs * out.columns;
    plan_.parameters.push_back(std::move(out));
    return static_cast<int>(plan_.parameters.size()) - 1;
  }

  void count_flops(double multiplications) {
    const bool first = plan_.forward_flops == 0.0;
    plan_.forward_flops += 2 * multiplications;
    // No gradient by the image itself.
    plan_.training_flops += 2 * multiplications * (first ? 2 : 3);
  }

  void conv(const LayerSpec& layer) {
    const Shape in = shape();
    const Side rows = slide(in.height, layer.height, layer.stride_height, layer.same);
    const Side columns = slide(in.width, layer.width, layer.stride_width, layer.same);
    if (rows.size < 1 || columns.size < 1) return impossible(layer, in);
    Step& step = add(layer, Step::Op::conv, {rows.size, columns.size, layer.columns});
    window(step, layer, rows, columns);
    step.direct = direct_;
    step.relu = layer.relu && !layer.batch_norm;
    step.weight = parameter("conv.weight", {layer.height, layer.width, in.channels, layer.columns},
                            Parameter::Start::he);
    // Batch norm subtracts the mean: a bias before it would have no effect.
    if (!layer.batch_norm)
      step.bias = parameter("conv.bias", {layer.columns}, Parameter::Start::zero);
    count_flops(static_cast<double>(shape().count()) * layer.height * layer.width * in.channels);
    if (layer.batch_norm) batch_norm(layer, layer.relu);
  }

  void dense(const LayerSpec& layer, Parameter::Start start, const std::string& name) {
    const std::int64_t inputs = shape().count();
    Step& step = add(layer, Step::Op::dense, {1, 1, layer.columns});
    step.relu = layer.relu && !layer.batch_norm;
    step.weight = parameter(name + ".weight", {inputs, layer.columns}, start);
    if (!layer.batch_norm)
      step.bias = parameter(name + ".bias", {layer.columns}, Parameter::Start::zero);
    count_flops(static_cast<double>(inputs) * layer.columns);
    if (layer.batch_norm) batch_norm(layer, layer.relu);
  }

  void batch_norm(const LayerSpec& layer, bool relu) {
    const std::int64_t channels = shape().channels;
    Step& step = add(layer, Step::Op::batch_norm, shape());
    step.relu = relu;
    step.weight = parameter("batch_norm.scale", {channels}, Parameter::Start::one, true);
    step.bias = parameter("batch_norm.shift", {channels}, Parameter::Start::zero, true);
    step.state = static_cast<int>(plan_.states.size());
    for (const char* name : {"batch_norm.mean", "batch_norm.variance"}) {
      Parameter state;
      state.name = prefix_ + name;
      state.shape = {channels};
      state.columns = static_cast<int>(channels);
      state.start = plan_.states.size() % 2 == 0 ? Parameter::Start::zero : Parameter::Start::one;
      plan_.states.push_back(std::move(state));
    }
  }

  void pool(const LayerSpec& layer, Step::Op op) {
    const Shape in = shape();
    const Side rows = slide(in.height, layer.height, layer.stride_height, layer.same);
    const Side columns = slide(in.width, layer.width, layer.stride_width, layer.same);
    if (rows.size < 1 || columns.size < 1) return impossible(layer, in);
    window(add(layer, op, {rows.size, columns.size, in.channels}), layer, rows, columns);
  }

  static void window(Step& step, const LayerSpec& layer, const Side& rows, const Side& columns) {
    step.kernel_height = layer.height;
    step.kernel_width = layer.width;
    step.stride_height = layer.stride_height;
    step.stride_width = layer.stride_width;
    step.pad_top = rows.padding;
    step.pad_left = columns.padding;
  }

  void impossible(const LayerSpec& layer, const Shape& in) {
    plan_.infeasible_pointer = layer.pointer;
    plan_.infeasible = "a window of " + text({layer.height, layer.width, 1}) +
                       " leaves nothing of an image of " + text(in) +
                       "; use fewer or smaller windows, or \"padding\": \"same\"";
  }

  Plan& plan_;
  const bool he_, direct_;
  std::string prefix_;
  std::uint32_t streams_ = 0;
};

}  // namespace

double Plan::total_flops(int epochs, bool evaluate_test) const {
  const auto evaluated = static_cast<double>(data.validation + (evaluate_test ? data.test : 0));
  return epochs * (training_flops * static_cast<double>(data.train) + forward_flops * evaluated);
}

Plan make_plan(const NetworkSpec& spec, const DataShape& data) {
  Plan plan;
  plan.data = data;
  plan.batch_size = static_cast<int>(std::clamp<std::int64_t>(data.train, 1, spec.batch_size));
  plan.tensors.push_back({data.height, data.width, data.channels});
  Builder builder(plan, spec.initialization == Initialization::he, spec.direct_kernels);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    builder.layer(spec.layers[i], static_cast<int>(i));
    if (!plan.infeasible.empty()) return plan;
  }
  builder.classifier(data.classes);
  for (const Step& step : plan.steps)
    CHECK(step.inputs.size() == 1, "every step of today has one input");
  return plan;
}

}  // namespace brood::cnn
