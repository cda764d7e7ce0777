// Goal: an exported network computes what the trainer computes, whatever its layers, and the file
// is what ONNX says it should be. Method: a reader and an interpreter written from ONNX's own pages
// (onnx_reader.h) run the exports of random networks in double; their logits are compared with the
// trainer's. A golden file holds the graph of one network as text; BROOD_GOLDEN=rewrite writes it
// anew. bench/onnx_check.py does the same with onnxruntime, where that is installed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "engine/rng.h"
#include "tests/onnx_reader.h"
#include "tests/random_network.h"
#include "trainers/cnn/classifier.h"
#include "trainers/cnn/onnx.h"
#include "trainers/cnn/protobuf.h"

namespace brood::cnn {
namespace {

std::vector<std::uint8_t> pixels(Rng& rng, const DataShape& data, int images) {
  std::vector<std::uint8_t> out;
  for (int i = 0; i < images * data.height * data.width * data.channels; ++i)
    out.push_back(static_cast<std::uint8_t>(rng.below(256)));
  return out;
}

// From (n, height, width, channels) to [n, channels, height, width].
OnnxTensor as_onnx(const std::vector<std::uint8_t>& pixels, const DataShape& d, int images) {
  OnnxTensor out;
  out.shape = {images, d.channels, d.height, d.width};
  for (int n = 0; n < images; ++n)
    for (int c = 0; c < d.channels; ++c)
      for (int y = 0; y < d.height; ++y)
        for (int x = 0; x < d.width; ++x)
          out.values.push_back(static_cast<double>(pixels[static_cast<std::size_t>(
              ((n * d.height + y) * d.width + x) * d.channels + c)]));
  return out;
}

// The largest difference between the trainer's logits and the export's, over the largest logit.
double difference(const Model& model, const OnnxModel& onnx, const Kernels& kernels, Rng& rng) {
  constexpr int kImages = 3;
  const DataShape& data = model.description.data;
  const auto images = pixels(rng, data, kImages);
  std::vector<const std::uint8_t*> places;
  for (std::size_t n = 0; n < kImages; ++n)
    places.push_back(images.data() + n * images.size() / kImages);
  const auto ours = Classifier(model, kernels, kImages).logits(places);
  const auto values = run_onnx(onnx, as_onnx(images, data, kImages));
  const OnnxTensor &logits = values.at("logits"), &shares = values.at("probabilities");
  EXPECT_EQ(logits.shape, (std::vector<std::int64_t>{kImages, data.classes}));
  double most = 0.0, apart = 0.0;
  for (std::size_t n = 0; n < kImages; ++n) {
    const auto probability = probabilities(ours[n]);
    for (std::size_t c = 0; c < ours[n].size(); ++c) {
      const std::size_t at = n * ours[n].size() + c;
      most = std::max(most, std::abs(logits.values[at]));
      apart = std::max(apart, std::abs(logits.values[at] - static_cast<double>(ours[n][c])));
      EXPECT_NEAR(shares.values[at], probability[c], 1e-5);
    }
  }
  return apart / most;
}

TEST(Onnx, RandomNetworksHaveTheSameLogits) {
  Rng rng(1, 0, Purpose::simulate);
  std::set<std::string> operators;
  double worst = 0.0;
  for (int networks = 0; networks < 150;) {
    const Model model = random_model(rng);
    if (!model.plan.infeasible.empty()) continue;
    ++networks;
    const OnnxModel onnx = read_onnx(to_onnx(model, "a test", "1"));
    for (const OnnxNode& node : onnx.nodes) operators.insert(node.op);
    for (const Kernels* kernels : available_kernels()) {
      const double apart = difference(model, onnx, *kernels, rng);
      worst = std::max(worst, apart);
      ASSERT_LT(apart, 1e-5) << kernels->name << " " << model.description.trainer;
    }
  }
  RecordProperty("worst", std::to_string(worst));
  std::printf("largest difference of a logit: %.1e of the largest\n", worst);
  EXPECT_EQ(operators, (std::set<std::string>{"Add", "AveragePool", "BatchNormalization", "Concat",
                                              "Conv", "Div", "Flatten", "Gemm", "GlobalAveragePool",
                                              "LeakyRelu", "MaxPool", "Mul", "Relu", "Reshape",
                                              "Sigmoid", "Softmax", "Sub", "Tanh"}));
}

Model example() {
  Rng rng(2, 0, Purpose::simulate);
  std::vector<Problem> problems;
  Model out;
  out.spec = parse_network(R"({"name": "cnn", "dataset": "fashion_mnist", "epochs": 2,
    "optimizer": {"name": "adam", "learning_rate": 0.001}, "layers": [
      {"conv": {"filters": 8, "kernel": 3, "stride": 2, "batch_norm": true, "activation": "relu"}},
      {"residual": [{"conv": {"filters": 12, "kernel": 3, "activation": "gelu"}},
                    {"depthwise_conv": {"kernel": [3, 1], "dilation": 2}},
                    {"squeeze_excite": {"ratio": 4}}]},
      {"branches": [[], [{"max_pool": {"size": 3, "stride": 1, "padding": "same"}}]]},
      {"avg_pool": {"size": 2}}, {"dropout": {"rate": 0.5}},
      {"dense": {"units": 16, "batch_norm": true, "activation": "silu"}}]})",
                           problems);
  EXPECT_TRUE(problems.empty());
  out.description.trainer = out.spec.block;
  out.description.data = {28, 28, 1, 3, 100, 10, 10};
  out.description.classes = {"cat", "dog", "T-shirt/top"};
  out.plan = make_plan(out.spec, out.description.data);
  for (const Parameter& p : out.plan.parameters)
    out.parameters.push_back(
        {p.name, p.shape, std::vector<float>(static_cast<std::size_t>(p.inputs * p.columns))});
  for (const Parameter& p : out.plan.states)
    out.states.push_back(
        {p.name, p.shape, std::vector<float>(static_cast<std::size_t>(p.columns))});
  return out;
}

