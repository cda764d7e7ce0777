// How kernels find what is theirs: the slot of the block, tensors in it, elements of a batch.
#pragma once

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/device.h"

namespace brood::cnn::cuda {
inline namespace BROOD_DEVICE_SPACE {

// The bytes of the block's trial; nothing for a block without one. Every kernel makes it before it
// reads or writes any memory.
class SlotAccess {
 public:
  BROOD_DEVICE explicit SlotAccess(const Group& group) {
    follow_launch_before();
    const std::int32_t slot = group.active[block_z()];
    bytes_ = slot < 0 ? nullptr : group.base + slot * group.slot_bytes;
  }

  BROOD_DEVICE bool idle() const { return bytes_ == nullptr; }
  BROOD_DEVICE SlotState& state() const { return *reinterpret_cast<SlotState*>(bytes_); }
  // Samples of the batch under way.
  BROOD_DEVICE int samples() const { return state().samples; }
  template <class T>
  BROOD_DEVICE T* at(std::int64_t offset) const {
    return reinterpret_cast<T*>(bytes_ + offset);
  }
  template <class T>
  BROOD_DEVICE T* at(const Tensor& tensor) const {
    return at<T>(tensor.offset);
  }

 private:
  unsigned char* bytes_;
};

// What block x of a launch for many layers does.
template <class Entry>
BROOD_DEVICE const Entry& entry_of_block(const TableArguments<Entry>& args) {
  int at = 0, beyond = args.count;
  while (beyond - at > 1) {
    const int middle = (at + beyond) / 2;
    if (args.entries[middle].first_block <= block_x())
      at = middle;
    else
      beyond = middle;
  }
  return args.entries[at];
}

BROOD_DEVICE int image_pixels(const Tensor& tensor) { return tensor.height * tensor.width; }

struct PixelPlace {
  int sample, y, x;
};

BROOD_DEVICE PixelPlace pixel_of(int index, const Tensor& tensor) {
  const int pixels = image_pixels(tensor), sample = index / pixels;
  const int place = index - sample * pixels, y = place / tensor.width;
  return {sample, y, place - y * tensor.width};
}

BROOD_DEVICE int pixel_index(const Tensor& tensor, int sample, int y, int x) {
  return (sample * tensor.height + y) * tensor.width + x;
}

// The thread's number among all of a launch's threads along x.
BROOD_DEVICE int element_index() { return block_x() * kThreads + thread_index(); }

// An element of a batch, lanes without a channel included.
struct Element {
  int index, pixel, channel;  // pixel: of the batch
  bool exists;                // in the batch
};

BROOD_DEVICE Element element_of(const Tensor& tensor, int samples) {
  const int index = element_index(), pixel = index / tensor.pitch;
  return {index, pixel, index - pixel * tensor.pitch, pixel < samples * image_pixels(tensor)};
}
BROOD_DEVICE Element element_of(const SlotAccess& slot, const Tensor& tensor) {
  return element_of(tensor, slot.samples());
}

template <class T>
BROOD_DEVICE void put(T* to, int index, float value, bool accumulate) {
  to[index] = from_float<T>(accumulate ? to_float(to[index]) + value : value);
}

// Neighbouring channels of a pixel, 16 bytes of bf16 or one float. Padding makes pixels of bf16 a
// multiple of it.
template <class T>
struct Lanes {
  static constexpr int kCount = 1;
  float value[1];
};
template <>
struct Lanes<Bf16> {
  static constexpr int kCount = kVectorLanes;
  float value[kVectorLanes];
};

BROOD_DEVICE Lanes<float> lanes_at(const float* from, int index) { return {{from[index]}}; }
BROOD_DEVICE Lanes<Bf16> lanes_at(const Bf16* from, int index) {
  const Bf16x8 stored = *reinterpret_cast<const Bf16x8*>(from + index);
  Lanes<Bf16> out;
  BROOD_UNROLL for (int i = 0; i < kVectorLanes; ++i) out.value[i] = to_float(stored.value[i]);
  return out;
}

BROOD_DEVICE void put_lanes(float* to, int index, const Lanes<float>& lanes, bool accumulate) {
  put(to, index, lanes.value[0], accumulate);
}
BROOD_DEVICE void put_lanes(Bf16* to, int index, Lanes<Bf16> lanes, bool accumulate) {
  if (accumulate) {
    const Lanes<Bf16> before = lanes_at(to, index);
    BROOD_UNROLL for (int i = 0; i < kVectorLanes; ++i) lanes.value[i] =
        before.value[i] + lanes.value[i];
  }
  Bf16x8 stored;
  BROOD_UNROLL for (int i = 0; i < kVectorLanes; ++i) stored.value[i] =
      from_float<Bf16>(lanes.value[i]);
  *reinterpret_cast<Bf16x8*>(to + index) = stored;
}

// The first of a thread's lanes, of a launch with a thread for each Lanes<T> of the batch.
template <class T>
BROOD_DEVICE Element lanes_of(const SlotAccess& slot, const Tensor& tensor) {
  const int index = element_index() * Lanes<T>::kCount, pixel = index / tensor.pitch;
  return {index, pixel, index - pixel * tensor.pitch,
          pixel < slot.samples() * image_pixels(tensor)};
}

// What a thread does of a reduction over pixels (arguments.h): pixels first + lane, first + lane +
// kPixelLanes, ... below last.
struct ChunkLane {
  int channel, lane, first, last;
  bool has_channel;
};

BROOD_DEVICE ChunkLane chunk_lane(const SlotAccess& slot, const Tensor& tensor) {
  ChunkLane out;
  out.channel = block_x() * kChannelLanes + thread_index() % kChannelLanes;
  out.lane = thread_index() / kChannelLanes;
  out.first = block_y() * kChunkPixels;
  out.last = smaller(out.first + kChunkPixels, slot.samples() * image_pixels(tensor));
  out.has_channel = out.channel < tensor.channels;
  return out;
}

// The sum over the lanes of a channel, in a fixed order; in the threads of lane 0. All threads
// call. which: kSums places in shared memory, one for each call of a kernel.
BROOD_DEVICE double sum_of_lanes(double value, int which) {
  double* shared = shared_memory<double>() + which * kThreads;
  shared[thread_index()] = value;
  sync_threads();
  double sum = 0.0;
  if (thread_index() < kChannelLanes)
    for (int lane = 0; lane < kPixelLanes; ++lane)
      sum += shared[lane * kChannelLanes + thread_index()];
  return sum;
}

// The sum over all threads of a block, in a fixed order; in thread 0. which: 0 or 1.
BROOD_DEVICE double sum_of_block(double value, int which) {
  const double lanes = sum_of_lanes(value, 2 * which);
  double* shared = shared_memory<double>() + (2 * which + 1) * kThreads;
  if (thread_index() < kChannelLanes) shared[thread_index()] = lanes;
  sync_threads();
  double sum = 0.0;
  if (thread_index() == 0)
    for (int i = 0; i < kChannelLanes; ++i) sum += shared[i];
  return sum;
}

// True in all threads of the block of a trial that comes here last, of so many: it sees what thread
// 0 of each has written. All threads call; there are kSums places in shared memory.
BROOD_DEVICE bool is_last_block(const SlotAccess& slot, int blocks) {
  int* last = reinterpret_cast<int*>(shared_memory<double>() + (kSums - 1) * kThreads);
  if (thread_index() == 0) *last = arrives_last(&slot.state().arrived, blocks);
  sync_threads();
  return *last != 0;
}

BROOD_DEVICE int chunks_of(int items, int chunk) { return (items + chunk - 1) / chunk; }

}  // namespace BROOD_DEVICE_SPACE
}  // namespace brood::cnn::cuda
