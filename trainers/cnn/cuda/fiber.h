// A stack of its own for a function that stops in the middle and goes on later.
#pragma once

#include <functional>
#include <memory>

namespace brood::cnn::cuda::emulator {

// One thread. The function must return, or be left for good.
class FiberStack {
 public:
  FiberStack();
  ~FiberStack();
  FiberStack(FiberStack&&) noexcept;
  FiberStack& operator=(FiberStack&&) noexcept;

  // Nothing runs yet.
  void start(std::function<void()> function);
  // Runs the function until it leaves or returns.
  void enter();
  // From inside: back to where enter() was called.
  void leave();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace brood::cnn::cuda::emulator
