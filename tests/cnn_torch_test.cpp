// Goal: layers, losses, optimizers and schedules are those of PyTorch. Method: a file of small
// networks with weights, inputs and what PyTorch made of them in double precision (outputs,
// gradients, running statistics, weights after some steps) is compared on every kernel set. The
// file of the tree was written by bench/peers/torch_layers.py, which also runs this test on many
// more cases (environment BROOD_TORCH_CASES: a file like it) and then prints the errors found.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>

#include "engine/json_library.h"
#include "trainers/cnn/network.h"
#include "trainers/cnn/schedule.h"
#include "trainers/cnn/winograd.h"

namespace brood::cnn {
namespace {

// Of the largest value of an array. Winograd's sums lose about a digit (docs/network.md). Where
// sums cancel, PyTorch's own single precision is further off: by so many times that we may be too.
constexpr double kDirectBound = 1e-5, kWinogradBound = 1e-4, kTimesTorch = 2.0;

const Json& document() {
  static const Json json = [] {
    const char* more = std::getenv("BROOD_TORCH_CASES");
    const char* root = std::getenv("BROOD_SOURCE_DIR");
    const std::string path =
        more ? more : std::string(root ? root : ".") + "/tests/golden/torch_layers.json";
    std::ifstream in(path);
    if (!in) throw std::runtime_error(path + " cannot be read; set BROOD_SOURCE_DIR");
    return Json::parse(in);
  }();
  return json;
}

// Largest errors of a group of cases: this kernel set's, and PyTorch's in single precision.
struct Errors {
  double outputs = 0.0, gradients = 0.0, after = 0.0, torch = 0.0;
  int cases = 0;
};

NetworkSpec spec_of(const Json& block) {
  std::vector<Problem> problems;
  NetworkSpec spec = parse_network(block.dump(), problems);
  for (const Problem& problem : problems)
    ADD_FAILURE() << problem.pointer << ": " << problem.message;
  return spec;
}

// One case on one kernel set.
class Check {
 public:
  Check(const Json& json, const Kernels& kernels)
      : json_(json),
        spec_(spec_of(json.at("block"))),
        labels_(json.at("labels").get<std::vector<std::uint16_t>>()),
        network_(make_plan(spec_, data_shape()), spec_.optimizer, kernels, spec_.label_smoothing),
        bound_(std::max(json.at("group") == "direct" ? kDirectBound : kWinogradBound,
                        kTimesTorch * json.at("single_precision").get<double>())) {
    network_.initialise(0);
    set_inputs();
  }

  Errors run() {
    const Json& wanted = json_.at("wanted");
    const bool trained = wanted.contains("loss");
    if (trained) {
      const double loss = train();
      compare("loss", {static_cast<float>(loss)}, errors_.outputs);
      compare("logits", logits(), errors_.outputs);
      for (std::size_t p = 0; p < network_.plan().parameters.size(); ++p)
        compare("gradients " + network_.plan().parameters[p].name,
                network_.gradient(static_cast<int>(p)), errors_.gradients);
      compare_arrays("states ", errors_.outputs);
    }
    network_.evaluate(labels_);
    compare("evaluated", logits(), errors_.outputs);
    // The evaluation has overwritten the activations, but not the gradients.
    for (int step = 1; step <= json_.at("steps"); ++step) {
      if (step > 1) train();
      network_.update(spec_.optimizer.learning_rate, step);
    }
    compare_arrays("after ", errors_.after);
    EXPECT_EQ(compared_, wanted.size()) << "an array of PyTorch's has no counterpart";
    errors_.torch = json_.at("single_precision");
    errors_.cases = 1;
    return errors_;
  }

  // Empty: no convolution goes by Winograd.
  std::string winograd() const {
    const Plan& plan = network_.plan();
    for (const Step& step : plan.steps) {
      const Shape& in = plan.tensors[static_cast<std::size_t>(step.inputs.front())];
      const Shape& out = plan.tensors[static_cast<std::size_t>(step.output)];
      if (step.op != Step::Op::conv || !uses_winograd(step, in, out)) continue;
      const Winograd made =
          make_winograd(step.kernel_height, out.height, out.width, in.channels, out.channels);
      const int points = static_cast<int>(std::lround(std::sqrt(made.points)));
      const std::string tile = std::to_string(points - made.kernel + 1);
      const std::string kernel = std::to_string(made.kernel);
      return "F(" + tile + "x" + tile + "," + kernel + "x" + kernel + ")";
    }
    return "";
  }

 private:
  DataShape data_shape() const {
    const Json& data = json_.at("data");
    return {data[0], data[1], data[2], data[3], 100, 0, 0};
  }

