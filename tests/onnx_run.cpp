// The operators of ONNX's opset 13 that an exported model may use.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

#include "tests/onnx_reader.h"

namespace brood::cnn {

namespace {

using Inputs = std::vector<const OnnxTensor*>;
using Sides = std::vector<std::int64_t>;

[[noreturn]] void refuse(const OnnxNode& node, const std::string& why) {
  throw std::runtime_error(node.name + " (" + node.op + "): " + why);
}

std::size_t count(const Sides& shape) {
  std::int64_t out = 1;
  for (const std::int64_t side : shape) out *= side;
  return static_cast<std::size_t>(out);
}

OnnxTensor each(const OnnxTensor& x, const std::function<double(double)>& f) {
  OnnxTensor out = x;
  for (double& value : out.values) value = f(value);
  return out;
}

// With numpy's broadcasting: shapes are aligned at their last side, a side of 1 is repeated.
OnnxTensor pairwise(const OnnxNode& node, const OnnxTensor& a, const OnnxTensor& b,
                    const std::function<double(double, double)>& f) {
  const std::size_t rank = std::max(a.shape.size(), b.shape.size());
  const auto padded = [rank](Sides shape) {
    shape.insert(shape.begin(), rank - shape.size(), 1);
    return shape;
  };
  const Sides sa = padded(a.shape), sb = padded(b.shape);
  OnnxTensor out;
  for (std::size_t d = 0; d < rank; ++d) {
    if (sa[d] != sb[d] && sa[d] != 1 && sb[d] != 1) refuse(node, "shapes do not fit");
    out.shape.push_back(std::max(sa[d], sb[d]));
  }
  const auto place = [&](std::size_t index, const Sides& shape) {
    std::size_t at = 0, stride = 1;
    for (std::size_t d = rank; d-- > 0;) {
      const auto side = static_cast<std::size_t>(out.shape[d]);
      if (shape[d] != 1) at += index % side * stride;
      stride *= static_cast<std::size_t>(shape[d]);
      index /= side;
    }
    return at;
  };
  for (std::size_t i = 0; i < count(out.shape); ++i)
    out.values.push_back(f(a.values[place(i, sa)], b.values[place(i, sb)]));
  return out;
}

// The attribute of a window: kernel, strides, ... for rows and columns.
Sides sides_of(const OnnxNode& node, const std::string& name, const Sides& absent) {
  const auto found = node.wholes.find(name);
  return found == node.wholes.end() ? absent : found->second;
}

struct Window {
  Sides kernel, strides, pads, dilations;
  std::int64_t height, width;  // of the input
};

Window window_of(const OnnxNode& node, const OnnxTensor& x) {
  if (x.shape.size() != 4) refuse(node, "is no image");
  Window out{sides_of(node, "kernel_shape", {}),
             sides_of(node, "strides", {1, 1}),
             sides_of(node, "pads", {0, 0, 0, 0}),
             sides_of(node, "dilations", {1, 1}),
             x.shape[2],
             x.shape[3]};
  if (out.kernel.size() != 2 || out.strides.size() != 2 || out.pads.size() != 4)
    refuse(node, "has no window");
  return out;
}

std::int64_t slid(const Window& w, std::size_t side) {
  const std::int64_t in = side == 0 ? w.height : w.width;
  const std::int64_t reach = (w.kernel[side] - 1) * w.dilations[side] + 1;
  return (in + w.pads[side] + w.pads[side + 2] - reach) / w.strides[side] + 1;
}

// Calls visit(row, column, place in the kernel) for the pixels inside the image.
void each_pixel(const Window& w, std::int64_t i, std::int64_t j,
                const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& visit) {
  for (std::int64_t a = 0; a < w.kernel[0]; ++a)
    for (std::int64_t b = 0; b < w.kernel[1]; ++b) {
      const std::int64_t row = i * w.strides[0] - w.pads[0] + a * w.dilations[0];
      const std::int64_t column = j * w.strides[1] - w.pads[1] + b * w.dilations[1];
      if (row >= 0 && row < w.height && column >= 0 && column < w.width)
        visit(row, column, a * w.kernel[1] + b);
    }
}

// value(n, channel, i, j) of every number of an image.
OnnxTensor image(
    Sides shape,
    const std::function<double(std::int64_t, std::int64_t, std::int64_t, std::int64_t)>& value) {
  OnnxTensor out;
  out.shape = shape;
  for (std::int64_t n = 0; n < shape[0]; ++n)
    for (std::int64_t c = 0; c < shape[1]; ++c)
      for (std::int64_t i = 0; i < shape[2]; ++i)
        for (std::int64_t j = 0; j < shape[3]; ++j) out.values.push_back(value(n, c, i, j));
  return out;
}

double at(const OnnxTensor& x, std::int64_t n, std::int64_t c, std::int64_t i, std::int64_t j) {
  return x
      .values[static_cast<std::size_t>(((n * x.shape[1] + c) * x.shape[2] + i) * x.shape[3] + j)];
}

OnnxTensor conv(const OnnxNode& node, const Inputs& in) {
  const OnnxTensor &x = *in[0], &w = *in[1];
  const Window window = window_of(node, x);
  const std::int64_t groups = sides_of(node, "group", {1})[0];
  const std::int64_t inner = w.shape[1], outer = w.shape[0] / groups;
  if (Sides{w.shape[2], w.shape[3]} != window.kernel || inner * groups != x.shape[1])
    refuse(node, "weights do not fit");
  return image({x.shape[0], w.shape[0], slid(window, 0), slid(window, 1)},
               [&](std::int64_t n, std::int64_t o, std::int64_t i, std::int64_t j) {
                 double sum = in.size() > 2 ? in[2]->values[static_cast<std::size_t>(o)] : 0.0;
                 each_pixel(
                     window, i, j, [&](std::int64_t row, std::int64_t column, std::int64_t place) {
                       for (std::int64_t c = 0; c < inner; ++c)
                         sum += at(x, n, o / outer * inner + c, row, column) *
                                at(w, o, c, place / window.kernel[1], place % window.kernel[1]);
                     });
                 return sum;
               });
}

OnnxTensor pool(const OnnxNode& node, const Inputs& in, bool maximum) {
  const OnnxTensor& x = *in[0];
  const Window window = window_of(node, x);
  const bool padding = sides_of(node, "count_include_pad", {0})[0] != 0;
  return image({x.shape[0], x.shape[1], slid(window, 0), slid(window, 1)},
               [&](std::int64_t n, std::int64_t c, std::int64_t i, std::int64_t j) {
                 double most = -std::numeric_limits<double>::infinity(), sum = 0.0, pixels = 0.0;
                 each_pixel(window, i, j, [&](std::int64_t row, std::int64_t column, std::int64_t) {
                   most = std::max(most, at(x, n, c, row, column));
                   sum += at(x, n, c, row, column);
                   pixels += 1.0;
                 });
                 if (padding) pixels = static_cast<double>(window.kernel[0] * window.kernel[1]);
                 return maximum ? most : sum / pixels;
               });
}

OnnxTensor global_mean(const OnnxTensor& x) {
  return image({x.shape[0], x.shape[1], 1, 1},
               [&](std::int64_t n, std::int64_t c, std::int64_t, std::int64_t) {
                 double sum = 0.0;
                 for (std::int64_t i = 0; i < x.shape[2]; ++i)
                   for (std::int64_t j = 0; j < x.shape[3]; ++j) sum += at(x, n, c, i, j);
                 return sum / static_cast<double>(x.shape[2] * x.shape[3]);
               });
}

OnnxTensor batch_norm(const OnnxNode& node, const Inputs& in) {
  OnnxTensor out = *in[0];
  const auto channels = static_cast<std::size_t>(out.shape[1]);
  const std::size_t pixels = out.values.size() / channels / static_cast<std::size_t>(out.shape[0]);
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    const std::size_t c = i / pixels % channels;
    const auto of = [&](std::size_t input) { return in[input]->values[c]; };
    out.values[i] =
        (out.values[i] - of(3)) / std::sqrt(of(4) + node.reals.at("epsilon")) * of(1) + of(2);
  }
  return out;
}

OnnxTensor gemm(const OnnxNode& node, const Inputs& in) {
  const OnnxTensor &x = *in[0], &w = *in[1];
  if (x.shape.size() != 2 || w.shape.size() != 2 || x.shape[1] != w.shape[0])
    refuse(node, "shapes do not fit");
  OnnxTensor out;
  out.shape = {x.shape[0], w.shape[1]};
  for (std::int64_t n = 0; n < x.shape[0]; ++n)
    for (std::int64_t o = 0; o < w.shape[1]; ++o) {
      double sum = in.size() > 2 ? in[2]->values[static_cast<std::size_t>(o)] : 0.0;
      for (std::int64_t k = 0; k < x.shape[1]; ++k)
        sum += x.values[static_cast<std::size_t>(n * x.shape[1] + k)] *
               w.values[static_cast<std::size_t>(k * w.shape[1] + o)];
      out.values.push_back(sum);
    }
  return out;
}

OnnxTensor concat(const OnnxNode& node, const Inputs& in) {
  Sides shape = in[0]->shape;
  shape[1] = 0;
  for (const OnnxTensor* x : in) {
    if (x->shape.size() != 4 || x->shape[2] != shape[2] || x->shape[3] != shape[3])
      refuse(node, "shapes do not fit");
    shape[1] += x->shape[1];
  }
  return image(shape, [&](std::int64_t n, std::int64_t c, std::int64_t i, std::int64_t j) {
    std::size_t which = 0;
    for (; c >= in[which]->shape[1]; ++which) c -= in[which]->shape[1];
    return at(*in[which], n, c, i, j);
  });
}

OnnxTensor softmax(const OnnxTensor& x) {
  OnnxTensor out = each(x, [](double value) { return std::exp(value); });
  const auto columns = static_cast<std::size_t>(x.shape[1]);
  for (std::size_t row = 0; row < out.values.size(); row += columns) {
    double sum = 0.0;
    for (std::size_t c = 0; c < columns; ++c) sum += out.values[row + c];
    for (std::size_t c = 0; c < columns; ++c) out.values[row + c] /= sum;
  }
  return out;
}

OnnxTensor reshaped(const OnnxNode& node, const Inputs& in) {
  OnnxTensor out = *in[0];
  out.shape.clear();
  for (std::size_t d = 0; d < in[1]->values.size(); ++d) {
    const auto side = static_cast<std::int64_t>(in[1]->values[d]);
    out.shape.push_back(side == 0 ? in[0]->shape[d] : side);
  }
  if (count(out.shape) != out.values.size()) refuse(node, "shapes do not fit");
  return out;
}

OnnxTensor flat(const OnnxTensor& x) {
  OnnxTensor out = x;
  out.shape = {x.shape[0], static_cast<std::int64_t>(x.values.size()) / x.shape[0]};
  return out;
}

using Operator = std::function<OnnxTensor(const OnnxNode&, const Inputs&)>;

Operator of_each(double (*f)(double)) {
  return [f](const OnnxNode&, const Inputs& in) { return each(*in[0], f); };
}

template <class F>
Operator of_pairs(F f) {
  return [f](const OnnxNode& node, const Inputs& in) { return pairwise(node, *in[0], *in[1], f); };
}

struct Known {
  std::vector<std::string> attributes;
  std::size_t least = 1, most = 1;  // inputs
  Operator run;
};

const std::map<std::string, Known>& operators() {
  static const std::vector<std::string> window = {"kernel_shape", "strides", "pads"};
  static const std::map<std::string, Known> table = {
      {"Add", {{}, 2, 2, of_pairs(std::plus<>())}},
      {"Sub", {{}, 2, 2, of_pairs(std::minus<>())}},
      {"Mul", {{}, 2, 2, of_pairs(std::multiplies<>())}},
      {"Div", {{}, 2, 2, of_pairs(std::divides<>())}},
      {"Relu", {{}, 1, 1, of_each([](double x) { return std::max(x, 0.0); })}},
      {"Tanh", {{}, 1, 1, of_each([](double x) { return std::tanh(x); })}},
      {"Sigmoid", {{}, 1, 1, of_each([](double x) { return 1.0 / (1.0 + std::exp(-x)); })}},
      {"LeakyRelu",
       {{"alpha"},
        1,
        1,
        [](const OnnxNode& node, const Inputs& in) {
          const double alpha = node.reals.at("alpha");
          return each(*in[0], [alpha](double x) { return x < 0.0 ? alpha * x : x; });
        }}},
      {"Conv", {{"kernel_shape", "strides", "pads", "dilations", "group"}, 2, 3, conv}},
      {"MaxPool",
       {window, 1, 1, [](const OnnxNode& n, const Inputs& in) { return pool(n, in, true); }}},
      {"AveragePool",
       {{"kernel_shape", "strides", "pads", "count_include_pad"},
        1,
        1,
        [](const OnnxNode& n, const Inputs& in) { return pool(n, in, false); }}},
      {"GlobalAveragePool",
       {{}, 1, 1, [](const OnnxNode&, const Inputs& in) { return global_mean(*in[0]); }}},
      {"BatchNormalization", {{"epsilon"}, 5, 5, batch_norm}},
      {"Flatten", {{"axis"}, 1, 1, [](const OnnxNode&, const Inputs& in) { return flat(*in[0]); }}},
      {"Gemm", {{}, 2, 3, gemm}},
      {"Concat", {{"axis"}, 2, 100, concat}},
      {"Reshape", {{}, 2, 2, reshaped}},
      {"Softmax",
       {{"axis"}, 1, 1, [](const OnnxNode&, const Inputs& in) { return softmax(*in[0]); }}},
  };
  return table;
}

}  // namespace

