// Goal: the runtime on a GPU (cuda_runtime.cpp) asks CUDA for nothing that CUDA refuses, forgets no
// order between streams and leaves nothing behind. Method: it runs over a strict stand-in for
// CUDA's runtime library (standin/), which is shown to notice; trials trained through it, on one
// stream or several, have the bits of the emulated runtime.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "tests/gpu_trials.h"
#include "tests/standin/standin.h"
#include "trainers/cnn/cuda/arguments.h"

namespace brood::cnn::cuda {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kSlotBytes = 2048, kListAt = 8192, kBytes = 16384;

// A launch that adds one to the steps of slot 0.
Launch counting(unsigned char* memory) {
  Launch launch;
  launch.kernel = KernelId::update;
  launch.what = "update";
  launch.set(UpdateArguments());
  launch.bind({memory, kSlotBytes, reinterpret_cast<const std::int32_t*>(memory + kListAt)}, 1);
  return launch;
}

// Memory with a list and one slot.
unsigned char* prepared(Runtime& runtime) {
  unsigned char* const memory = runtime.allocate(kBytes);
  const std::int32_t active = 0;
  runtime.write(memory + kListAt, &active, sizeof active);
  runtime.clear(memory, kSlotBytes);
  return memory;
}

std::int64_t steps(Runtime& runtime, const unsigned char* memory) {
  SlotState state;
  runtime.read(&state, memory, sizeof state);
  return state.step;
}

class CudaRuntime : public testing::Test {
 protected:
  void SetUp() override { reset_standin(); }
  void TearDown() override {
    EXPECT_THAT(standin_verdict(), IsEmpty());
    reset_standin();
  }
};

TEST_F(CudaRuntime, ReplaysGraphsInTheOrderOfCallsOnAnyStreams) {
  const auto runtime = make_cuda_runtime(0);
  unsigned char* const memory = prepared(*runtime);
  const Launch launch = counting(memory);
  const int graph = runtime->capture({launch, launch});
  for (int stream = 0; stream < Runtime::kStreams; ++stream) {
    runtime->replay(graph, stream);
    runtime->replay(graph, stream);
    runtime->copy(memory + 4096, memory, kSlotBytes);  // all after all
    EXPECT_EQ(steps(*runtime, memory), 4 * (stream + 1));
    EXPECT_EQ(steps(*runtime, memory + 4096), 4 * (stream + 1));
  }
  runtime->replay(graph, 3);
  runtime->wait(std::chrono::milliseconds(60000));
  runtime->clear(memory, kSlotBytes);
  runtime->replay(graph, 2);
  runtime->wait(std::chrono::milliseconds(60000));
  EXPECT_EQ(steps(*runtime, memory), 2);
  runtime->capture({launch});  // goes with the runtime
  runtime->forget(graph);
  runtime->release(memory);
}

TEST_F(CudaRuntime, HasReadWhatIsWrittenWhenTheCallReturns) {
  const auto runtime = make_cuda_runtime(0);
  unsigned char* const memory = runtime->allocate(kBytes);
  std::vector<int> values(100, 7), got(100);
  runtime->write(memory, values.data(), 400);
  std::fill(values.begin(), values.end(), 8);
  runtime->read(got.data(), memory, 400);
  EXPECT_EQ(got, std::vector<int>(100, 7));
  runtime->release(memory);
}

TEST_F(CudaRuntime, FindsNoMemoryAndGoesOn) {
  const auto runtime = make_cuda_runtime(0);
  EXPECT_EQ(runtime->allocate(std::int64_t{1} << 40), nullptr);
  EXPECT_EQ(runtime->info().architecture, "sm_90");
  EXPECT_EQ(runtime->info().bytes_free, std::int64_t{64} << 20);
  unsigned char* const memory = runtime->allocate(kBytes);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(runtime->info().bytes_free, (std::int64_t{64} << 20) - kBytes);
  runtime->release(memory);
}

TEST_F(CudaRuntime, SaysWhyThereIsNoDevice) {
  const auto refused = [] {
    try {
      make_cuda_runtime(1);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refused(), HasSubstr("there is no cuda:1: CUDA finds 1 GPU"));
  StandinOptions none;
  none.devices = 0;
  reset_standin(none);
  EXPECT_THAT(refused(), HasSubstr("no CUDA-capable device"));
}

// After an error that sticks no call reaches the device, and nothing is tidied up.
TEST(CudaRuntimeLost, SaysSoFromThenOn) {
  StandinOptions broken;
  broken.illegal_address = 2;
  reset_standin(broken);
  {
    const auto runtime = make_cuda_runtime(0);
    unsigned char* const memory = prepared(*runtime);
    const int graph = runtime->capture({counting(memory)});
    runtime->replay(graph, 0);
    EXPECT_EQ(steps(*runtime, memory), 1);
    runtime->replay(graph, 1);
    EXPECT_FALSE(runtime->lost());
    EXPECT_THROW(runtime->wait(std::chrono::milliseconds(60000)), DeviceLost);
    EXPECT_TRUE(runtime->lost());
    EXPECT_THROW(runtime->clear(memory, 1), DeviceLost);
    runtime->forget(graph);
    runtime->release(memory);
  }
  EXPECT_THAT(standin_verdict(), HasSubstr("memory is left"));
  reset_standin();
}

TEST(CudaRuntimeLost, EndsTheProcessWhenWorkDoesNotEnd) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto hang = [] {
    StandinOptions broken;
    broken.hang = 2;
    reset_standin(broken);
    const auto runtime = make_cuda_runtime(0);
    unsigned char* const memory = prepared(*runtime);
    const int graph = runtime->capture({counting(memory)});
    runtime->replay(graph, 0);
    runtime->wait(std::chrono::milliseconds(60000));
    runtime->replay(graph, 2);
    runtime->wait(std::chrono::milliseconds(5));
  };
  EXPECT_EXIT(hang(), testing::ExitedWithCode(70), "did not end within 5 ms");
}

TEST_F(CudaRuntime, TrainsToTheBitsOfTheEmulatedOneOnOneStreamAndOnSeveral) {
  const Reports wanted = train_small({0, 1, 2, 3, 4}, {}, make_emulated_runtime());
  ASSERT_EQ(wanted.size(), 5U);
  using Share = FusedOptions::Share;
  for (const Share share : {Share::never, Share::always}) {
    FusedOptions options;
    options.share = share;
    options.choose_up_to = share == Share::never ? 4 : 0;
    EXPECT_EQ(train_small({0, 1, 2, 3, 4}, options, make_cuda_runtime(0)), wanted);
    EXPECT_THAT(standin_verdict(), IsEmpty());
    reset_standin();
  }
}

// --- the stand-in notices ---

class Standin : public testing::Test {
 protected:
  void SetUp() override {
    reset_standin();
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, kBytes), cudaSuccess);
    memory_ = static_cast<unsigned char*>(memory);
    for (cudaStream_t& stream : streams_)
      EXPECT_EQ(cudaStreamCreateWithFlags(&stream, 1), cudaSuccess);
    EXPECT_EQ(cudaEventCreateWithFlags(&event_, 2), cudaSuccess);
    const std::int32_t active = 0;
    cudaMemcpyAsync(memory_ + kListAt, &active, 4, cudaMemcpyHostToDevice, streams_[0]);
    cudaMemsetAsync(memory_, 0, kSlotBytes, streams_[0]);
    cudaStreamSynchronize(streams_[0]);
  }
  void TearDown() override { reset_standin(); }

  void launch(int stream) {
    EXPECT_EQ(launch_cuda(counting(memory_), streams_[stream]), cudaSuccess);
  }
  std::string finished() {
    for (const cudaStream_t stream : streams_) {
      EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
      EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    }
    EXPECT_EQ(cudaEventDestroy(event_), cudaSuccess);
    EXPECT_EQ(cudaFree(memory_), cudaSuccess);
    return standin_verdict();
  }

  unsigned char* memory_ = nullptr;
  cudaStream_t streams_[2] = {};
  cudaEvent_t event_ = nullptr;
};

