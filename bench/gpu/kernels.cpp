// Microseconds of every launch of a training step, each by itself: which kernel is worth a look.
//
//   gpu_kernels [--device emulated|cuda:0] [--net NAME,...] [--trials 8] [the others as gpu_speed]
//   gpu_kernels --dump FOLDER ...   the last layer too: what it reads and writes, NET.x, .w, .bias,
//                                   .y, .dy, .dx as bf16 (pixels by lanes), .w, .bias, .dw as float
//
// Prints a line of JSON for each network. A launch is repeated in a graph, so what it reads can lie
// in the cache: all together may take less than the step, which has its time beside them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "bench/gpu/subject.h"
#include "bench/gpu/wrapped.h"
#include "engine/error.h"
#include "engine/json_library.h"

namespace brood::cnn::cuda {
namespace {

constexpr Millis kLongest{30000};
constexpr double kSeconds = 3e-3;  // for a launch, at least

// Keeps the training step of the trials at hand, bound to their memory.
class Recorder final : public WrappedRuntime {
 public:
  using WrappedRuntime::WrappedRuntime;

  const std::vector<Launch>& step() const { return captured_; }

  // Seconds of these launches, one after another; repeat: how often in a graph.
  double seconds(const std::vector<Launch>& launches, int repeat, double least) {
    std::vector<Launch> all;
    for (int i = 0; i < repeat; ++i) all.insert(all.end(), launches.begin(), launches.end());
    const int graph = inner_->capture(all);
    const auto timed = [&](int times) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < times; ++i) inner_->replay(graph, 0);
      inner_->wait(kLongest);
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const double first = least > 0.0 ? timed(1) : 0.0;
    const int times = least > 0.0 ? std::clamp(static_cast<int>(least / first) + 1, 1, 1000) : 1;
    const double out = timed(times) / times / repeat;
    inner_->forget(graph);
    return out;
  }
  void once(const std::vector<Launch>& launches) { seconds(launches, 1, 0.0); }
};

class Bench {
 public:
  Bench(const Subject& subject, int trials)
      : subject_(subject), trials_(trials), engine_(recorder(subject), options(subject, trials)) {
    for (int trial = 1; trial <= trials; ++trial) {
      const auto admitted = engine_.admit(subject.input(trial), subject.assignment(trial, 1000000));
      CHECK(admitted.has_value(), "the arena is made for them");
    }
    engine_.advance(Millis{0});
    engine_.advance(Millis{0});
  }

  Json measure() {
    const int repeat = subject_.emulated() ? 1 : 32;
    const double least = subject_.emulated() ? 0.0 : kSeconds;
    const std::vector<Launch> step = recorder_->step();
    Json launches = Json::array();
    for (const Launch& launch : step) {
      Json line = {{"what", launch.what},
                   {"blocks", std::int64_t{1} * launch.x * launch.y * launch.z},
                   {"us", 1e6 * recorder_->seconds({launch}, repeat, least)}};
      launches.push_back(std::move(line));
    }
    return {{"net", subject_.net},
            {"precision", subject_.precision_name},
            {"batch", subject_.batch},
            {"trials", trials_},
            {"step_us", 1e6 * recorder_->seconds(step, 1, 10 * least)},
            {"launches", launches}};
  }

