// Any device, with something added: each bench overrides what it looks at.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "trainers/cnn/cuda/runtime.h"

namespace brood::cnn::cuda {

class WrappedRuntime : public Runtime {
 public:
  explicit WrappedRuntime(std::unique_ptr<Runtime> inner) : inner_(std::move(inner)) {}

  DeviceInfo info() override { return inner_->info(); }
  bool lost() const override { return inner_->lost(); }
  unsigned char* allocate(std::int64_t bytes) override { return inner_->allocate(bytes); }
  void release(unsigned char* memory) noexcept override { inner_->release(memory); }
  void write(unsigned char* to, const void* from, std::int64_t bytes) override {
    inner_->write(to, from, bytes);
  }
  void read(void* to, const unsigned char* from, std::int64_t bytes) override {
    inner_->read(to, from, bytes);
  }
  void copy(unsigned char* to, const unsigned char* from, std::int64_t bytes) override {
    inner_->copy(to, from, bytes);
  }
  void clear(unsigned char* memory, std::int64_t bytes) override { inner_->clear(memory, bytes); }
  int capture(const std::vector<Launch>& launches) override {
    captured_ = launches;
    return inner_->capture(launches);
  }
  void forget(int graph) noexcept override { inner_->forget(graph); }
  void replay(int graph, int stream) override { inner_->replay(graph, stream); }
  void wait(std::chrono::milliseconds longest) override { inner_->wait(longest); }

 protected:
  const std::unique_ptr<Runtime> inner_;
  std::vector<Launch> captured_;  // last
};

}  // namespace brood::cnn::cuda