TEST_F(Standin, TakesStreamsThatAreInOrder) {
  launch(0);
  cudaEventRecord(event_, streams_[0]);
  cudaStreamWaitEvent(streams_[1], event_, 0);
  launch(1);
  cudaStreamSynchronize(streams_[1]);  // through the host
  launch(0);
  EXPECT_THAT(finished(), IsEmpty());
}

TEST_F(Standin, NoticesWorkWithoutAnOrder) {
  launch(0);
  cudaEventRecord(event_, streams_[0]);
  launch(0);  // behind the event
  cudaStreamWaitEvent(streams_[1], event_, 0);
  launch(1);
  EXPECT_THAT(finished(), HasSubstr("a launch for a slot is not ordered"));
}

TEST_F(Standin, NoticesAListWrittenUnderALaunch) {
  launch(0);
  const std::int32_t active = -1;
  cudaMemcpyAsync(memory_ + kListAt, &active, 4, cudaMemcpyHostToDevice, streams_[1]);
  EXPECT_THAT(finished(), HasSubstr("not ordered"));
}

TEST_F(Standin, ReadsTheHostsMemoryAsLateAsCudaMay) {
  int value = 1, got = 0;
  cudaMemcpyAsync(memory_ + 4096, &value, 4, cudaMemcpyHostToDevice, streams_[0]);
  value = 2;
  cudaMemcpyAsync(&got, memory_ + 4096, 4, cudaMemcpyDeviceToHost, streams_[0]);
  EXPECT_EQ(got, 0);
  cudaStreamSynchronize(streams_[0]);
  EXPECT_EQ(got, 2);
}

