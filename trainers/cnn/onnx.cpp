#include "trainers/cnn/onnx.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <numeric>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "trainers/cnn/protobuf.h"

namespace brood::cnn {

namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

using Dimensions = std::vector<std::int64_t>;

// Field numbers of onnx.proto, by message.
namespace model_proto {
enum { ir_version = 1, producer_name, producer_version, graph = 7, opset_import, metadata = 14 };
}
namespace opset {
enum { domain = 1, version };
}
namespace entry {
enum { key = 1, value };
}
namespace graph_proto {
enum { node = 1, name, initializer = 5, input = 11, output };
}
namespace node_proto {
enum { input = 1, output, name, op_type, attribute };
}
namespace attribute_proto {
enum { name = 1, f, i, ints = 8, type = 20 };
}
namespace attribute_type {
enum { real = 1, whole = 2, wholes = 7 };
}
namespace tensor_proto {
enum { dims = 1, data_type, name = 8, raw_data };
}
namespace data_type {
enum { float32 = 1, int64 = 7 };
}
namespace value_info {
enum { name = 1, type };
}
namespace type_proto {
enum { tensor_type = 1 };
}
namespace tensor_type {
enum { elem_type = 1, shape };
}
namespace tensor_shape {
enum { dim = 1 };
}
namespace dimension {
enum { value = 1, param };
}

ProtoMessage attribute(const std::string& name, int type) {
  ProtoMessage out;
  out.bytes(attribute_proto::name, name);
  out.whole(attribute_proto::type, type);
  return out;
}

ProtoMessage whole(const std::string& name, std::int64_t value) {
  ProtoMessage out = attribute(name, attribute_type::whole);
  out.whole(attribute_proto::i, value);
  return out;
}

ProtoMessage real(const std::string& name, double value) {
  ProtoMessage out = attribute(name, attribute_type::real);
  out.real(attribute_proto::f, static_cast<float>(value));
  return out;
}

ProtoMessage wholes(const std::string& name, const Dimensions& values) {
  ProtoMessage out = attribute(name, attribute_type::wholes);
  for (const std::int64_t value : values) out.whole(attribute_proto::ints, value);
  return out;
}

// A negative side is that of the batch.
ProtoMessage value(const std::string& name, const Dimensions& sides) {
  ProtoMessage shape;
  for (const std::int64_t side : sides) {
    ProtoMessage dim;
    if (side < 0)
      dim.bytes(dimension::param, "N");
    else
      dim.whole(dimension::value, side);
    shape.message(tensor_shape::dim, dim);
  }
  ProtoMessage tensor, type, out;
  tensor.whole(tensor_type::elem_type, data_type::float32);
  tensor.message(tensor_type::shape, shape);
  type.message(type_proto::tensor_type, tensor);
  out.bytes(value_info::name, name);
  out.message(value_info::type, type);
  return out;
}

// values[i] of the ONNX order is from(indices of element i).
template <class From>
std::vector<float> reordered(const Dimensions& sides, From from) {
  const std::int64_t count =
      std::accumulate(sides.begin(), sides.end(), std::int64_t{1}, std::multiplies<>());
  std::vector<float> out(static_cast<std::size_t>(count));
  Dimensions at(sides.size(), 0);
  for (float& to : out) {
    to = from(at);
    for (std::size_t d = sides.size(); d-- > 0 && ++at[d] == sides[d];) at[d] = 0;
  }
  return out;
}

class Graph {
 public:
  explicit Graph(const Model& model) : model_(model), plan_(model.plan) {
    values_.resize(plan_.tensors.size());
  }

  ProtoMessage build(const std::string& name) {
    const Shape& image = plan_.tensors.front();
    layer_ = "pixels";
    values_[0] = {scaled("image"), false};
    for (const Step& step : plan_.steps) add(step);
    layer_.clear();
    node("Softmax", {"logits"}, {whole("axis", 1)}, "probabilities");
    graph_.bytes(graph_proto::name, name);
    const Dimensions out = {-1, plan_.data.classes};
    graph_.message(graph_proto::input,
                   value("image", {-1, image.channels, image.height, image.width}));
    graph_.message(graph_proto::output, value("logits", out));
    graph_.message(graph_proto::output, value("probabilities", out));
    return graph_;
  }

 private:
  // A tensor of the plan: [N, channels, height, width], or, flat, [N, channels].
  struct Value {
    std::string name;
    bool flat = false;
  };

  // The same three operations as of the trainer: the same bits.
  std::string scaled(const std::string& image) {
    std::string x = node("Div", {image, scalar(255.0F)});
    x = node("Sub", {x, scalar(0.5F)});
    return node("Div", {x, scalar(0.5F)});
  }

  std::string unique(const std::string& name) {
    const int before = names_[name]++;
    return before == 0 ? name : name + "_" + std::to_string(before + 1);
  }

