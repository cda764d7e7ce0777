#include "tests/standin/standin.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/launch.h"

namespace brood::cnn::cuda {

namespace {

// How much of each stream's work lies before something.
using Clock = std::map<const StandinStream*, std::int64_t>;

void join(Clock& into, const Clock& other) {
  for (const auto& [stream, tick] : other) into[stream] = std::max(into[stream], tick);
}

struct Handle {
  bool alive = true;
  int device = 0;
};

struct Work {
  std::function<void()> run;
  Clock host;                     // what the host knew to be done when it asked
  StandinEvent* after = nullptr;  // it waits for this record of the event
  std::int64_t record = 0;
  const StandinExec* exec = nullptr;
};

// Who touched a piece of memory.
struct Region {
  std::uintptr_t end = 0;
  const StandinStream* writer = nullptr;
  std::int64_t written = 0;
  Clock reads;
};

}  // namespace

struct StandinStream : Handle {
  std::deque<Work> work;
  Clock clock;
  bool captures = false, invalid = false;
  std::vector<Launch> captured;
};
struct StandinEvent : Handle {
  StandinStream* stream = nullptr;
  std::int64_t asked = 0, done = 0;  // records
  std::map<std::int64_t, Clock> clocks;
};
struct StandinGraph : Handle {
  std::vector<Launch> launches;
};
struct StandinExec : Handle {
  std::vector<Launch> launches;
};

namespace {

struct Process {
  StandinOptions options;
  int device = 0;
  cudaError_t sticky = cudaSuccess;
  bool hung = false;
  std::int64_t launches = 0, queries = 0, used = 0;
  std::vector<std::unique_ptr<StandinStream>> streams;
  std::vector<std::unique_ptr<StandinEvent>> events;
  std::vector<std::unique_ptr<StandinGraph>> graphs;
  std::vector<std::unique_ptr<StandinExec>> execs;
  std::map<std::uintptr_t, std::pair<std::size_t, int>> memory;  // bytes, device
  std::map<std::uintptr_t, Region> regions;
  Clock host;
  std::string notes;

