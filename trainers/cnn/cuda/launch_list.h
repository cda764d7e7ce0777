// Launches one after another, by the ways in which kernels divide their work among blocks.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trainers/cnn/cuda/arguments.h"
#include "trainers/cnn/cuda/launch.h"

namespace brood::cnn::cuda {

inline int blocks(std::int64_t items, std::int64_t of_a_block) {
  return static_cast<int>((items + of_a_block - 1) / of_a_block);
}

class LaunchList {
 public:
  // batch: the most samples.
  LaunchList(Precision precision, int batch) : precision_(precision), batch_(batch) {}

  // Of the layer that the next launches are for, in messages.
  void name(const std::string& pointer) { pointer_ = pointer; }
  std::vector<Launch> take() { return std::move(out_); }

  std::int64_t batch() const { return batch_; }
  std::int64_t pixels(const Tensor& tensor) const {
    return std::int64_t{1} * batch_ * tensor.height * tensor.width;
  }

  template <class Arguments>
  void add(KernelId kernel, int x, int y, int threads, int shared_bytes,
           const Arguments& arguments) {
    Launch launch;
    launch.kernel = kernel;
    launch.precision = precision_;
    launch.x = x;
    launch.y = y;
    launch.threads = threads;
    launch.shared_bytes = shared_bytes;
    launch.set(arguments);
    launch.what = pointer_ + (pointer_.empty() ? "" : ": ") + name_of(kernel);
    out_.push_back(std::move(launch));
  }

  // A thread for each element of a tensor's batch.
  template <class Arguments>
  void elements(KernelId kernel, const Tensor& tensor, const Arguments& arguments) {
    add(kernel, blocks(pixels(tensor) * tensor.pitch, kThreads), 1, kThreads, 0, arguments);
  }

  // A thread for each Lanes of a tensor's batch.
  template <class Arguments>
  void lanes(KernelId kernel, const Tensor& tensor, const Arguments& arguments) {
    const std::int64_t of_a_thread = precision_ == Precision::bf16 ? kVectorLanes : 1;
    add(kernel, blocks(pixels(tensor) * tensor.pitch, kThreads * of_a_thread), 1, kThreads, 0,
        arguments);
  }

  // Sums over the pixels of a tensor's batch, chunk by chunk.
  template <class Arguments>
  void chunks(KernelId kernel, const Tensor& tensor, const Arguments& arguments) {
    add(kernel, blocks(tensor.channels, kChannelLanes), blocks(pixels(tensor), kChunkPixels),
        kThreads, kSumSharedBytes, arguments);
  }

  // A thread for each channel, with helpers.
  template <class Arguments>
  void channels(KernelId kernel, std::int64_t count, const Arguments& arguments) {
    add(kernel, blocks(count, kChannelLanes), 1, kThreads, kSumSharedBytes, arguments);
  }

  // All entries in as few launches as hold them; blocks_of: the blocks of an entry.
  template <class Entry, class BlocksOf>
  void table(KernelId kernel, int shared_bytes, const std::vector<Entry>& entries,
             const BlocksOf& blocks_of) {
    name("");
    TableArguments<Entry> a{};
    std::int64_t next = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Entry& entry = a.entries[a.count++] = entries[i];
      entry.first_block = static_cast<std::int32_t>(next);
      next += blocks_of(entry);
      if (a.count < kTableMax && i + 1 < entries.size()) continue;
      add(kernel, static_cast<int>(next), 1, kThreads, shared_bytes, a);
      a.count = 0;
      next = 0;
    }
  }

  void product(KernelId kernel, std::int64_t rows, std::int64_t columns, int parts,
               const ProductArguments& arguments) {
    add(kernel, blocks(rows, kTileRows) * blocks(columns, kTileColumns), parts, kProductThreads,
        kProductSharedBytes, arguments);
  }

 private:
  const Precision precision_;
  const int batch_;
  std::string pointer_;
  std::vector<Launch> out_;
};

}  // namespace brood::cnn::cuda