  // Returns its output, which has the node's name unless another is given.
  std::string node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::vector<ProtoMessage>& attributes = {}, std::string output = "") {
    const std::string name = unique(layer_.empty() ? op : layer_ + "/" + op);
    if (output.empty()) output = name;
    ProtoMessage out;
    for (const std::string& input : inputs) out.bytes(node_proto::input, input);
    out.bytes(node_proto::output, output);
    out.bytes(node_proto::name, name);
    out.bytes(node_proto::op_type, op);
    for (const ProtoMessage& one : attributes) out.message(node_proto::attribute, one);
    graph_.message(graph_proto::node, out);
    return output;
  }

  template <class T>
  std::string constant(const std::string& name, const Dimensions& sides, int type,
                       const std::vector<T>& values) {
    ProtoMessage out;
    for (const std::int64_t side : sides) out.whole(tensor_proto::dims, side);
    out.whole(tensor_proto::data_type, type);
    out.bytes(tensor_proto::name, name);
    std::string raw(values.size() * sizeof(T), '\0');
    std::memcpy(raw.data(), values.data(), raw.size());
    out.bytes(tensor_proto::raw_data, raw);
    graph_.message(graph_proto::initializer, out);
    return name;
  }

  std::string scalar(float value) {
    return constant<float>(unique(layer_ + "/constant"), {}, data_type::float32, {value});
  }

  std::string array(const NamedArray& array) {
    return constant(array.name, array.shape, data_type::float32, array.values);
  }

  const NamedArray& parameter(int index) const {
    return model_.parameters[static_cast<std::size_t>(index)];
  }

  const Shape& shape(int tensor) const { return plan_.tensors[static_cast<std::size_t>(tensor)]; }

  void add(const Step& step) {
    layer_ = step.pointer.empty() ? "classifier" : step.pointer.substr(1);
    const Value in = values_[static_cast<std::size_t>(step.inputs.front())];
    Value out = in;
    switch (step.op) {
      case Step::Op::conv:
      case Step::Op::depthwise_conv:
        out.name = conv(step, in.name);
        break;
      case Step::Op::dense:
        out = {dense(step, in), true};
        break;
      case Step::Op::max_pool:
        out.name = node("MaxPool", {in.name}, window(step));
        break;
      case Step::Op::avg_pool:
        out.name = node("AveragePool", {in.name}, average_window(step));
        break;
      case Step::Op::global_avg_pool:
        out.name = node("GlobalAveragePool", {in.name});
        break;
      case Step::Op::batch_norm:
        out.name = batch_norm(step, in.name);
        break;
      case Step::Op::dropout:
        break;
      case Step::Op::activation:
        out.name = activation(step, in.name);
        break;
      case Step::Op::add:
        out.name = node("Add", inputs(step));
        break;
      case Step::Op::concat:
        out.name = node("Concat", inputs(step), {whole("axis", 1)});
        break;
      case Step::Op::gate:
        out.name = gate(step, in.name);
        break;
    }
    if (step.relu) out.name = node("Relu", {out.name});
    values_[static_cast<std::size_t>(step.output)] = out;
  }

  std::vector<std::string> inputs(const Step& step) const {
    std::vector<std::string> out;
    for (const int input : step.inputs)
      out.push_back(values_[static_cast<std::size_t>(input)].name);
    return out;
  }

  // What lies below and right of the image is what the last window needs.
  static std::int64_t pad_after(int in, int out, int stride, int window, int before) {
    return std::max(0, (out - 1) * stride + window - in - before);
  }

  std::vector<ProtoMessage> window(const Step& step) const {
    const Shape &in = shape(step.inputs.front()), &out = shape(step.output);
    const int height = reach(step.kernel_height, step.dilation_height);
    const int width = reach(step.kernel_width, step.dilation_width);
    return {
        wholes("kernel_shape", {step.kernel_height, step.kernel_width}),
        wholes("strides", {step.stride_height, step.stride_width}),
        wholes("pads", {step.pad_top, step.pad_left,
                        pad_after(in.height, out.height, step.stride_height, height, step.pad_top),
                        pad_after(in.width, out.width, step.stride_width, width, step.pad_left)})};
  }

  // A mean counts only the pixels inside.
  std::vector<ProtoMessage> average_window(const Step& step) const {
    std::vector<ProtoMessage> out = window(step);
    out.push_back(whole("count_include_pad", 0));
    return out;
  }