std::string list(const std::vector<std::int64_t>& values) {
  std::string out;
  for (const std::int64_t value : values) out += (out.empty() ? "" : ", ") + std::to_string(value);
  return "[" + out + "]";
}

// The whole file but for the values of the weights.
std::string as_text(const OnnxModel& model) {
  std::ostringstream out;
  out << "ir_version " << model.ir_version << "\nopset " << model.opset << "\nproducer "
      << model.producer << "\ngraph " << model.graph << "\n";
  for (const auto& [key, value] : model.metadata) out << key << " " << value << "\n";
  for (const std::string& input : model.inputs) out << "input " << input << "\n";
  for (const std::string& output : model.outputs) out << "output " << output << "\n";
  for (const OnnxNode& node : model.nodes) {
    out << node.op << " " << node.name << "\n";
    for (const std::string& input : node.inputs) {
      out << "  from " << input;
      if (const auto found = model.constants.find(input); found != model.constants.end()) {
        out << " " << list(found->second.shape);
        if (found->second.values.size() == 1) out << " " << found->second.values[0];
      }
      out << "\n";
    }
    for (const auto& [key, values] : node.wholes) out << "  " << key << " " << list(values) << "\n";
    for (const auto& [key, value] : node.reals) out << "  " << key << " " << value << "\n";
    if (node.outputs != std::vector<std::string>{node.name})
      out << "  to " << node.outputs.at(0) << "\n";
  }
  return out.str();
}

TEST(Onnx, TheGraphOfAnExampleIsTheGoldenOne) {
  const std::string text = as_text(read_onnx(to_onnx(example(), "the test \"x\"", "1")));
  const std::string path = std::string(std::getenv("BROOD_SOURCE_DIR")) + "/tests/golden/onnx.txt";
  if (const char* wish = std::getenv("BROOD_GOLDEN"); wish && std::string(wish) == "rewrite")
    std::ofstream(path) << text;
  std::ostringstream golden;
  golden << std::ifstream(path).rdbuf();
  EXPECT_EQ(text, golden.str());
}

TEST(Onnx, ProtobufHasTheBytesOfItsOwnPage) {
  // The examples of "Protocol Buffers: Encoding": 150 in field 1, "testing" in field 2, a message
  // in field 3.
  ProtoMessage number, text, outer;
  number.whole(1, 150);
  EXPECT_EQ(number.text(), "\x08\x96\x01");
  text.bytes(2, "testing");
  EXPECT_EQ(text.text(), "\x12\x07testing");
  outer.message(3, number);
  EXPECT_EQ(outer.text(), "\x1a\x03\x08\x96\x01");
  ProtoMessage negative;
  negative.whole(1, -1);
  EXPECT_EQ(negative.text(), "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
  ProtoMessage real;
  real.real(2, 1.0F);
  EXPECT_EQ(real.text(), std::string("\x15\x00\x00\x80\x3f", 5));
}

TEST(Onnx, AModelAboveTheFormatsLimitIsRefused) {
  Model model = example();
  model.plan.parameter_count = std::int64_t{600} << 20;
  EXPECT_THROW(to_onnx(model, "", ""), UserError);
}

}  // namespace
}  // namespace brood::cnn