  // Of the last convolution, of the first trial.
  Json dump(const std::string& folder) {
    std::filesystem::create_directories(folder);
    const Plan plan = subject_.plan();
    const DeviceMemory memory = subject_.memory();
    const auto last = std::find_if(plan.steps.rbegin(), plan.steps.rend(),
                                   [](const Step& step) { return step.op == Step::Op::conv; });
    CHECK(last != plan.steps.rend(), "there is a convolution");
    const Step& conv = *last;
    const std::vector<Launch> step = recorder_->step();
    std::size_t done = 0, gradients = step.size();
    for (std::size_t i = 0; i < step.size(); ++i) {
      if (step[i].what.starts_with(conv.pointer + ":")) done = i + 1;
      if (step[i].kernel == KernelId::update) gradients = std::min(gradients, i);
    }
    const auto index = [](int value) { return static_cast<std::size_t>(value); };
    const Tensor &x = memory.values[index(conv.inputs.front())],
                 &dx = memory.slopes[index(conv.inputs.front())],
                 &y = memory.values[index(conv.output)], &dy = memory.slopes[index(conv.output)];
    // Gradients share memory: they are there when the layer is done, its weights' at the end.
    recorder_->once({step.begin(), step.begin() + static_cast<std::ptrdiff_t>(done)});
    Json tensors;
    const std::pair<const char*, const Tensor*> all[] = {
        {"x", &x}, {"y", &y}, {"dy", &dy}, {"dx", &dx}};
    for (const auto& [name, tensor] : all) {
      if (tensor->offset < 0) continue;
      write(folder, name, tensor->offset,
            std::int64_t{2} * subject_.batch * tensor->height * tensor->width * tensor->pitch);
      tensors[name] = {subject_.batch, tensor->height, tensor->width, tensor->channels,
                       tensor->pitch};
    }
    const Parameter& weight = plan.parameters[index(conv.weight)];
    const std::int64_t count = weight.inputs * weight.columns;
    const std::int64_t place = 4 * memory.parameter[index(conv.weight)];
    write(folder, "w", memory.parameters + place, 4 * count);
    write(folder, "bias", memory.parameters + 4 * memory.parameter[index(conv.bias)],
          4 * y.channels);
    recorder_->once({step.begin(), step.begin() + static_cast<std::ptrdiff_t>(gradients)});
    write(folder, "dw", memory.gradients + place, 4 * count);
    return {{"kernel", {conv.kernel_height, conv.kernel_width}},
            {"stride", {conv.stride_height, conv.stride_width}},
            {"pad", {conv.pad_top, conv.pad_left}},
            {"pointer", conv.pointer},
            {"tensors", tensors}};
  }

 private:
  static FusedOptions options(const Subject& subject, int trials) {
    FusedOptions out = subject.fused_options(trials);
    out.batches_max = 1;
    return out;
  }
  std::unique_ptr<Runtime> recorder(const Subject& subject) {
    auto out = std::make_unique<Recorder>(subject.runtime());
    recorder_ = out.get();
    return out;
  }
  void write(const std::string& folder, const std::string& name, std::int64_t offset,
             std::int64_t bytes) {
    Group group;
    std::memcpy(&group, recorder_->step().front().arguments.data(), sizeof group);
    std::int32_t slot = 0;
    recorder_->read(&slot, reinterpret_cast<const unsigned char*>(group.active), sizeof slot);
    std::vector<char> values(static_cast<std::size_t>(bytes));
    recorder_->read(values.data(), group.base + slot * group.slot_bytes + offset, bytes);
    std::ofstream(folder + "/" + subject_.net + "." + name, std::ios::binary)
        .write(values.data(), bytes);
  }

  const Subject& subject_;
  const int trials_;
  Recorder* recorder_ = nullptr;
  FusedEngine engine_;
};

int run(int argc, char** argv) {
  std::vector<std::string> known = Subject::options();
  known.emplace_back("--trials");
  known.emplace_back("--dump");
  const Options options(argc, argv, known);
  std::istringstream names(options.text("--net", "tiny"));
  for (std::string net; std::getline(names, net, ',');) {
    const Subject subject(options, net);
    const std::string folder = options.text("--dump", "");
    if (!folder.empty() && subject.precision_name != "bf16")
      throw UserError("--dump wants --precision bf16");
    Bench bench(subject, static_cast<int>(options.whole("--trials", 8)));
    Json layer = folder.empty() ? Json() : bench.dump(folder);
    Json line = bench.measure();
    if (!folder.empty()) line["layer"] = std::move(layer);
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace brood::cnn::cuda

int main(int argc, char** argv) {
  return brood::cnn::cuda::run_bench("gpu_kernels", brood::cnn::cuda::run, argc, argv);
}
