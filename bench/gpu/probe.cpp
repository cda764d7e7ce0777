// What a device is like, by what the runtime asks of it (runtime.h): the numbers that an estimate
// of a step's time begins with.
//
//   gpu_probe [--device emulated|cuda:0] [--megabytes 2048] [--launches 500]
//
// Prints one line of JSON; times are medians of several.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>

#include "bench/gpu/subject.h"
#include "engine/error.h"
#include "engine/json_library.h"
#include "trainers/cnn/cuda/arguments.h"

namespace brood::cnn::cuda {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Millis kLongest{30000};

double seconds(const std::function<void()>& what) {
  const auto start = Clock::now();
  what();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(const std::function<void()>& what, int times = 5) {
  what();
  std::vector<double> all;
  for (int i = 0; i < times; ++i) all.push_back(seconds(what));
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

class Probe {
 public:
  Probe(Runtime& runtime, std::int64_t bytes, std::int64_t launches)
      : runtime_(runtime), bytes_(bytes), launches_(launches) {
    memory_ = runtime.allocate(2 * bytes);
    if (memory_ == nullptr) throw UserError("the device has no room for --megabytes twice");
    runtime.clear(memory_, 2 * bytes);
  }
  ~Probe() { runtime_.release(memory_); }

  double copy() {
    return median([&] {
      runtime_.copy(memory_ + bytes_, memory_, bytes_);
      runtime_.wait(kLongest);
    });
  }
  double clear() {
    return median([&] {
      runtime_.clear(memory_, bytes_);
      runtime_.wait(kLongest);
    });
  }
  double write(std::int64_t bytes) {
    const std::vector<unsigned char> host(static_cast<std::size_t>(bytes), 1);
    return median([&] { runtime_.write(memory_, host.data(), bytes); });
  }
  double read(std::int64_t bytes) {
    std::vector<unsigned char> host(static_cast<std::size_t>(bytes), 1);
    return median([&] { runtime_.read(host.data(), memory_, bytes); });
  }
  // Of a launch of so many blocks that find no trial, in a graph.
  double launch(int x, int trials) {
    const std::vector<std::int32_t> nobody(static_cast<std::size_t>(trials), -1);
    runtime_.write(memory_, nobody.data(), 4 * trials);
    Launch idle;
    idle.kernel = KernelId::update;
    idle.x = x;
    idle.threads = kThreads;
    idle.what = "idle";
    idle.set(UpdateArguments());
    idle.bind({memory_, 256, reinterpret_cast<const std::int32_t*>(memory_)}, trials);
    const int graph =
        runtime_.capture(std::vector<Launch>(static_cast<std::size_t>(launches_), idle));
    const double all = median([&] {
      runtime_.replay(graph, 0);
      runtime_.wait(kLongest);
    });
    runtime_.forget(graph);
    return all / static_cast<double>(launches_);
  }

  // Of the host: to ask for a graph, and until it knows of the end of an empty one.
  std::pair<double, double> replay() {
    Launch idle;
    idle.kernel = KernelId::update;
    idle.threads = kThreads;
    idle.what = "idle";
    idle.set(UpdateArguments());
    const std::int32_t nobody = -1;
    runtime_.write(memory_, &nobody, 4);
    idle.bind({memory_, 256, reinterpret_cast<const std::int32_t*>(memory_)}, 1);
    const int graph = runtime_.capture({idle});
    const double asked = median([&] {
      for (int i = 0; i < 100; ++i) runtime_.replay(graph, 0);
    });
    runtime_.wait(kLongest);
    const double known = median([&] {
      runtime_.replay(graph, 0);
      runtime_.wait(kLongest);
    });
    runtime_.forget(graph);
    return {asked / 100, known};
  }

 private:
  Runtime& runtime_;
  const std::int64_t bytes_, launches_;  // launches: of a graph
  unsigned char* memory_ = nullptr;
};

// Nine tenths of what is free, in one piece, as a worker takes it.
Json arena(Runtime& runtime) {
  const std::int64_t free = runtime.info().bytes_free, wanted = free / 10 * 9;
  unsigned char* memory = nullptr;
  const double took = seconds([&] { memory = runtime.allocate(wanted); });
  if (memory != nullptr) runtime.release(memory);
  return {{"free_gigabytes", static_cast<double>(free) * 1e-9},
          {"in_one_piece", memory != nullptr},
          {"seconds", took}};
}

int run(int argc, char** argv) {
  const Options options(argc, argv, {"--device", "--megabytes", "--launches", "--nets"});
  const std::string device = options.text("--device", "emulated");
  const std::int64_t bytes =
      options.whole("--megabytes", device == "emulated" ? 4 : 2048) * (std::int64_t{1} << 20);
  std::unique_ptr<Runtime> runtime;
  const double start = seconds([&] { runtime = make_bench_runtime(device); });
  const DeviceInfo info = runtime->info();
  Json out = {{"name", info.name}, {"architecture", info.architecture}, {"start_seconds", start}};
  if (device != "emulated") out["arena"] = arena(*runtime);
  Probe probe(*runtime, bytes, options.whole("--launches", device == "emulated" ? 5 : 500));
  const double all = static_cast<double>(bytes), megabyte = 1 << 20;
  const std::int64_t part = std::min<std::int64_t>(bytes, 64 << 20);
  out["copy_tb_s"] = 2.0 * all / probe.copy() * 1e-12;
  out["clear_tb_s"] = all / probe.clear() * 1e-12;
  out["write_gb_s"] = static_cast<double>(part) / probe.write(part) * 1e-9;
  out["read_gb_s"] = static_cast<double>(part) / probe.read(part) * 1e-9;
  out["write_small_us"] = 1e6 * probe.write(64);
  out["write_megabyte_us"] = 1e6 * probe.write(static_cast<std::int64_t>(megabyte));
  out["read_small_us"] = 1e6 * probe.read(64);
  out["launch_us"] = 1e6 * probe.launch(1, 1);
  out["launch_of_4096_idle_blocks_us"] = 1e6 * probe.launch(64, 64);
  const auto [asked, known] = probe.replay();
  out["replay_us"] = 1e6 * asked;
  out["replay_and_wait_us"] = 1e6 * known;
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace brood::cnn::cuda

int main(int argc, char** argv) {
  return brood::cnn::cuda::run_bench("gpu_probe", brood::cnn::cuda::run, argc, argv);
}
