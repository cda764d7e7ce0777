// What a training step reads and writes of activations and their gradients, counted from its
// launches: a kernel reads each of its tensors once and writes each once, as the caches have it at
// best. Weights, their gradients and sums are left out. Networks whose products are few to the byte
// are as fast as this is little.
//
//   gpu_traffic [--nets bench/gpu/nets.json] [--batch 128]
//
// Prints a row for each network with batch norms as passes of their own (but for those in one with
// a pool or a sum), and one with them where their neighbours are. bf16.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "bench/gpu/subject.h"
#include "engine/error.h"
#include "engine/json_library.h"
#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/program.h"
#include "trainers/cnn/memory.h"

namespace brood::cnn::cuda {
namespace {

class Traffic {
 public:
  explicit Traffic(int batch) : batch_(batch) {}

  void add(const Launch& launch) {
    using enum KernelId;
    const KernelId id = launch.kernel;
    if (id == gather_train) return touch(arguments<GatherArguments>(launch).image);
    if (id >= tensor_forward_16 && id <= halo_64_32)  // what halo kernels are given begins with it
      return product(arguments<TensorArguments>(launch));
    if (id >= halo_gradient_16_16 && id <= tensor_weight_gradient_64) {
      const auto a = arguments<ProductArguments>(launch);  // the same here
      return touch(a.x, a.y);
    }
    if ((id >= product_forward && id <= product_weight_gradient) ||
        (id >= depthwise_forward && id <= depthwise_weight_gradient)) {
      const auto a = arguments<ProductArguments>(launch);
      touch(a.x, a.y);
      if (a.accumulate) touch(a.x);
      return;
    }
    if (id == mask_gradient) {
      const auto a = arguments<MaskArguments>(launch);
      return a.relu ? touch(a.y, a.dy, a.dy) : touch(a.dy);
    }
    if (id >= max_pool_forward && id <= average_pool_gradient) {
      const auto a = arguments<PoolArguments>(launch);
      touch(a.x, a.y);
      if (a.accumulate) touch(a.x);
      if (id <= max_pool_gradient) bytes_ += elements(a.y);
      return;
    }
    if (id >= norm_statistics && id <= norm_add_gradient) return norm(launch);
    if (id >= dropout && id <= add_gradient) return element(launch);
    if (id == gate_forward || id == gate_sums) return element(launch);
    if (id == copy_channels) {
      const auto a = arguments<CopyArguments>(launch);
      bytes_ += (a.accumulate ? 3 : 2) * 2 * elements(a.to) / a.to.pitch * a.channels;
    }
  }

  std::int64_t bytes() const { return bytes_; }

 private:
  template <class Arguments>
  static Arguments arguments(const Launch& launch) {
    Arguments out{};
    std::memcpy(static_cast<void*>(&out), launch.arguments.data(), sizeof(out));
    return out;
  }

  std::int64_t elements(const Tensor& t) const {
    return std::int64_t{batch_} * t.height * t.width * t.pitch;
  }
  template <class... Tensors>
  void touch(const Tensors&... tensors) {
    ((bytes_ += 2 * elements(tensors)), ...);
  }

  void product(const TensorArguments& a) {
    touch(a.from, a.to);
    if (a.added >= 0) touch(a.to);
    if (a.mask >= 0) touch(a.to);
    if (a.sums.partials >= 0 && a.sums.x >= 0) touch(a.to);  // the norm's input
  }

  void norm(const Launch& launch) {
    using enum KernelId;
    const KernelId id = launch.kernel;
    const auto a = arguments<NormArguments>(launch);  // what those of pairs begin with
    if (id == norm_prepare || id == norm_slopes) return;
    touch(a.x);
    if (id == norm_statistics) return;
    const bool pool = id >= norm_pool_forward && id <= norm_pool_gradient;
    if (id == norm_forward || id == norm_pool_forward || id == norm_add_forward) {
      touch(a.y);
      if (id == norm_add_forward) touch(a.y);  // what is added
      if (pool && arguments<NormPoolArguments>(launch).selected >= 0) touch(a.y);
    } else {
      touch(a.dy);
      if (id >= norm_add_forward && arguments<NormAddArguments>(launch).relu) touch(a.y);
    }
    if (pool) bytes_ += elements(a.y);
    if (id == norm_gradient || id == norm_pool_gradient || id == norm_add_gradient)
      a.accumulate ? touch(a.dx, a.dx) : touch(a.dx);
  }

  void element(const Launch& launch) {
    using enum KernelId;
    const auto a = arguments<ElementArguments>(launch);
    touch(a.y);
    if (a.accumulate) touch(a.y);
    if (launch.kernel == gate_sums || launch.kernel == gate_forward) return touch(a.a);
    touch(a.y);  // one of what it reads, as large
    if (launch.kernel == add_forward || (launch.kernel == add_gradient && a.relu)) touch(a.y);
    if (launch.kernel == activation_gradient) touch(a.y, a.y);
  }

  const int batch_;
  std::int64_t bytes_ = 0;
};

void print(const std::string& name, const Json& net, int batch, const char* how,
           const Fusion& fusion) {
  Json block = {{"name", "cnn"}, {"dataset", "cifar10"}, {"epochs", 1}, {"batch_size", batch}};
  block["optimizer"] = {{"name", "sgd"}, {"momentum", 0.9}, {"learning_rate", 0.1}};
  block["layers"] = net.at("layers");
  std::vector<Problem> problems;
  const NetworkSpec spec = parse_network(block.dump(), problems);
  for (const Problem& problem : problems) throw UserError(problem.pointer + ": " + problem.message);
  const Json& shape = net.at("data");
  DataShape data;
  data.height = shape[0];
  data.width = shape[1];
  data.channels = shape[2];
  data.classes = shape[3];
  data.train = 50000;
  const Plan plan = make_plan(spec, data);
  const DeviceMemory memory =
      make_device_memory(plan, moment_count(spec.optimizer), false, Precision::bf16, fusion);
  const Program program = make_program(plan, memory, DeviceData());
  Traffic traffic(batch);
  for (const Launch& launch : program.train) traffic.add(launch);
  std::printf("| %s | %s | %zu | %.1f | %.2f |\n", name.c_str(), how, program.train.size(),
              static_cast<double>(memory.slot_bytes) / (1 << 20),
              static_cast<double>(traffic.bytes()) / 1e6 / batch);
}

int run(int argc, char** argv) {
  const Options options(argc, argv, {"--nets", "--batch"});
  const std::string path = options.text("--nets", "bench/gpu/nets.json");
  std::ifstream file(path);
  if (!file) throw UserError(path + ": cannot be opened; give --nets bench/gpu/nets.json");
  std::ostringstream text;
  text << file.rdbuf();
  const auto batch = static_cast<int>(options.whole("--batch", 128));
  std::printf("| network | batch norms | launches a step | MiB a trial | MB an image |\n");
  std::printf("|---|---|---|---|---|\n");
  const Json nets = Json::parse(text.str());
  for (const auto& [name, net] : nets.items()) {
    print(name, net, batch, "passes of their own", {true, false, false, false, false});
    print(name, net, batch, "where their neighbours are", {});
  }
  return 0;
}

}  // namespace
}  // namespace brood::cnn::cuda

int main(int argc, char** argv) {
  return brood::cnn::cuda::run_bench("gpu_traffic", brood::cnn::cuda::run, argc, argv);
}