  // Weights from [rows, columns, inputs, outputs] to [outputs, inputs, rows, columns]; of a
  // depthwise convolution from [rows, columns, channels] to [channels, 1, rows, columns].
  std::string conv(const Step& step, const std::string& in) {
    const NamedArray& w = parameter(step.weight);
    const bool depthwise = step.op == Step::Op::depthwise_conv;
    const std::int64_t columns = w.shape[1];
    const std::int64_t inner = depthwise ? 1 : w.shape[2], outer = w.shape.back();
    const Dimensions sides = {outer, inner, w.shape[0], columns};
    const auto values = reordered(sides, [&](const Dimensions& at) {
      const std::int64_t place = (at[2] * columns + at[3]) * inner + at[1];
      return w.values[static_cast<std::size_t>(place * outer + at[0])];
    });
    std::vector<std::string> from = {in, constant(w.name, sides, data_type::float32, values)};
    if (step.bias >= 0) from.push_back(array(parameter(step.bias)));
    std::vector<ProtoMessage> attributes = window(step);
    attributes.push_back(wholes("dilations", {step.dilation_height, step.dilation_width}));
    attributes.push_back(whole("group", depthwise ? outer : 1));
    return node("Conv", from, attributes);
  }

  // An image is read in the order (row, column, channel) here, (channel, row, column) there: the
  // rows of the weights change places.
  std::string dense(const Step& step, const Value& in) {
    const NamedArray& w = parameter(step.weight);
    const Shape& image = shape(step.inputs.front());
    const std::int64_t units = w.shape[1];
    const auto values =
        reordered({image.channels, image.height, image.width, units}, [&](const Dimensions& at) {
          const std::int64_t row = (at[1] * image.width + at[2]) * image.channels + at[0];
          return w.values[static_cast<std::size_t>(row * units + at[3])];
        });
    std::vector<std::string> from = {
        in.flat ? in.name : node("Flatten", {in.name}, {whole("axis", 1)}),
        constant(w.name, w.shape, data_type::float32, values)};
    if (step.bias >= 0) from.push_back(array(parameter(step.bias)));
    return node("Gemm", from, {}, step.output + 1 == std::ssize(values_) ? "logits" : "");
  }

  std::string batch_norm(const Step& step, const std::string& in) {
    const auto state = static_cast<std::size_t>(step.state);
    return node("BatchNormalization",
                {in, array(parameter(step.weight)), array(parameter(step.bias)),
                 array(model_.states[state]), array(model_.states[state + 1])},
                {real("epsilon", kNormEpsilon)});
  }

  std::string activation(const Step& step, const std::string& x) {
    switch (step.activation) {
      case Activation::none:
        return x;
      case Activation::relu:
        return node("Relu", {x});
      case Activation::leaky_relu:
        return node("LeakyRelu", {x}, {real("alpha", step.slope)});
      case Activation::tanh:
        return node("Tanh", {x});
      case Activation::silu:
        return node("Mul", {x, node("Sigmoid", {x})});
      case Activation::gelu: {
        // x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)): the form with tanh, written with sigmoid.
        const std::string cube = node("Mul", {node("Mul", {x, x}), x});
        const std::string sum = node("Add", {x, node("Mul", {cube, scalar(0.044715F)})});
        const std::string wide = node("Mul", {sum, scalar(1.5957691216F)});
        return node("Mul", {x, node("Sigmoid", {wide})});
      }
    }
    return x;
  }

  // One factor per channel, of a dense layer.
  std::string gate(const Step& step, const std::string& image) {
    const Value& factor = values_[static_cast<std::size_t>(step.inputs[1])];
    std::string name = node("Sigmoid", {factor.name});
    if (factor.flat) {
      const std::string sides =
          constant<std::int64_t>(unique(layer_ + "/constant"), {4}, data_type::int64,
                                 {0, shape(step.output).channels, 1, 1});
      name = node("Reshape", {name, sides});
    }
    return node("Mul", {image, name});
  }

  const Model& model_;
  const Plan& plan_;
  ProtoMessage graph_;
  std::string layer_;  // whose nodes are being made
  std::vector<Value> values_;
  std::map<std::string, int> names_;  // given so far
};

void add_entry(ProtoMessage& to, const std::string& key, const std::string& value) {
  ProtoMessage out;
  out.bytes(entry::key, key);
  out.bytes(entry::value, value);
  to.message(model_proto::metadata, out);
}

}  // namespace

std::string to_onnx(const Model& model, const std::string& source, const std::string& version) {
  constexpr std::int64_t kBytesMax = std::int64_t{1} << 31;
  if (4 * model.plan.parameter_count > kBytesMax - (std::int64_t{1} << 20))
    throw UserError("the model has " + std::to_string(model.plan.parameter_count) +
                    " parameters, and an ONNX file holds at most 2 GiB; use --weights");
  ProtoMessage imported, out;
  imported.bytes(opset::domain, "");
  imported.whole(opset::version, kOnnxOpset);
  out.whole(model_proto::ir_version, kOnnxIrVersion);
  out.bytes(model_proto::producer_name, "brood");
  out.bytes(model_proto::producer_version, version);
  out.message(model_proto::graph, Graph(model).build("network"));
  out.message(model_proto::opset_import, imported);
  add_entry(out, "classes",
            Json(model.description.classes).dump(-1, ' ', false, Json::error_handler_t::replace));
  add_entry(out, "source", source);
  add_entry(out, "trainer", model.description.trainer);
  return out.text();
}

}  // namespace brood::cnn
