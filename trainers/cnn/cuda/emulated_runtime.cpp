// A device in host memory, whose launches run in the emulator as late as they may.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "engine/error.h"
#include "trainers/cnn/cuda/runtime.h"
#include "trainers/cnn/cuda/slot.h"

namespace brood::cnn::cuda {

namespace {

constexpr std::size_t kAlignment = 256;

// False: it was there.
bool make_file(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "wx");
  if (file == nullptr) return false;
  std::fclose(file);
  return true;
}

class EmulatedRuntime final : public Runtime {
 public:
  explicit EmulatedRuntime(EmulatedDevice device) : device_(device), free_(device.bytes) {}
  ~EmulatedRuntime() override {
    for (const auto& [memory, bytes] : blocks_) std::free(memory);
  }

  bool lost() const override { return !lost_.empty(); }
  DeviceInfo info() override {
    return {"emulator", device_.architecture, free_now(), device_.bytes};
  }

  unsigned char* allocate(std::int64_t bytes) override {
    require_alive();
    const auto size = (static_cast<std::size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
    if (++allocations_ == device_.allocation_fails || bytes > free_now()) return nullptr;
    auto* memory = static_cast<unsigned char*>(std::aligned_alloc(kAlignment, size));
    if (memory == nullptr) return nullptr;
    std::memset(memory, kPattern, size);  // nothing may rely on what was there
    free_ -= bytes;
    blocks_[memory] = bytes;
    return memory;
  }
  void release(unsigned char* memory) noexcept override {
    const auto at = blocks_.find(memory);
    if (at == blocks_.end()) return;
    free_ += at->second;
    std::free(memory);
    blocks_.erase(at);
  }

  void write(unsigned char* to, const void* from, std::int64_t bytes) override {
    move(to, from, bytes);
  }
  void read(void* to, const unsigned char* from, std::int64_t bytes) override {
    move(to, from, bytes);
  }
  void copy(unsigned char* to, const unsigned char* from, std::int64_t bytes) override {
    move(to, from, bytes);
  }
  void clear(unsigned char* memory, std::int64_t bytes) override {
    wait(std::chrono::milliseconds(0));
    std::memset(memory, 0, static_cast<std::size_t>(bytes));
  }

  int capture(const std::vector<Launch>& launches) override {
    require_alive();
    graphs_[++graph_] = std::make_shared<const std::vector<Launch>>(launches);
    return graph_;
  }
  void forget(int graph) noexcept override { graphs_.erase(graph); }
  void replay(int graph, int stream) override {
    require_alive();
    asked_.at(static_cast<std::size_t>(stream)).push_back({graphs_.at(graph), 0});
  }

  void wait(std::chrono::milliseconds longest) override {
    run_all();
    if (hangs_.empty()) return;
    if (device_.hang_ends_process) end_hung_process(longest);
    lost_ = hangs_ + " did not end within " + std::to_string(longest.count()) + " ms";
    require_alive();
  }

 private:
  static constexpr int kPattern = 0xA5;
  struct Asked {
    std::shared_ptr<const std::vector<Launch>> graph;
    std::size_t next;  // launch
  };

  std::int64_t free_now() const {
    const bool held = device_.held_while.empty() || ::access(device_.held_while.c_str(), F_OK) == 0;
    return std::max<std::int64_t>(0, free_ - (held ? device_.held : 0));
  }

  // The streams side by side, each in its order.
  void run_all() {
    require_alive();
    while (true) {
      std::size_t next = kStreams;
      for (std::size_t i = 0; i < kStreams; ++i) {
        const std::size_t stream = device_.order == emulator::Order::reverse ? kStreams - 1 - i
                                   : device_.order == emulator::Order::permuted
                                       ? (turn_ + i) % kStreams
                                       : i;
        if (asked_[stream].empty()) continue;
        next = stream;
        break;
      }
      if (next == kStreams) return;
      turn_ = next + 1;
      Asked& asked = asked_[next].front();
      const std::shared_ptr<const std::vector<Launch>> graph = asked.graph;
      const std::size_t launch = asked.next++;
      if (asked.next >= graph->size()) asked_[next].pop_front();
      if (launch < graph->size()) run((*graph)[launch]);
    }
  }
  void run(const Launch& launch) {
    require_alive();
    ++launches_;
    if (launches_ == device_.launch_fails) lose(launch.what);
    if (launches_ == device_.launch_hangs) hangs_ = launch.what;
    if (device_.fault != Fault::none && hangs_.empty() && is_faulty(launch)) fail(launch.what);
    if (hangs_.empty()) run_emulated(launch, device_.order);
  }

  using Fault = EmulatedDevice::Fault;

  void lose(const std::string& what) {
    lost_ = "an illegal memory access was encountered (" + what + ")";
    require_alive();
  }
  bool is_faulty(const Launch& launch) const {
    if (launches_ == device_.fault_launch) return true;
    if (device_.fault_learning_rate == 0.0 || launch.kernel != KernelId::begin_step) return false;
    Group group;
    std::memcpy(&group, launch.arguments.data(), sizeof group);
    for (int z = 0; z < launch.z; ++z) {
      if (group.active[z] < 0) continue;
      SlotState state;
      std::memcpy(&state, group.base + group.active[z] * group.slot_bytes, sizeof state);
      if (state.learning_rate == device_.fault_learning_rate && state.step >= device_.fault_step)
        return true;
    }
    return false;
  }
  void fail(const std::string& what) {
    if (!device_.once.empty() && !make_file(device_.once)) return;
    if (device_.fault == Fault::illegal_address) lose(what);
    hangs_ = what;
  }

  void require_alive() const {
    if (!lost_.empty()) throw DeviceLost("the device is lost: " + lost_);
  }
  void move(void* to, const void* from, std::int64_t bytes) {
    wait(std::chrono::milliseconds(0));
    std::memmove(to, from, static_cast<std::size_t>(bytes));
  }

  const EmulatedDevice device_;
  std::int64_t free_, launches_ = 0;
  int allocations_ = 0, graph_ = 0;
  std::string hangs_, lost_;
  std::map<unsigned char*, std::int64_t> blocks_;
  std::map<int, std::shared_ptr<const std::vector<Launch>>> graphs_;
  std::array<std::deque<Asked>, kStreams> asked_;  // and not done yet
  std::size_t turn_ = 0;
};

}  // namespace

std::unique_ptr<Runtime> make_emulated_runtime(EmulatedDevice device) {
  return std::make_unique<EmulatedRuntime>(device);
}

void end_hung_process(std::chrono::milliseconds longest) {
  constexpr int kBroken = 70;  // as of a worker whose trainer cannot go on
  std::fprintf(stderr, "the device is lost: its work did not end within %lld ms\n",
               static_cast<long long>(longest.count()));
  std::fflush(stderr);
  std::_Exit(kBroken);
}

#ifndef BROOD_WITH_CUDA
bool built_with_cuda() { return false; }

std::unique_ptr<Runtime> make_cuda_runtime(int) {
  throw UserError("this brood was built without CUDA (cmake -DBROOD_CUDA=ON, with a toolkit)");
}
#endif

}  // namespace brood::cnn::cuda
