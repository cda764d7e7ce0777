#include "tests/gpu_fixture.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#if defined(BROOD_WITH_CUDA)
#include <cuda_runtime.h>
#endif

#include "engine/rng.h"
#include "trainers/cnn/dataset.h"
#include "trainers/cnn/kernels.h"
#include "trainers/cnn/memory.h"
#include "trainers/cnn/network.h"

namespace brood::cnn::cuda {

namespace {

constexpr unsigned char kPattern = 0xA5;
constexpr std::size_t kActiveMax = 64;

class Emulated final : public Machine {
 public:
  Mirror allocate(std::size_t bytes) override {
    void* block = std::aligned_alloc(256, (bytes + 256) / 256 * 256);
    const std::shared_ptr<unsigned char> memory(static_cast<unsigned char*>(block), std::free);
    return {memory, memory, bytes};
  }
  void run(const std::vector<Launch>& launches, emulator::Order order) override {
    for (const Launch& launch : launches) run_emulated(launch, order);
  }
};

#if defined(BROOD_WITH_CUDA)
void expect(int error, const std::string& what) {
  if (error != cudaSuccess)
    throw std::runtime_error(what + ": " + cudaGetErrorString(static_cast<cudaError_t>(error)));
}

// Copies both ways, no managed memory: not every machine with a GPU has it, and tools that look for
// stray addresses see less of it.
class Cuda final : public Machine {
 public:
  Cuda() { expect(prepare_kernels(), "prepare_kernels"); }
  Mirror allocate(std::size_t bytes) override {
    void* device = nullptr;
    expect(cudaMalloc(&device, bytes + 1), "cudaMalloc");
    Mirror out = host_.allocate(bytes);
    out.device = {static_cast<unsigned char*>(device), cudaFree};
    return out;
  }
  void push(const Mirror& mirror) override {
    expect(cudaMemcpy(mirror.device.get(), mirror.host.get(), mirror.bytes, cudaMemcpyHostToDevice),
           "to the device");
  }
  void pull(const Mirror& mirror) override {
    expect(cudaMemcpy(mirror.host.get(), mirror.device.get(), mirror.bytes, cudaMemcpyDeviceToHost),
           "from the device");
  }
  void run(const std::vector<Launch>& launches, emulator::Order) override {
    for (const Launch& launch : launches) {
      expect(launch_cuda(launch, nullptr), launch.what);
      expect(cudaDeviceSynchronize(), launch.what);
    }
  }

 private:
  Emulated host_;
};
#endif

std::vector<std::uint32_t> counted(std::int64_t first, std::int64_t count) {
  std::vector<std::uint32_t> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(i);
  return out;
}

}  // namespace

Machine& machine() {
  static const std::unique_ptr<Machine> kMachine = [] {
    const char* const wanted = std::getenv("BROOD_TEST_DEVICE");
    if (wanted == nullptr || std::string(wanted) != "cuda")
      return std::unique_ptr<Machine>(new Emulated);
#if defined(BROOD_WITH_CUDA)
    return std::unique_ptr<Machine>(new Cuda);
#else
    throw std::runtime_error("BROOD_TEST_DEVICE=cuda: this test was built without CUDA");
#endif
  }();
  return *kMachine;
}

MadeUpData::MadeUpData(const DataShape& of, std::uint64_t seed)
    : shape(of),
      train(counted(0, of.train)),
      validation(counted(of.train, of.validation)),
      test(counted(0, of.test)) {
  Rng rng(seed, 1, Purpose::synthetic);
  const auto images = static_cast<std::size_t>(std::max(of.train + of.validation, of.test));
  labels.resize(images);
  for (std::uint16_t& label : labels)
    label = static_cast<std::uint16_t>(rng.below(static_cast<std::uint64_t>(of.classes)));
  pixels.resize(images * static_cast<std::size_t>(of.height * of.width * of.channels));
  for (std::uint8_t& value : pixels) value = static_cast<std::uint8_t>(rng.below(256));
}

FusedTrials::FusedTrials(const NetworkSpec& spec, const MadeUpData& images, int slots,
                         Precision precision, const Fusion& fusion)
    : data(images),
      plan(make_plan(spec, images.shape)),
      memory(make_device_memory(plan, moment_count(spec.optimizer), spec.optimizer.ema > 0.0,
                                precision, fusion)),
      bytes_(machine().allocate(static_cast<std::size_t>(slots * memory.slot_bytes))),
      active_(machine().allocate(kActiveMax * sizeof(std::int32_t))),
      program(make_program(plan, memory, shared_data())) {
  std::memset(bytes_.host.get(), kPattern, bytes_.bytes);
}

template <class T>
const T* FusedTrials::shared(const std::vector<T>& values) {
  arrays_.push_back(machine().allocate(values.size() * sizeof(T)));
  std::copy(values.begin(), values.end(), reinterpret_cast<T*>(arrays_.back().host.get()));
  machine().push(arrays_.back());
  return reinterpret_cast<const T*>(arrays_.back().device.get());
}

DeviceData FusedTrials::shared_data() {
  const std::uint8_t* pixels = shared(data.pixels);
  const std::uint16_t* labels = shared(data.labels);
  const auto part = [&](const std::vector<std::uint32_t>& samples) {
    return DevicePart{pixels, labels, shared(samples), static_cast<std::int64_t>(samples.size())};
  };
  return {part(data.train), part(data.validation), part(data.test)};
}

void FusedTrials::admit(int slot, const NetworkSpec& spec, std::uint64_t seed) {
  std::memset(base(slot), 0, static_cast<std::size_t>(memory.slot_bytes));
  state(slot) = make_slot_state(spec, plan, seed);
  const auto dropouts = make_slot_dropouts(make_plan(spec, data.shape));
  std::copy(dropouts.begin(), dropouts.end(),
            reinterpret_cast<SlotDropout*>(base(slot) + memory.dropouts));
  Network network(plan, spec.optimizer, *available_kernels().back());
  network.initialise(seed);
  const std::vector<NamedArray> arrays = network.arrays();
  const std::vector<DeviceArray> places = device_arrays(plan, memory, spec.optimizer);
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (places.at(i).name != arrays[i].name || places[i].shape != arrays[i].shape)
      throw std::logic_error("arrays of a device and of the CPU differ: " + arrays[i].name);
    std::copy(arrays[i].values.begin(), arrays[i].values.end(), floats(slot, places[i].offset));
  }
}

