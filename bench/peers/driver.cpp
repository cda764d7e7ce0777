// brood's side of the comparison with PyTorch (see compare.py): trains networks on request.
//
//   peers_driver [kernel set]
//   peers_driver peak [kernel set]
//
// Reads a line with a network, {"data": [height, width, channels, classes], "block": {...}}, and
// answers with the operations of its training for one sample; then numbers of seconds, a line
// each. Trains that long and answers with the median and the smallest thread CPU time of a step in
// milliseconds and the peak memory of the process in MiB. For `peak` the answer to a number is the
// rate of the core's fused multiply-adds in GFLOP/s.
#include <time.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "engine/json_library.h"
#include "trainers/cnn/network.h"

namespace {

using namespace brood;

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// "VmHWM:    1234 kB"
double peak_mebibytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024.0;
  return 0.0;
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

class Job {
 public:
  Job(const Json& job, const cnn::Kernels& kernels) {
    std::vector<Problem> problems;
    const cnn::NetworkSpec spec = cnn::parse_network(job.at("block").dump(), problems);
    for (const Problem& problem : problems)
      throw UserError(problem.pointer + ": " + problem.message);
    const auto& data = job.at("data");
    const cnn::DataShape shape{data[0], data[1], data[2], data[3], 60000, 0, 0};
    network_ = std::make_unique<cnn::Network>(cnn::make_plan(spec, shape), spec.optimizer, kernels);
    network_->initialise(1);
    std::vector<std::uint8_t> pixels(
        static_cast<std::size_t>(shape.height * shape.width * shape.channels));
    labels_.resize(static_cast<std::size_t>(spec.batch_size));
    for (std::size_t n = 0; n < labels_.size(); ++n) {
      for (std::size_t i = 0; i < pixels.size(); ++i)
        pixels[i] = static_cast<std::uint8_t>((i * 31 + n * 17 + i * i % 7) % 256);
      network_->set_image(static_cast<int>(n), pixels.data());
      labels_[n] = static_cast<std::uint16_t>(n % static_cast<std::size_t>(shape.classes));
    }
  }

  double flops() const { return network_->plan().training_flops; }

  // Milliseconds of each step.
  std::vector<double> train(double seconds) {
    const cnn::FlushDenormals flush;
    std::vector<double> times;
    const double end = thread_seconds() + seconds;
    for (double now = thread_seconds(); now < end || times.size() < 2;) {
      network_->train(labels_, 1, static_cast<std::uint64_t>(step_));
      network_->update(0.0001, ++step_);
      const double then = thread_seconds();
      times.push_back((then - now) * 1e3);
      now = then;
    }
    std::sort(times.begin(), times.end());
    return times;
  }

 private:
  std::unique_ptr<cnn::Network> network_;
  std::vector<std::uint16_t> labels_;
  std::int64_t step_ = 0;
};

int answer_steps(const std::string& set) {
  std::unique_ptr<Job> job;
  std::string line;
  while (std::getline(std::cin, line)) {
    if (line.starts_with("{")) {
      job.reset();
      std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
      job = std::make_unique<Job>(Json::parse(line), kernels_named(set));
      std::cout << job->flops() << std::endl;
      continue;
    }
    if (!job) throw UserError("the first line should be a network");
    const std::vector<double> times = job->train(std::stod(line));
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
    return answer_steps(words.empty() ? "" : words[0]);
  } catch (const UserError& error) {
    std::cerr << "peers_driver: " << error.what() << "\n";
    return 1;
  }
}