  void set_inputs() {
    const Json& parameters = json_.at("parameters");
    EXPECT_EQ(parameters.size(), network_.plan().parameters.size());
    const float unit = 1.0F / document().at("unit").get<float>();
    std::vector<NamedArray> arrays = network_.arrays();
    for (NamedArray& array : arrays) {
      std::string name = array.name;  // an average starts with the weights
      if (name.starts_with("average.")) name = name.substr(8);
      if (!parameters.contains(name)) continue;
      array.values = parameters.at(name).get<std::vector<float>>();
      for (float& value : array.values) value *= unit;
    }
    network_.restore(arrays);
    const std::vector<std::uint8_t> pixels = json_.at("pixels");
    for (std::size_t n = 0; n < labels_.size(); ++n)
      network_.set_image(static_cast<int>(n), pixels.data() + n * (pixels.size() / labels_.size()));
  }

  // The mean loss.
  double train() {
    BatchResult result;
    if (json_.contains("shares")) {
      const std::vector<std::uint16_t> partners = json_.at("partners");
      const std::vector<double> shares = json_.at("shares");
      const Mixing mixing{partners, shares};
      result = network_.train(labels_, 0, 0, &mixing);
    } else {
      result = network_.train(labels_, 0, 0);
    }
    return result.loss / static_cast<double>(labels_.size());
  }

  std::vector<float> logits() const {
    std::vector<float> all;
    for (std::size_t n = 0; n < labels_.size(); ++n) {
      const std::vector<float> one = network_.logits(static_cast<int>(n));
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }

  void compare_arrays(const std::string& prefix, double& worst) {
    for (const NamedArray& array : network_.arrays())
      if (json_.at("wanted").contains(prefix + array.name))
        compare(prefix + array.name, array.values, worst);
  }

  void compare(const std::string& name, const std::vector<float>& got, double& worst) {
    const std::vector<double> wanted = json_.at("wanted").at(name);
    ASSERT_EQ(got.size(), wanted.size()) << name;
    double largest = 0.0, error = 0.0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      largest = std::max(largest, std::abs(wanted[i]));
      error = std::max(error, std::abs(static_cast<double>(got[i]) - wanted[i]));
    }
    if (largest > 0.0) error /= largest;
    EXPECT_LT(error, bound_) << name;
    worst = std::max(worst, error);
    ++compared_;
  }

  const Json& json_;
  const NetworkSpec spec_;
  const std::vector<std::uint16_t> labels_;
  Network network_;
  const double bound_;
  Errors errors_;
  std::size_t compared_ = 0;
};

class EveryKernelSet : public testing::TestWithParam<const Kernels*> {};

TEST_P(EveryKernelSet, AgreesWithPyTorch) {
  const FlushDenormals flush;
  std::map<std::string, Errors> found;
  for (const Json& json : document().at("cases")) {
    SCOPED_TRACE(json.at("name").get<std::string>());
    Check check(json, *GetParam());
    const std::string group = json.at("group");
    const std::string winograd = check.winograd();
    if (group == "direct") {
      EXPECT_EQ(winograd, "");
    }
    const Errors errors = check.run();
    Errors& worst = found[winograd.empty() ? "direct" : winograd];
    worst.outputs = std::max(worst.outputs, errors.outputs);
    worst.gradients = std::max(worst.gradients, errors.gradients);
    worst.after = std::max(worst.after, errors.after);
    worst.torch = std::max(worst.torch, errors.torch);
    ++worst.cases;
  }
  EXPECT_EQ(found.count("direct"), 1U);
  EXPECT_GE(found.size(), 2U) << "no convolution went by Winograd";
  if (!std::getenv("BROOD_TORCH_CASES")) return;
  std::printf("%-9s%-14s%6s%11s%11s%11s%26s\n", "set", "", "cases", "outputs", "gradients", "steps",
              "PyTorch, single precision");
  for (const auto& [group, worst] : found)
    std::printf("%-9s%-14s%6d%11.1e%11.1e%11.1e%26.1e\n", GetParam()->name, group.c_str(),
                worst.cases, worst.outputs, worst.gradients, worst.after, worst.torch);
}

std::string set_name(const testing::TestParamInfo<const Kernels*>& set) { return set.param->name; }
INSTANTIATE_TEST_SUITE_P(CnnTorch, EveryKernelSet, testing::ValuesIn(available_kernels()),
                         set_name);

TEST(CnnTorch, HasTheSameSchedules) {
  for (const Json& json : document().at("schedules")) {
    SCOPED_TRACE(json.at("schedule").dump());
    const Json block = {
        {"dataset", "fashion_mnist"},
        {"layers", Json::array()},
        {"epochs", json.at("epochs")},
        {"schedule", json.at("schedule")},
        {"optimizer", {{"name", "sgd"}, {"learning_rate", json.at("learning_rate")}}}};
    const NetworkSpec spec = spec_of(block);
    const std::vector<double> rates = json.at("rates");
    for (std::size_t step = 0; step < rates.size(); ++step)
      EXPECT_NEAR(learning_rate(spec, json.at("steps_per_epoch"), static_cast<std::int64_t>(step)),
                  rates[step], 1e-9)
          << "step " << step;
  }
}

}  // namespace
}  // namespace brood::cnn