  ~Process() {
    for (const auto& [address, block] : memory) std::free(reinterpret_cast<void*>(address));
  }
  void note(const std::string& what) { notes += what + "\n"; }
};

std::unique_ptr<Process> process = std::make_unique<Process>();

std::uintptr_t address_of(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

// --- memory ---

bool allocated(std::uintptr_t first, std::size_t bytes) {
  auto at = process->memory.upper_bound(first);
  if (at == process->memory.begin()) return false;
  --at;
  return at->second.second == process->device && first + bytes <= at->first + at->second.first;
}

void check_order(const StandinStream& stream, const Region& region, bool writes,
                 const std::string& what) {
  const auto before = [&](const StandinStream* other, std::int64_t tick) {
    const auto known = stream.clock.find(other);
    return other == nullptr || (known != stream.clock.end() && known->second >= tick);
  };
  bool ordered = before(region.writer, region.written);
  for (const auto& [reader, tick] : region.reads) ordered &= !writes || before(reader, tick);
  if (!ordered) process->note(what + " is not ordered after other work on the same memory");
}

// whole: what lies there becomes one piece, of which any access touches all.
void touch(StandinStream& stream, std::uintptr_t first, std::size_t bytes, bool writes,
           const std::string& what, bool whole = false) {
  auto& regions = process->regions;
  auto at = regions.upper_bound(first);
  if (at != regions.begin() && std::prev(at)->second.end > first) --at;
  const bool known = at != regions.end() && at->first < first + bytes;
  const std::int64_t now = stream.clock[&stream];
  if (!known || whole) {
    while (at != regions.end() && at->first < first + bytes) {
      check_order(stream, at->second, writes, what);
      at = regions.erase(at);
    }
    Region& fresh = regions[first];
    fresh.end = first + bytes;
    if (writes) fresh.writer = &stream, fresh.written = now;
    if (!writes) fresh.reads[&stream] = now;
    return;
  }
  for (; at != regions.end() && at->first < first + bytes; ++at) {
    check_order(stream, at->second, writes, what);
    if (writes) at->second.writer = &stream, at->second.written = now, at->second.reads.clear();
    if (!writes) at->second.reads[&stream] = now;
  }
}

// --- work ---

void run_next(StandinStream& stream);

void complete(StandinEvent& event, std::int64_t record) {
  while (event.done < record && process->sticky == cudaSuccess && !process->hung)
    run_next(*event.stream);
}

void run_next(StandinStream& stream) {
  if (stream.work.empty()) throw std::logic_error("work that waits for itself");
  Work work = std::move(stream.work.front());
  stream.work.pop_front();
  if (process->hung) return;
  if (work.after) {
    complete(*work.after, work.record);
    join(stream.clock, work.after->clocks[work.record]);
  }
  join(stream.clock, work.host);
  ++stream.clock[&stream];
  if (work.run && process->sticky == cudaSuccess) work.run();
}

void add(cudaStream_t stream, std::function<void()> run, const StandinExec* exec = nullptr) {
  stream->work.push_back({std::move(run), process->host, nullptr, 0, exec});
}

void run_launches(StandinStream& stream, const std::vector<Launch>& launches) {
  if (launches.empty()) return;
  ++process->launches;
  if (process->launches == process->options.hang) process->hung = true;
  if (process->launches == process->options.illegal_address)
    process->sticky = cudaErrorIllegalAddress;
  if (process->hung || process->sticky != cudaSuccess) return;
  const Launch& first = launches.front();
  Group group;
  std::memcpy(&group, first.arguments.data(), sizeof group);
  const std::size_t list = 4 * static_cast<std::size_t>(first.z);
  if (!allocated(address_of(group.active), list)) process->sticky = cudaErrorIllegalAddress;
  if (process->sticky != cudaSuccess) return;
  touch(stream, address_of(group.active), list, false, "the list of " + first.what);
  for (int z = 0; z < first.z; ++z) {
    if (group.active[z] < 0) continue;
    const std::uintptr_t slot =
        address_of(group.base) + static_cast<std::uintptr_t>(group.active[z] * group.slot_bytes);
    const auto known = process->regions.find(slot);
    if (!allocated(slot, sizeof(SlotState))) process->sticky = cudaErrorIllegalAddress;
    if (process->sticky != cudaSuccess) return;
    if (known == process->regions.end())
      process->note("a launch for a slot that was never cleared");
    else
      touch(stream, slot, 1, true, "a launch for a slot");
  }
  for (const Launch& launch : launches) run_emulated(launch, process->options.order);
}

// --- what every call asks ---

cudaError_t usable(bool while_capturing = false) {
  for (const auto& stream : process->streams)
    if (stream->captures && !while_capturing) {
      stream->invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
  return process->sticky;
}

template <class T>
bool good(const std::vector<std::unique_ptr<T>>& all, const T* one) {
  const bool known =
      std::any_of(all.begin(), all.end(), [&](const auto& made) { return made.get() == one; });
  return known && one->alive && one->device == process->device;
}

template <class T>
cudaError_t make(std::vector<std::unique_ptr<T>>& all, T** out) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  all.push_back(std::make_unique<T>());
  all.back()->device = process->device;
  *out = all.back().get();
  return cudaSuccess;
}

template <class T>
cudaError_t destroy(const std::vector<std::unique_ptr<T>>& all, T* one) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (!good(all, one)) return cudaErrorInvalidResourceHandle;
  one->alive = false;
  return cudaSuccess;
}

bool good(cudaStream_t stream) { return good(process->streams, stream); }

}  // namespace

// --- CUDA's calls ---

const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
const char* cudaGetErrorString(cudaError_t error) {
  static const std::map<int, const char*> kTexts = {
      {cudaErrorMemoryAllocation, "out of memory"},
      {cudaErrorInvalidConfiguration, "invalid configuration argument"},
      {cudaErrorNoDevice, "no CUDA-capable device is detected"},
      {cudaErrorIllegalAddress, "an illegal memory access was encountered"}};
  const auto text = kTexts.find(error);
  return text == kTexts.end() ? "refused" : text->second;
}
cudaError_t cudaGetLastError() { return process->sticky; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = process->options.devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int number) {
  if (number < 0 || number >= process->options.devices) return cudaErrorInvalidDevice;
  process->device = number;
  return usable(true);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int number) {
  if (number < 0 || number >= process->options.devices) return cudaErrorInvalidDevice;
  *properties = {"stand-in", 9, 0};
  return usable(true);
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = static_cast<std::size_t>(process->options.bytes);
  *free = static_cast<std::size_t>(process->options.bytes - process->used);
  return usable();
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (static_cast<std::int64_t>(bytes) > process->options.bytes - process->used)
    return cudaErrorMemoryAllocation;
  const std::size_t rounded = (bytes + 255) / 256 * 256;
  *memory = std::aligned_alloc(256, rounded);
  std::memset(*memory, 0xA5, rounded);
  process->memory[address_of(*memory)] = {bytes, process->device};
  process->used += static_cast<std::int64_t>(bytes);
  return cudaSuccess;
}
// Waits for all work.
cudaError_t cudaFree(void* memory) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const auto at = process->memory.find(address_of(memory));
  if (at == process->memory.end()) return cudaErrorInvalidValue;
  for (const auto& stream : process->streams)
    while (!stream->work.empty()) run_next(*stream);
  const std::uintptr_t end = at->first + at->second.first;
  auto& regions = process->regions;
  regions.erase(regions.lower_bound(at->first), regions.lower_bound(end));
  process->used -= static_cast<std::int64_t>(at->second.first);
  process->memory.erase(at);
  std::free(memory);
  return process->sticky;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  const bool writes = kind != cudaMemcpyDeviceToHost, reads = kind != cudaMemcpyHostToDevice;
  if (!good(stream)) return cudaErrorInvalidResourceHandle;
  if ((writes && !allocated(address_of(to), bytes)) ||
      (reads && !allocated(address_of(from), bytes)))
    return cudaErrorInvalidValue;
  add(stream, [=] {
    if (reads) touch(*stream, address_of(from), bytes, false, "a copy");
    if (writes) touch(*stream, address_of(to), bytes, true, "a copy");
    std::memmove(to, from, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (!good(stream)) return cudaErrorInvalidResourceHandle;
  if (!allocated(address_of(memory), bytes)) return cudaErrorInvalidValue;
  add(stream, [=] {
    touch(*stream, address_of(memory), bytes, true, "clearing", true);
    std::memset(memory, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return make(process->streams, stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return destroy(process->streams, stream); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (!good(stream)) return cudaErrorInvalidResourceHandle;
  while (!stream->work.empty()) run_next(*stream);
  if (process->hung) throw std::logic_error("the host waits without end for a hung device");
  join(process->host, stream->clock);
  return process->sticky;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (!good(stream) || !good(process->events, event)) return cudaErrorInvalidResourceHandle;
  if (event->asked == 0) process->note("a stream waits for an event that was never recorded");
  stream->work.push_back({{}, process->host, event, event->asked});
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (!good(stream)) return cudaErrorInvalidResourceHandle;
  stream->captures = true;
  stream->invalid = false;
  stream->captured.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!good(stream) || !stream->captures) return cudaErrorInvalidResourceHandle;
  stream->captures = false;
  if (stream->invalid) return cudaErrorStreamCaptureInvalidated;
  const cudaError_t error = make(process->graphs, graph);
  if (error == cudaSuccess) (*graph)->launches = std::move(stream->captured);
  return error;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return make(process->events, event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return destroy(process->events, event); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (!good(stream) || !good(process->events, event)) return cudaErrorInvalidResourceHandle;
  event->stream = stream;
  add(stream, [=, record = ++event->asked] {
    event->clocks[record] = stream->clock;
    event->done = record;
  });
  return cudaSuccess;
}
// Ready when it is asked for the second time, so that those who wait have to ask again.
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (!good(process->events, event)) return cudaErrorInvalidResourceHandle;
  if (++process->queries % 2 == 1 || process->hung) return cudaErrorNotReady;
  while (event->done < event->asked && process->sticky == cudaSuccess && !process->hung)
    run_next(*event->stream);
  if (process->hung) return cudaErrorNotReady;
  if (process->sticky == cudaSuccess) join(process->host, event->clocks[event->done]);
  return process->sticky;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (!good(process->graphs, graph)) return cudaErrorInvalidValue;
  const cudaError_t error = make(process->execs, exec);
  if (error == cudaSuccess) (*exec)->launches = graph->launches;
  return error;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  return good(process->execs, exec) && good(stream) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (const cudaError_t error = cudaGraphUpload(exec, stream); error != cudaSuccess) return error;
  add(
      stream, [=] { run_launches(*stream, exec->launches); }, exec);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return destroy(process->graphs, graph); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  for (const auto& stream : process->streams)
    for (const Work& work : stream->work)
      if (work.exec == exec) process->note("a graph is destroyed before its work is done");
  return destroy(process->execs, exec);
}

// --- our own (launch.h) ---

int prepare_kernels() { return usable(); }

int launch_cuda(const Launch& launch, void* on) {
  auto* stream = static_cast<cudaStream_t>(on);
  if (const cudaError_t error = usable(true); error != cudaSuccess) return error;
  if (!good(stream)) return cudaErrorInvalidResourceHandle;
  const bool fits = launch.x > 0 && launch.y > 0 && launch.z > 0 && launch.threads > 0 &&
                    launch.y <= 65535 && launch.z <= 65535 && launch.threads <= 1024 &&
                    launch.shared_bytes <= kSharedBytesMax;
  if (!fits) return cudaErrorInvalidConfiguration;
  if (stream->captures)
    stream->captured.push_back(launch);
  else
    add(stream, [=] { run_launches(*stream, {launch}); });
  return cudaSuccess;
}

// --- what tests ask ---

void reset_standin(const StandinOptions& options) {
  process = std::make_unique<Process>();
  process->options = options;
}

std::string standin_verdict() {
  Process& p = *process;
  const auto left = [](const auto& all) {
    return std::any_of(all.begin(), all.end(), [](const auto& one) { return one->alive; });
  };
  std::string out = p.notes;
  if (left(p.streams) || left(p.events)) out += "streams or events are left\n";
  if (left(p.graphs) || left(p.execs)) out += "graphs are left\n";
  if (!p.memory.empty()) out += "memory is left\n";
  for (const auto& stream : p.streams)
    if (!stream->work.empty()) out += "work is left\n";
  return out;
}

}  // namespace brood::cnn::cuda
