// One training step (forward, backward, update) of three networks on one core, in images a second,
// for every kernel set of this machine.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "trainers/cnn/network.h"

namespace {

using namespace brood;

struct Net {
  const char* name;
  const char* config;
};

const Net kNets[] = {
    {"hops", R"({"dataset": "fashion_mnist", "epochs": 1,
      "optimizer": {"name": "adam", "learning_rate": 0.001},
      "layers": [{"conv": {"filters": 32, "kernel": 3, "activation": "relu"}},
                 {"conv": {"filters": 64, "kernel": 3, "activation": "relu"}},
                 {"max_pool": {"size": 2}}, {"dropout": {"rate": 0.45}},
                 {"dense": {"units": 128, "activation": "relu"}}, {"dropout": {"rate": 0.45}}]})"},
    {"lenet", R"({"dataset": "fashion_mnist", "epochs": 1,
      "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
      "layers": [{"conv": {"filters": 6, "kernel": 5, "activation": "relu"}},
                 {"max_pool": {"size": 2}},
                 {"conv": {"filters": 16, "kernel": 5, "padding": "valid", "activation": "relu"}},
                 {"max_pool": {"size": 2}}, {"dense": {"units": 120, "activation": "relu"}},
                 {"dense": {"units": 84, "activation": "relu"}}]})"},
    {"batch_norm", R"({"dataset": "fashion_mnist", "epochs": 1,
      "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
      "layers": [{"conv": {"filters": 32, "kernel": 3, "batch_norm": true, "activation": "relu"}},
                 {"conv": {"filters": 32, "kernel": 3, "batch_norm": true, "activation": "relu"}},
                 {"max_pool": {"size": 2}},
                 {"conv": {"filters": 64, "kernel": 3, "batch_norm": true, "activation": "relu"}},
                 {"global_avg_pool": {}}]})"},
};

void train_step(benchmark::State& state, const Net& net, const cnn::Kernels& kernels) {
  std::vector<Problem> problems;
  const cnn::NetworkSpec spec = cnn::parse_network(net.config, problems);
  CHECK(problems.empty(), "the configs are right");
  cnn::Network network(cnn::make_plan(spec, {28, 28, 1, 10, 60000, 0, 0}), spec.optimizer, kernels);
  network.initialise(1);
  std::vector<std::uint8_t> pixels(28 * 28);
  std::vector<std::uint16_t> labels(static_cast<std::size_t>(spec.batch_size));
  for (std::size_t n = 0; n < labels.size(); ++n) {
    for (std::size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<std::uint8_t>((i * 31 + n * 17 + i * i % 7) % 256);
    network.set_image(static_cast<int>(n), pixels.data());
    labels[n] = static_cast<std::uint16_t>(n % 10);
  }
  std::int64_t step = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(network.train(labels, 1, static_cast<std::uint64_t>(step)));
    network.update(0.0001, ++step);
  }
  const auto images = static_cast<double>(step) * static_cast<double>(labels.size());
  state.SetItemsProcessed(static_cast<std::int64_t>(images));
  state.counters["GFLOP/s"] = benchmark::Counter(images * network.plan().training_flops * 1e-9,
                                                 benchmark::Counter::kIsRate);
  state.counters["MiB"] = static_cast<double>(network.memory().total_bytes()) / 1048576.0;
}

// Every net on every kernel set.
const bool kRegistered = [] {
  for (const Net& net : kNets)
    for (const cnn::Kernels* kernels : cnn::available_kernels())
      benchmark::RegisterBenchmark(
          (std::string(net.name) + "/" + kernels->name).c_str(),
          [&net, kernels](benchmark::State& state) { train_step(state, net, *kernels); })
          ->Unit(benchmark::kMillisecond);
  return true;
}();

}  // namespace
