// What the host asks of a device. One implementation drives CUDA, another runs launches in the
// emulator and fails on request, so that everything above it is tested without a GPU.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "trainers/cnn/cuda/launch.h"

namespace brood::cnn::cuda {

// The device, or the process's part of it, is of no use any more: an illegal address, a kernel that
// does not end. No further call may reach it; the process has to end.
class DeviceLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct DeviceInfo {
  std::string name;
  std::string architecture;     // sm_90; of the emulator: emulated
  std::int64_t bytes_free = 0;  // now
  std::int64_t bytes = 0;       // in all, as the runtime counts
};

// One thread. Work is done in the order of the calls, but not before they return unless said so;
// only replays on different streams may overlap, when no other call lies between them. Any call may
// throw DeviceLost, also for what an earlier one began.
class Runtime {
 public:
  Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  virtual ~Runtime() = default;

  virtual DeviceInfo info() = 0;
  virtual bool lost() const = 0;  // a DeviceLost was thrown

  // Aligned to 256 bytes; nullptr: there is not so much memory, and the device is as it was.
  virtual unsigned char* allocate(std::int64_t bytes) = 0;
  virtual void release(unsigned char* memory) noexcept = 0;  // of allocate()

  // The host's memory may be used again when they return; read() waits for all work before it.
  virtual void write(unsigned char* to, const void* from, std::int64_t bytes) = 0;
  virtual void read(void* to, const unsigned char* from, std::int64_t bytes) = 0;
  virtual void copy(unsigned char* to, const unsigned char* from, std::int64_t bytes) = 0;
  virtual void clear(unsigned char* memory, std::int64_t bytes) = 0;

  static constexpr int kStreams = 4;
  // The launches as one piece of work, to be done often; its number.
  virtual int capture(const std::vector<Launch>& launches) = 0;
  virtual void replay(int graph, int stream) = 0;
  virtual void forget(int graph) noexcept = 0;

  // Until all work is done; DeviceLost when it takes longer.
  virtual void wait(std::chrono::milliseconds longest) = 0;
};

// The end of a worker whose device does not answer: a kernel that does not end cannot be cancelled,
// and an orderly exit would wait for it.
[[noreturn]] void end_hung_process(std::chrono::milliseconds longest);

// What an emulated device has, and when it fails. Numbers count from 1; 0: never.
struct EmulatedDevice {
  std::int64_t bytes = std::int64_t{1} << 30;
  // Of threads; and of streams: one after another, the last one first, a launch of each in turn.
  emulator::Order order = emulator::Order::forward;
  int allocation_fails = 0;       // this one finds no memory
  std::int64_t launch_fails = 0;  // from this launch on every call throws
  std::int64_t launch_hangs = 0;  // the wait after this launch is too long
  std::string architecture = "emulated";
  int number = 0;  // tells it from others
  // A fault at a launch, or of the trial that has this learning rate once it has done so many
  // steps; in one process alone where `once` names a file, which it makes.
  enum class Fault : std::uint8_t { none, illegal_address, hang };
  Fault fault = Fault::none;
  std::int64_t fault_launch = 0, fault_step = 0;
  double fault_learning_rate = 0.0;
  std::string once;
  bool hang_ends_process = false;  // as on a GPU; else it is DeviceLost
  // Bytes that others hold: always, or as long as there is a file.
  std::int64_t held = 0;
  std::string held_while;
};
std::unique_ptr<Runtime> make_emulated_runtime(EmulatedDevice device = {});

// Device `number` of CUDA. Throws UserError, with the reason, where there is none: a build without
// CUDA, no driver, no such device. Not tried on a GPU so far.
std::unique_ptr<Runtime> make_cuda_runtime(int number);

// Does this build have the latter?
bool built_with_cuda();

}  // namespace brood::cnn::cuda
