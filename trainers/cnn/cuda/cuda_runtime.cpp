// The runtime on a GPU, by CUDA's own runtime library. Only in builds with BROOD_CUDA; tried over a
// stand-in for that library (tests/standin), but not on a GPU so far.
#include <cuda_runtime_api.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>
#include <utility>

#include "engine/error.h"
#include "trainers/cnn/cuda/runtime.h"

namespace brood::cnn::cuda {

namespace {

std::string text_of(cudaError_t error) {
  return std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error);
}

class CudaRuntime final : public Runtime {
 public:
  explicit CudaRuntime(int number) : number_(number) {
    require_device();
    must(cudaSetDevice(number), "cannot use the device");
    for (Stream& made : streams_) {
      must(cudaStreamCreateWithFlags(&made.stream, cudaStreamNonBlocking), "cannot make a stream");
      must(cudaEventCreateWithFlags(&made.event, cudaEventDisableTiming), "cannot make an event");
    }
    stream_ = streams_[0].stream;
    must(static_cast<cudaError_t>(prepare_kernels()), "this build has no kernels for the device");
  }
  // After a loss every call could hang or abort: what is left goes with the process.
  ~CudaRuntime() override {
    if (lost_) return;
    for (const auto& [graph, made] : graphs_) cudaGraphExecDestroy(made);
    for (const Stream& made : streams_) {
      cudaEventDestroy(made.event);
      cudaStreamDestroy(made.stream);
    }
  }

  bool lost() const override { return lost_; }

  DeviceInfo info() override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, number_), "describing the device");
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    return {properties.name,
            "sm_" + std::to_string(properties.major) + std::to_string(properties.minor),
            static_cast<std::int64_t>(free), static_cast<std::int64_t>(total)};
  }

  unsigned char* allocate(std::int64_t bytes) override {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // it is no error of later calls
      return nullptr;
    }
    check(error, "allocating memory");
    return static_cast<unsigned char*>(memory);
  }
  void release(unsigned char* memory) noexcept override {
    if (!lost_) cudaFree(memory);
  }

  void write(unsigned char* to, const void* from, std::int64_t bytes) override {
    gather();
    check(
        cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream_),
        "writing to the device");
    // CUDA does not promise when it reads pageable memory, and the caller may give it back at once.
    check(cudaStreamSynchronize(stream_), "writing to the device");
  }
  void read(void* to, const unsigned char* from, std::int64_t bytes) override {
    gather();
    check(
        cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream_),
        "reading from the device");
    check(cudaStreamSynchronize(stream_), "reading from the device");
  }
  void copy(unsigned char* to, const unsigned char* from, std::int64_t bytes) override {
    gather();
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                          stream_),
          "copying on the device");
  }
  void clear(unsigned char* memory, std::int64_t bytes) override {
    gather();
    check(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), stream_),
          "clearing memory of the device");
  }

  int capture(const std::vector<Launch>& launches) override {
    gather();
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "beginning a capture");
    for (const Launch& launch : launches)
      check(static_cast<cudaError_t>(launch_cuda(launch, stream_)), launch.what.c_str());
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "ending a capture");
    cudaGraphExec_t made = nullptr;
    check(cudaGraphInstantiate(&made, graph, 0), "making a graph");
    check(cudaGraphDestroy(graph), "making a graph");
    check(cudaGraphUpload(made, stream_), "uploading a graph");
    graphs_[++graph_] = made;
    return graph_;
  }
  void replay(int graph, int stream) override {
    Stream& on = streams_.at(static_cast<std::size_t>(stream));
    if (!std::exchange(marked_, true))
      check(cudaEventRecord(streams_[0].event, stream_), "ordering streams");
    if (!std::exchange(on.after_first, true))
      check(cudaStreamWaitEvent(on.stream, streams_[0].event, 0), "ordering streams");
    check(cudaGraphLaunch(graphs_.at(graph), on.stream), "launching a graph");
    on.busy = true;
  }
  void forget(int graph) noexcept override {
    const auto at = graphs_.find(graph);
    if (at == graphs_.end()) return;
    if (!lost_) cudaGraphExecDestroy(at->second);
    graphs_.erase(at);
  }

  void wait(std::chrono::milliseconds longest) override {
    gather();
    check(cudaEventRecord(streams_[0].event, stream_), "waiting for the device");
    const auto until = std::chrono::steady_clock::now() + longest;
    // Work takes milliseconds: first as often as the processor is given back, then now and then.
    for (std::int64_t looks = 0;; ++looks) {
      const cudaError_t error = cudaEventQuery(streams_[0].event);
      if (error == cudaSuccess) return;
      if (error != cudaErrorNotReady) check(error, "training");
      if (std::chrono::steady_clock::now() > until) hang(longest);
      if (looks < 1000)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

 private:
  struct Stream {
    cudaStream_t stream = nullptr;
    cudaEvent_t event = nullptr;
    bool busy = false;         // since the first one last waited for it
    bool after_first = false;  // it waits for what the first one was asked for before any graph
  };

  // The first stream goes on after all others, and they after it.
  void gather() {
    marked_ = false;
    for (Stream& other : streams_) {
      other.after_first = other.stream == stream_;
      if (!std::exchange(other.busy, false) || other.stream == stream_) continue;
      check(cudaEventRecord(other.event, other.stream), "ordering streams");
      check(cudaStreamWaitEvent(stream_, other.event, 0), "ordering streams");
    }
  }

  // Before anything is lost: the reason for people.
  void require_device() const {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
      throw UserError("no GPU can be used: " + text_of(error) +
                      " (is the NVIDIA driver there, and "
                      "new enough for this build of brood?)");
    if (number_ >= count)
      throw UserError("there is no cuda:" + std::to_string(number_) + ": CUDA finds " +
                      std::to_string(count) + (count == 1 ? " GPU" : " GPUs"));
  }
  static void must(cudaError_t error, const char* what) {
    if (error != cudaSuccess) throw UserError(std::string(what) + ": " + text_of(error));
  }
  void check(cudaError_t error, const char* what) {
    if (lost_ || error != cudaSuccess) {
      lost_ = true;
      throw DeviceLost(std::string("the device is lost: ") + what + ": " + text_of(error));
    }
  }
  [[noreturn]] void hang(std::chrono::milliseconds longest) {
    lost_ = true;
    end_hung_process(longest);
  }

  const int number_;
  bool lost_ = false;
  std::array<Stream, kStreams> streams_;
  bool marked_ = false;            // the first one's event lies before the graphs asked for now
  cudaStream_t stream_ = nullptr;  // the first, where all but graphs runs
  int graph_ = 0;
  std::map<int, cudaGraphExec_t> graphs_;
};

}  // namespace

bool built_with_cuda() { return true; }

std::unique_ptr<Runtime> make_cuda_runtime(int number) {
  return std::make_unique<CudaRuntime>(number);
}

}  // namespace brood::cnn::cuda
