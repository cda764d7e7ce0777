// On x86-64 a switch is a few instructions of our own: ucontext, which does it elsewhere, asks the
// kernel for the signal mask each time.
#include "trainers/cnn/cuda/fiber.h"

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves what a function must keep and the stack at *save, then goes on at `load`.
extern "C" void brood_switch_stack(void** save, void* load);
asm(R"(
.text
.p2align 4
.globl brood_switch_stack
.type brood_switch_stack, @function
brood_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size brood_switch_stack, .-brood_switch_stack
)");
#endif

namespace brood::cnn::cuda::emulator {

namespace {
constexpr std::size_t kStackBytes = std::size_t{64} * 1024;
}  // namespace

struct FiberStack::Context {
  std::function<void()> function;
  std::unique_ptr<unsigned char[]> stack{new unsigned char[kStackBytes]};
#if defined(__x86_64__)
  void* inside = nullptr;
  void* outside = nullptr;
#else
  ucontext_t inside{}, outside{};
#endif
#if defined(__SANITIZE_ADDRESS__)
  // The stack that enter() was called on, and what the sanitizer keeps of either.
  const void* outer_stack = nullptr;
  std::size_t outer_bytes = 0;
  void *inner_frames = nullptr, *outer_frames = nullptr;
#endif

  void to_inside() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&outer_frames, stack.get(), kStackBytes);
#endif
#if defined(__x86_64__)
    brood_switch_stack(&outside, inside);
#else
    swapcontext(&outside, &inside);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(outer_frames, nullptr, nullptr);
#endif
  }

  void to_outside([[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &inner_frames, outer_stack, outer_bytes);
#endif
#if defined(__x86_64__)
    brood_switch_stack(&inside, outside);
#else
    swapcontext(&inside, &outside);
#endif
    arrived();
  }

  void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(inner_frames, &outer_stack, &outer_bytes);
#endif
  }

  // The first thing on the stack; never returns. For the one that is entered.
  static void begin();
  static thread_local Context* entered;
};

thread_local FiberStack::Context* FiberStack::Context::entered = nullptr;

void FiberStack::Context::begin() {
  Context* self = entered;
  self->arrived();
  self->function();
  self->to_outside(true);
  __builtin_unreachable();
}

FiberStack::FiberStack() : context_(std::make_unique<Context>()) {}
FiberStack::~FiberStack() = default;
FiberStack::FiberStack(FiberStack&&) noexcept = default;
FiberStack& FiberStack::operator=(FiberStack&&) noexcept = default;

void FiberStack::start(std::function<void()> function) {
  context_->function = std::move(function);
#if defined(__SANITIZE_ADDRESS__)
  context_->inner_frames = nullptr;
#endif
#if defined(__x86_64__)
  // As if begin() were about to be called: a return address, then six registers to be taken back.
  auto* top = reinterpret_cast<std::uintptr_t*>(context_->stack.get() + kStackBytes);
  *--top = 0;  // what begin() would return to; the stack is aligned as behind a call
  *--top = reinterpret_cast<std::uintptr_t>(&Context::begin);
  for (int i = 0; i < 6; ++i) *--top = 0;
  context_->inside = top;
#else
  getcontext(&context_->inside);
  context_->inside.uc_stack.ss_sp = context_->stack.get();
  context_->inside.uc_stack.ss_size = kStackBytes;
  context_->inside.uc_link = nullptr;
  makecontext(&context_->inside, &Context::begin, 0);
#endif
}

void FiberStack::enter() {
  Context::entered = context_.get();
  context_->to_inside();
}

void FiberStack::leave() { context_->to_outside(false); }

}  // namespace brood::cnn::cuda::emulator