void FusedTrials::write_order(int slot, std::int64_t epoch, bool shuffle) {
  std::vector<std::uint32_t> order = data.train;
  if (shuffle) {
    const auto drawn =
        shuffled(static_cast<std::int64_t>(order.size()),
                 Rng(state(slot).seed, static_cast<std::uint64_t>(epoch), Purpose::shuffle));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = data.train[drawn[i]];
  }
  auto* to = reinterpret_cast<std::uint32_t*>(base(slot) + memory.order);
  std::copy(order.begin(), order.end(), to + (epoch & 1) * memory.order_stride);
}

void FusedTrials::run(std::vector<Launch> launches, const std::vector<std::int32_t>& active,
                      emulator::Order order) {
  std::copy(active.begin(), active.end(), reinterpret_cast<std::int32_t*>(active_.host.get()));
  const auto* seen = reinterpret_cast<const std::int32_t*>(active_.device.get());
  bind(launches, {bytes_.device.get(), memory.slot_bytes, seen}, static_cast<int>(active.size()));
  machine().push(active_);
  machine().push(bytes_);
  machine().run(launches, order);
  machine().pull(bytes_);
}

std::vector<float> FusedTrials::parameter(int slot, std::size_t index) {
  const Parameter& p = plan.parameters[index];
  const float* from = floats(slot, memory.parameters) + memory.parameter[index];
  return {from, from + p.inputs * p.columns};
}

std::vector<float> FusedTrials::gradient(int slot, std::size_t index) {
  const Parameter& p = plan.parameters[index];
  const float* from = floats(slot, memory.gradients) + memory.parameter[index];
  return {from, from + p.inputs * p.columns};
}

void FusedTrials::set_parameter(int slot, std::size_t index, const std::vector<double>& values) {
  float* to = floats(slot, memory.parameters) + memory.parameter[index];
  for (std::size_t i = 0; i < values.size(); ++i) to[i] = static_cast<float>(values[i]);
}

std::vector<unsigned char> FusedTrials::kept(int slot) {
  const unsigned char* from = base(slot);
  std::vector<unsigned char> out(from, from + sizeof(SlotState));
  out.insert(out.end(), from + memory.class_tallies, from + memory.values.front().offset);
  return out;
}

bool FusedTrials::untouched(int slot) {
  const unsigned char* from = base(slot);
  return std::all_of(from, from + memory.slot_bytes,
                     [](unsigned char byte) { return byte == kPattern; });
}

}  // namespace brood::cnn::cuda