TEST_F(Standin, RefusesWhatMayNotBeCalledDuringACapture) {
  cudaGraph_t graph = nullptr;
  cudaStreamBeginCapture(streams_[0], cudaStreamCaptureModeThreadLocal);
  launch(0);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 256), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(streams_[0], &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaMalloc(&more, 256), cudaSuccess);
}

TEST_F(Standin, RefusesWhatIsGoneAndWhatIsTooLarge) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  cudaStreamBeginCapture(streams_[0], cudaStreamCaptureModeThreadLocal);
  launch(0);
  EXPECT_EQ(cudaStreamEndCapture(streams_[0], &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_THAT(standin_verdict(), HasSubstr("graphs are left"));
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphLaunch(exec, streams_[0]), cudaSuccess);
  cudaGraphExecDestroy(exec);
  EXPECT_EQ(cudaGraphLaunch(exec, streams_[0]), cudaErrorInvalidValue);
  EXPECT_THAT(standin_verdict(), HasSubstr("destroyed before its work is done"));
  Launch large = counting(memory_);
  large.y = 65536;
  EXPECT_EQ(launch_cuda(large, streams_[0]), cudaErrorInvalidConfiguration);
  cudaStreamDestroy(streams_[1]);
  EXPECT_EQ(cudaEventRecord(event_, streams_[1]), cudaErrorInvalidResourceHandle);
  int value = 0;
  EXPECT_EQ(cudaMemcpyAsync(memory_ + kBytes, &value, 4, cudaMemcpyHostToDevice, streams_[0]),
            cudaErrorInvalidValue);
}

TEST(StandinDevices, KeepWhatIsTheirs) {
  StandinOptions two;
  two.devices = 2;
  reset_standin(two);
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  cudaStreamCreateWithFlags(&stream, 1);
  cudaSetDevice(1);
  cudaEventCreateWithFlags(&event, 2);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaErrorInvalidResourceHandle);
  reset_standin();
}

}  // namespace
}  // namespace brood::cnn::cuda
