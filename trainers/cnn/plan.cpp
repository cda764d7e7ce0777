#include "trainers/cnn/plan.h"

#include <algorithm>

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

  // Stops at the first layer that cannot be.
  void list(const std::vector<LayerSpec>& layers, const std::string& prefix) {
    for (std::size_t i = 0; i < layers.size() && plan_.infeasible.empty(); ++i) {
      prefix_ = prefix + std::to_string(i) + ".";
      layer(layers[i]);
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
  void layer(const LayerSpec& layer) {
    switch (layer.kind) {
      case LayerKind::conv:
        return conv(layer);
      case LayerKind::depthwise_conv:
        return depthwise_conv(layer);
      case LayerKind::max_pool:
        return pool(layer, Step::Op::max_pool);
      case LayerKind::avg_pool:
        return pool(layer, Step::Op::avg_pool);
      case LayerKind::global_avg_pool:
        add(layer, Step::Op::global_avg_pool, {1, 1, shape().channels});
        return;
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
        return activation(layer);
      case LayerKind::flatten:
        return;  // a dense layer reads any shape
      case LayerKind::squeeze_excite:
        return squeeze_excite(layer);
      case LayerKind::residual:
        return residual(layer);
      case LayerKind::branches:
        return branches(layer);
    }
  }

  const Shape& shape() const { return shape(current_); }
  const Shape& shape(int tensor) const { return plan_.tensors[static_cast<std::size_t>(tensor)]; }

  // Of the tensor that the layers before have made; its output takes that place.
  Step& add(const LayerSpec& layer, Step::Op op, Shape output) {
    Step step;
    step.op = op;
    step.pointer = layer.pointer;
    step.inputs = {current_};
    step.output = current_ = static_cast<int>(plan_.tensors.size());
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

  static bool relu(const LayerSpec& layer) { return layer.activation == Activation::relu; }

  // What is left to do after the product of a layer; a ReLU is part of the step before.
  void finish(const LayerSpec& layer) {
    if (layer.batch_norm) batch_norm(layer, relu(layer));
    if (layer.activation != Activation::none && !relu(layer)) activation(layer);
  }

  void activation(const LayerSpec& layer) {
    Step& step = add(layer, Step::Op::activation, shape());
    step.activation = layer.activation;
    step.slope = layer.slope;
  }

  void conv(const LayerSpec& layer) {
    const Shape in = shape();
    Step* step = windowed(layer, Step::Op::conv, layer.columns);
    if (!step) return;
    step->direct = direct_;
    step->relu = relu(layer) && !layer.batch_norm;
    step->weight = parameter("conv.weight", {layer.height, layer.width, in.channels, layer.columns},
                             Parameter::Start::he);
    // Batch norm subtracts the mean: a bias before it would have no effect.
    if (!layer.batch_norm)
      step->bias = parameter("conv.bias", {layer.columns}, Parameter::Start::zero);
    finish(layer);
  }

  void depthwise_conv(const LayerSpec& layer) {
    const int channels = shape().channels;
    Step* step = windowed(layer, Step::Op::depthwise_conv, channels);
    if (!step) return;
    step->relu = relu(layer) && !layer.batch_norm;
    step->weight = parameter("depthwise_conv.weight", {layer.height, layer.width, channels},
                             Parameter::Start::he);
    if (!layer.batch_norm)
      step->bias = parameter("depthwise_conv.bias", {channels}, Parameter::Start::zero);
    finish(layer);
  }

  void dense(const LayerSpec& layer, Parameter::Start start, const std::string& name) {
    const std::int64_t inputs = shape().count();
    Step& step = add(layer, Step::Op::dense, {1, 1, layer.columns});
    step.relu = relu(layer) && !layer.batch_norm;
    step.weight = parameter(name + ".weight", {inputs, layer.columns}, start);
    if (!layer.batch_norm)
      step.bias = parameter(name + ".bias", {layer.columns}, Parameter::Start::zero);
    finish(layer);
  }

  // The mean of each channel, through two dense layers, says how much of the channel passes.
  void squeeze_excite(const LayerSpec& layer) {
    const int whole = current_;
    const Shape in = shape();
    add(layer, Step::Op::global_avg_pool, {1, 1, in.channels});
    LayerSpec part;
    part.pointer = layer.pointer;
    part.columns = std::max(1, in.channels / layer.ratio);
    part.activation = Activation::relu;
    dense(part, Parameter::Start::he, "squeeze_excite.reduce");
    part.columns = in.channels;
    part.activation = Activation::none;
    dense(part, Parameter::Start::linear, "squeeze_excite.expand");
    const int gate = current_;
    add(layer, Step::Op::gate, in).inputs = {whole, gate};
  }

  void residual(const LayerSpec& layer) {
    const int entry = current_;
    const std::string prefix = prefix_;
    list(layer.bodies.front(), prefix + "residual.");
    if (!plan_.infeasible.empty()) return;
    const int body = current_;
    int shortcut = entry;
    if (shape(entry) != shape(body)) {
      current_ = entry;
      prefix_ = prefix + "projection.";
      if (!project(layer, shape(body))) return;
      shortcut = current_;
    }
    const Shape out = shape(body);
    Step& step = add(layer, Step::Op::add, out);
    step.inputs = {body, shortcut};
    step.relu = relu(layer);
    if (layer.activation != Activation::none && !step.relu) activation(layer);
  }

  // The smallest stride that makes `out` pixels of `in`; 0: there is none.
  static int stride_between(int in, int out) {
    for (int stride = 1; stride <= in; ++stride)
      if ((in + stride - 1) / stride == out) return stride;
    return 0;
  }

  // A convolution of single pixels and a batch norm, as in the residual networks' paper.
  bool project(const LayerSpec& layer, const Shape out) {
    LayerSpec projection;
    projection.kind = LayerKind::conv;
    projection.pointer = layer.pointer;
    projection.columns = out.channels;
    projection.same = projection.batch_norm = true;
    projection.stride_height = stride_between(shape().height, out.height);
    projection.stride_width = stride_between(shape().width, out.width);
    if (projection.stride_height == 0 || projection.stride_width == 0) {
      impossible(layer, "the body makes an image of " + text(out) + " of one of " + text(shape()) +
                            ", and no stride does the same for the input beside it; use "
                            "\"padding\": \"same\" inside the body");
      return false;
    }
    conv(projection);
    return true;
  }

  void branches(const LayerSpec& layer) {
    const int entry = current_;
    const std::string prefix = prefix_;
    std::vector<int> ends;
    Shape out;
    for (std::size_t i = 0; i < layer.bodies.size(); ++i) {
      current_ = entry;
      list(layer.bodies[i], prefix + "branches." + std::to_string(i) + ".");
      if (!plan_.infeasible.empty()) return;
      if (i == 0) {
        out = shape();
      } else if (shape().height != out.height || shape().width != out.width) {
        return impossible(layer, "the branches make images of " + text(out) + " and " +
                                     text(shape()) +
                                     ", which cannot lie side by side; give them "
                                     "the same strides and paddings");
      } else {
        out.channels += shape().channels;
      }
      ends.push_back(current_);
    }
    add(layer, Step::Op::concat, out).inputs = ends;
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

  void pool(const LayerSpec& layer, Step::Op op) { windowed(layer, op, shape().channels); }

  // nullptr: the window leaves nothing.
  Step* windowed(const LayerSpec& layer, Step::Op op, int channels) {
    const Shape in = shape();
    const int height = reach(layer.height, layer.dilation_height);
    const int width = reach(layer.width, layer.dilation_width);
    const Side rows = slide(in.height, height, layer.stride_height, layer.same);
    const Side columns = slide(in.width, width, layer.stride_width, layer.same);
    if (rows.size < 1 || columns.size < 1) {
      impossible(layer, "a window of " + text({height, width, 1}) +
                            " leaves nothing of an image of " + text(in) +
                            "; use fewer or smaller windows, or \"padding\": \"same\"");
      return nullptr;
    }
    Step& step = add(layer, op, {rows.size, columns.size, channels});
    step.kernel_height = layer.height;
    step.kernel_width = layer.width;
    step.stride_height = layer.stride_height;
    step.stride_width = layer.stride_width;
    step.dilation_height = layer.dilation_height;
    step.dilation_width = layer.dilation_width;
    step.pad_top = rows.padding;
    step.pad_left = columns.padding;
    return &step;
  }

  void impossible(const LayerSpec& layer, const std::string& why) {
    plan_.infeasible_pointer = layer.pointer;
    plan_.infeasible = why;
  }

  Plan& plan_;
  const bool he_, direct_;
  std::string prefix_;
  int current_ = 0;  // tensor
  std::uint32_t streams_ = 0;
};

void count_flops(Plan& plan) {
  std::vector<bool> needs_gradient(plan.tensors.size(), false);
  for (const Step& step : plan.steps) {
    const auto first = static_cast<std::size_t>(step.inputs.front());
    const auto output = static_cast<std::size_t>(step.output);
    needs_gradient[output] = step.weight >= 0;
    for (const int input : step.inputs)
      if (needs_gradient[static_cast<std::size_t>(input)]) needs_gradient[output] = true;
    const Shape &in = plan.tensors[first], &out = plan.tensors[output];
    const double places = static_cast<double>(step.kernel_height) * step.kernel_width;
    double products = 0.0;
    if (step.op == Step::Op::conv)
      products = static_cast<double>(out.count()) * places * in.channels;
    else if (step.op == Step::Op::depthwise_conv)
      products = static_cast<double>(out.count()) * places;
    else if (step.op == Step::Op::dense)
      products = static_cast<double>(in.count()) * out.channels;
    plan.forward_flops += 2 * products;
    plan.training_flops += 2 * products * (needs_gradient[first] ? 3 : 2);
  }
}

// A change that may leave nothing of an image is not one to learn from.
void check_augment(const NetworkSpec& spec, Plan& plan) {
  const int side = std::min(plan.data.height, plan.data.width);
  for (const AugmentSpec& change : spec.augment) {
    if (change.pixels < side) continue;
    plan.infeasible_pointer = change.pointer;
    plan.infeasible = std::to_string(change.pixels) + " pixels may leave nothing of an image of " +
                      text(plan.tensors.front()) + "; use fewer";
    return;
  }
}

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
  check_augment(spec, plan);
  if (!plan.infeasible.empty()) return plan;
  Builder builder(plan, spec.initialization == Initialization::he, spec.direct_kernels);
  builder.list(spec.layers, "layers.");
  if (!plan.infeasible.empty()) return plan;
  builder.classifier(data.classes);
  count_flops(plan);
  return plan;
}

}  // namespace brood::cnn
