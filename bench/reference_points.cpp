// Trains the two reference networks on the whole of Fashion-MNIST and compares the results with
// what PyTorch reaches from its own starting weights (He's, the default, learn a little faster).
// Takes some minutes; run it after a change of kernels.
//
//   reference_points [numeric class [seed]]
#include <cstdio>
#include <cstdlib>
#include <string>

#include "trainers/cnn/dataset.h"
#include "trainers/cnn/kernels.h"
#include "trainers/cnn/training.h"

namespace {

using namespace brood;

const char* const kLeNet = R"({"dataset": "fashion_mnist", "validation": 0, "epochs": 3,
  "batch_size": 64, "evaluate_test": true, "initialization": "pytorch",
  "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
  "layers": [{"conv": {"filters": 6, "kernel": 5, "activation": "relu"}}, {"max_pool": {"size": 2}},
             {"conv": {"filters": 16, "kernel": 5, "padding": "valid", "activation": "relu"}},
             {"max_pool": {"size": 2}}, {"dense": {"units": 120, "activation": "relu"}},
             {"dense": {"units": 84, "activation": "relu"}}]})";

const char* const kTwoConv = R"({"dataset": "fashion_mnist", "validation": 0, "epochs": 4,
  "batch_size": 64, "evaluate_test": true, "initialization": "pytorch",
  "optimizer": {"name": "adam", "learning_rate": 0.001},
  "layers": [{"conv": {"filters": 32, "kernel": 3, "activation": "relu"}},
             {"max_pool": {"size": 2}},
             {"conv": {"filters": 64, "kernel": 3, "activation": "relu"}},
             {"max_pool": {"size": 2}},
             {"dense": {"units": 128, "activation": "relu"}}]})";

struct Range {
  const char* metric;
  double min, max;
};

bool run(const char* name, const char* config, const cnn::Kernels& kernels, std::uint64_t seed,
         std::initializer_list<Range> expected) {
  std::vector<Problem> problems;
  cnn::TrainingInput input;
  input.spec = cnn::parse_network(config, problems);
  CHECK(problems.empty(), "the reference configs are right");
  input.data = cnn::load_dataset(input.spec.dataset, "");
  input.kernels = &kernels;
  Assignment assignment;
  assignment.last_epoch = input.spec.epochs;
  assignment.seed = seed;
  const int epochs = input.spec.epochs;
  const auto training = cnn::make_training(std::move(input), assignment);
  Report last;
  while (last.epoch < epochs) {
    const std::optional<Report> report = training->step();
    if (!report) continue;
    last = *report;
    std::printf("%s epoch %d:", name, last.epoch);
    for (const Metric& metric : last.metrics)
      std::printf(" %s=%.4f", metric.name.c_str(), metric.value);
    std::printf("\n");
    std::fflush(stdout);
  }
  bool good = true;
  for (const Range& range : expected) {
    const double value = last.find(range.metric)->value;
    const bool inside = value >= range.min && value <= range.max;
    std::printf("%s %s %.4f: %s %.4f..%.4f\n", name, range.metric, value,
                inside ? "within" : "OUTSIDE", range.min, range.max);
    good = good && inside;
  }
  return good;
}

}  // namespace

int main(int count, char** arguments) try {
  const brood::cnn::Kernels& kernels = brood::cnn::kernels_of(count > 1 ? arguments[1] : "");
  const std::uint64_t seed = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 1;
  std::printf("numeric class %s, seed %llu\n", brood::cnn::numeric_class(kernels).c_str(),
              static_cast<unsigned long long>(seed));
  const bool first = run("lenet", kLeNet, kernels, seed,
                         {{"train_loss", 0.31, 0.335}, {"test_accuracy", 0.859, 0.884}});
  const bool second = run("two_conv", kTwoConv, kernels, seed, {{"test_accuracy", 0.898, 1.0}});
  return first && second ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "reference_points: %s\n", error.what());
  return 2;
}