std::map<std::string, OnnxTensor> run_onnx(const OnnxModel& model, const OnnxTensor& input) {
  std::map<std::string, OnnxTensor> values = model.constants;
  values["image"] = input;
  for (const OnnxNode& node : model.nodes) {
    const auto known = operators().find(node.op);
    if (known == operators().end()) refuse(node, "is not known");
    const Known& op = known->second;
    const auto check = [&](const std::string& name) {
      if (std::find(op.attributes.begin(), op.attributes.end(), name) == op.attributes.end())
        refuse(node, "has no attribute " + name);
    };
    for (const auto& [name, whole] : node.wholes) check(name);
    for (const auto& [name, real] : node.reals) check(name);
    if (const auto axis = node.wholes.find("axis"); axis != node.wholes.end())
      if (axis->second != Sides{1}) refuse(node, "is along another axis than 1");
    Inputs in;
    for (const std::string& name : node.inputs) {
      const auto found = values.find(name);
      if (found == values.end()) refuse(node, "reads " + name + ", which is not there yet");
      in.push_back(&found->second);
    }
    if (in.size() < op.least || in.size() > op.most || node.outputs.size() != 1)
      refuse(node, std::to_string(in.size()) + " inputs");
    if (!values.emplace(node.outputs[0], op.run(node, in)).second)
      refuse(node, "writes " + node.outputs[0] + " a second time");
  }
  return values;
}

}  // namespace brood::cnn
