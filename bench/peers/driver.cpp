// brood's side of the comparison with PyTorch (see compare.py): one network, trained on request.
//
//   peers_driver w1|w2|w3 batch sgd|adam [kernel set | direct]
//   peers_driver peak [kernel set]
//
// Reads a number of seconds per line; trains that long and answers with one line: the median and
// the smallest thread CPU time of a step in milliseconds, and the peak memory of the process in
// MiB. For `peak` the answer is the rate of the core's fused multiply-adds in GFLOP/s.
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "trainers/cnn/network.h"

namespace {

using namespace brood;

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double peak_mebibytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

struct Net {
  const char* name;
  cnn::DataShape data;
  const char* layers;
};

const Net kNets[] = {
    {"w1",
     {28, 28, 1, 10, 60000, 0, 0},
     R"([{"conv": {"filters": 32, "kernel": 5, "activation": "relu"}}, {"max_pool": {"size": 2}},
         {"conv": {"filters": 64, "kernel": 5, "activation": "relu"}}, {"max_pool": {"size": 2}},
         {"dense": {"units": 1024, "activation": "relu"}}, {"dropout": {"rate": 0.5}}])"},
    {"w2",
     {32, 32, 3, 10, 50000, 0, 0},
     R"([{"conv": {"filters": 32, "kernel": 3, "batch_norm": true, "activation": "relu"}},
         {"conv": {"filters": 32, "kernel": 3, "batch_norm": true, "activation": "relu"}},
         {"max_pool": {"size": 2}},
         {"conv": {"filters": 64, "kernel": 3, "batch_norm": true, "activation": "relu"}},
         {"conv": {"filters": 64, "kernel": 3, "batch_norm": true, "activation": "relu"}},
         {"max_pool": {"size": 2}},
         {"conv": {"filters": 128, "kernel": 3, "batch_norm": true, "activation": "relu"}},
         {"global_avg_pool": {}}])"},
    {"w3",
     {28, 28, 1, 10, 60000, 0, 0},
     R"([{"conv": {"filters": 8, "kernel": 3, "activation": "relu"}}, {"max_pool": {"size": 2}},
         {"conv": {"filters": 16, "kernel": 3, "activation": "relu"}},
         {"max_pool": {"size": 2}}])"}};

const Net& net_of(const std::string& name) {
  for (const Net& net : kNets)
    if (net.name == name) return net;
  throw UserError("no net \"" + name + "\": use w1, w2 or w3");
}

const cnn::Kernels& kernels_named(const std::string& name) {
  for (const cnn::Kernels* kernels : cnn::available_kernels())
    if (name.empty() || name == kernels->name) return *kernels;
  throw UserError("this machine has no kernel set \"" + name + "\"");
}

// Ten independent chains hide the latency of a fused multiply-add on every core of today.
#define CHAINS(instruction, register) \
  instruction " %%" register "10,%%" register "11,%%" register "0\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "1\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "2\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "3\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "4\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "5\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "6\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "7\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "8\n"          \
  instruction " %%" register "10,%%" register "11,%%" register "9\n"

// GFLOP/s of fused multiply-adds; 0 where no loop is written for the set.
double measured_peak([[maybe_unused]] const std::string& set) {
  double best = 0.0;
#if defined(__x86_64__)
  constexpr int kTurns = 1'000'000;
  for (int round = 0; round < 5; ++round) {
    const double start = thread_seconds();
    double lanes = 0.0;
    for (int i = 0; i < kTurns; ++i) {
      if (set == "avx512") {
        lanes = 16;
        asm volatile(CHAINS("vfmadd231ps", "zmm")::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9");
      } else if (set == "avx2") {
        lanes = 8;
        asm volatile(CHAINS("vfmadd231ps", "ymm")::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9");
      }
    }
    best = std::max(best, lanes * 2 * 10 * kTurns / (thread_seconds() - start) * 1e-9);
  }
#endif
  return best;
}

int answer_peak(const std::string& set) {
  std::string line;
  while (std::getline(std::cin, line)) std::cout << measured_peak(set) << std::endl;
  return 0;
}

int answer_steps(const std::vector<std::string>& words) {
  const Net& net = net_of(words.at(0));
  const bool direct = words.size() > 3 && words[3] == "direct";
  const std::string set = words.size() > 3 && !direct ? words[3] : "";
  const std::string optimizer = words.at(2) == "sgd"
                                    ? R"({"name": "sgd", "learning_rate": 0.01, "momentum": 0.9})"
                                    : R"({"name": "adam", "learning_rate": 0.001})";
  std::vector<Problem> problems;
  const cnn::NetworkSpec spec = cnn::parse_network(
      R"({"dataset": "fashion_mnist", "epochs": 1, "batch_size": )" + words.at(1) +
          R"(, "kernels": ")" + (direct ? "direct" : "auto") + R"(", "optimizer": )" + optimizer +
          R"(, "layers": )" + net.layers + "}",
      problems);
  for (const Problem& problem : problems) throw UserError(problem.pointer + ": " + problem.message);
  cnn::Network network(cnn::make_plan(spec, net.data), spec.optimizer, kernels_named(set));
  network.initialise(1);
  std::vector<std::uint8_t> pixels(
      static_cast<std::size_t>(net.data.height * net.data.width * net.data.channels));
  std::vector<std::uint16_t> labels(static_cast<std::size_t>(spec.batch_size));
  for (std::size_t n = 0; n < labels.size(); ++n) {
    for (std::size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<std::uint8_t>((i * 31 + n * 17 + i * i % 7) % 256);
    network.set_image(static_cast<int>(n), pixels.data());
    labels[n] = static_cast<std::uint16_t>(n % 10);
  }
  const cnn::FlushDenormals flush;
  std::int64_t step = 0;
  std::cout << network.plan().training_flops << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
    std::vector<double> times;
    const double end = thread_seconds() + std::stod(line);
    for (double now = thread_seconds(); now < end || times.size() < 5;) {
      network.train(labels, 1, static_cast<std::uint64_t>(step));
      network.update(0.0001, ++step);
      const double then = thread_seconds();
      times.push_back((then - now) * 1e3);
      now = then;
    }
    std::sort(times.begin(), times.end());
    std::cout << times[times.size() / 2] << " " << times.front() << " " << peak_mebibytes()
              << std::endl;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (!words.empty() && words[0] == "peak")
      return answer_peak(words.size() > 1 ? words[1] : kernels_named("").name);
    if (words.size() < 3) throw UserError("usage: peers_driver w1|w2|w3 batch sgd|adam [set]");
    return answer_steps(words);
  } catch (const UserError& error) {
    std::cerr << "peers_driver: " << error.what() << "\n";
    return 1;
  }
}
