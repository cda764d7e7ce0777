#include "trainers/cnn/cuda/emulator.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "trainers/cnn/cuda/fiber.h"

namespace brood::cnn::cuda::emulator {

thread_local Thread* thread = nullptr;
thread_local Block* block = nullptr;

namespace {

constexpr int kWarp = 32;
constexpr int kAlignment = 128;  // of shared memory
constexpr unsigned char kPoison = 0xCB;

// Where the threads that run meet.
struct Barrier {
  int arrived = 0, members = 0;
  std::int64_t generation = 0;

  void open() {
    arrived = 0;
    ++generation;
  }
  void leave() {
    if (--members > 0 && arrived == members) open();
  }
};

struct Copy {
  void* to;
  const void* from;
  bool wanted;

  void land() const {
    if (wanted)
      std::memcpy(to, from, 16);
    else
      std::memset(to, 0, 16);
  }
};

// What each thread of a warp shows to the others.
using Words = std::uint64_t[kWarp][8];

struct Warp {
  Barrier barrier;
  // Taken in turn: who comes to the next meeting has read what was shown at the one before.
  Words words[2];
};

}  // namespace

struct Fiber : Thread {
  FiberStack stack;
  bool done = false;
  // What it waits for: the barrier's next generation.
  const Barrier* waits_at = nullptr;
  std::int64_t generation = 0;
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};

namespace {

// From launch to launch: a stack's memory is slow to get.
thread_local std::vector<Fiber> kept_fibers;

// The blocks of a launch, one after another, on the same fibers.
class Emulation {
 public:
  Emulation(const Grid& grid, const std::function<void()>& body, Order order)
      : grid_(grid), body_(body), order_(order) {
    block_.threads = grid.threads;
    // Not a byte more: AddressSanitizer sees what is read behind.
    void* shared = nullptr;
    const auto bytes = static_cast<std::size_t>(std::max(grid.shared_bytes, 1));
    if (::posix_memalign(&shared, kAlignment, bytes) != 0) throw std::bad_alloc();
    shared_.reset(static_cast<unsigned char*>(shared));
    block_.shared = shared_.get();
    if (!grid.cooperates) return;
    if (fibers_.size() < static_cast<std::size_t>(grid.threads))
      fibers_.resize(static_cast<std::size_t>(grid.threads));
    warps_.resize((static_cast<std::size_t>(grid.threads) + kWarp - 1) / kWarp);
  }

  void run_block(int x, int y, int z) {
    block_.x = x;
    block_.y = y;
    block_.z = z;
    block = &block_;
    std::memset(block_.shared, kPoison, static_cast<std::size_t>(grid_.shared_bytes));
    grid_.cooperates ? run_fibers() : run_alone();
  }

  void meet(Barrier& barrier) {
    Fiber& fiber = self();
    fiber.generation = barrier.generation;
    if (++barrier.arrived == barrier.members) return barrier.open();
    fiber.waits_at = &barrier;
    fiber.stack.leave();
    fiber.waits_at = nullptr;
  }
  void meet_block() { meet(barrier_); }
  Warp& warp() { return warps_[static_cast<std::size_t>(thread->index / kWarp)]; }
  // Where to show something before the next meeting of the warp, and read it after.
  Words& words() { return warp().words[warp().barrier.generation % 2]; }
  void meet_warp() { meet(warp().barrier); }
  // 16 bytes of the block's shared memory.
  void require_shared(const void* at, const char* what) const {
    const auto place = reinterpret_cast<std::uintptr_t>(at);
    const auto first = reinterpret_cast<std::uintptr_t>(block_.shared);
    if (place % 16 != 0) throw std::logic_error(std::string(what) + " not aligned to 16");
    if (place < first || place + 16 > first + static_cast<std::size_t>(grid_.shared_bytes))
      throw std::logic_error(std::string(what) + " outside of shared memory");
  }
  bool copies_at_once() const { return order_ == Order::reverse; }
  static Fiber& self() { return *thread->fiber; }

 private:
  // The n-th of so many in the chosen order.
  int chosen(int n, int count) const {
    if (order_ == Order::forward) return n;
    if (order_ == Order::reverse) return count - 1 - n;
    // The step 37 shares no factor with any number of threads in use: every one gets its turn.
    return static_cast<int>((n * std::int64_t{37} + 11) % count);
  }

  void run_alone() {
    thread = &alone_;
    for (int n = 0; n < grid_.threads; ++n) {
      alone_.index = chosen(n, grid_.threads);
      body_();
    }
  }

  void start() {
    barrier_ = {0, grid_.threads, 0};
    for (std::size_t w = 0; w < warps_.size(); ++w)
      warps_[w].barrier = {0, std::min(kWarp, grid_.threads - static_cast<int>(w) * kWarp), 0};
    for (int i = 0; i < grid_.threads; ++i) {
      Fiber& fiber = fibers_[static_cast<std::size_t>(i)];
      fiber.index = i;
      fiber.fiber = &fiber;
      fiber.done = false;
      fiber.waits_at = nullptr;
      fiber.open.clear();
      fiber.groups.clear();
      fiber.stack.start([this, &fiber] {
        try {
          body_();
        } catch (...) {
          if (!failure_) failure_ = std::current_exception();
        }
        fiber.done = true;
        barrier_.leave();
        warp().barrier.leave();
      });
    }
  }

  // A warp at a time, as far as it gets without the others: those that are ahead write over what
  // is still to be read, if nothing keeps them from it. Where no warp gets any further, there is a
  // barrier that some thread never reaches.
  void run_fibers() {
    start();
    left_ = grid_.threads;
    while (left_ > 0) {
      bool any = false;
      const auto warps = static_cast<int>(warps_.size());
      for (int n = 0; n < warps; ++n)
        while (run_warp(chosen(n, warps))) any = true;
      if (failure_) give_up(failure_);
      if (!any)
        give_up(std::make_exception_ptr(std::logic_error("a barrier that not all threads reach")));
    }
  }

  // A turn of each of its threads; false: none could do anything.
  bool run_warp(int warp) {
    const int first = warp * kWarp, count = std::min(kWarp, grid_.threads - first);
    bool any = false;
    for (int n = 0; n < count; ++n) {
      Fiber& fiber = fibers_[static_cast<std::size_t>(first + chosen(n, count))];
      if (fiber.done) continue;
      if (fiber.waits_at && fiber.waits_at->generation == fiber.generation) continue;
      any = true;
      thread = &fiber;
      fiber.stack.enter();
      if (fiber.done) --left_;
    }
    return any;
  }

  // Fibers that stopped in the middle are of no use any more.
  [[noreturn]] void give_up(std::exception_ptr why) {
    fibers_.clear();
    std::rethrow_exception(std::move(why));
  }

  const Grid grid_;
  const std::function<void()>& body_;
  const Order order_;
  std::unique_ptr<unsigned char, decltype(&std::free)> shared_{nullptr, &std::free};
  Block block_;
  Thread alone_;
  Barrier barrier_;
  std::vector<Fiber>& fibers_ = kept_fibers;
  std::vector<Warp> warps_;
  int left_ = 0;  // threads that have not returned
  std::exception_ptr failure_;
};

thread_local Emulation* emulation = nullptr;

Emulation& cooperating() {
  if (!thread->fiber) throw std::logic_error("the kernel is listed as one without barriers");
  return *emulation;
}

float float_of(std::uint64_t pair, unsigned which) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(pair >> 16U * which) << 16U);
}

}  // namespace

void run(const Grid& grid, const std::function<void()>& body, Order order) {
  Emulation here(grid, body, order);
  emulation = &here;
  const auto blocks = std::int64_t{grid.x} * grid.y * grid.z;
  for (std::int64_t n = 0; n < blocks; ++n) {
    const std::int64_t b = order == Order::reverse ? blocks - 1 - n : n;
    here.run_block(static_cast<int>(b % grid.x), static_cast<int>(b / grid.x % grid.y),
                   static_cast<int>(b / grid.x / grid.y));
  }
  emulation = nullptr;
  block = nullptr;
  thread = nullptr;
}

void sync_threads() { cooperating().meet_block(); }

float shuffle_xor(float value, int mask) {
  Emulation& e = cooperating();
  Words& word = e.words();
  const int lane = thread->index % kWarp;
  word[lane][0] = __builtin_bit_cast(std::uint32_t, value);
  e.meet_warp();
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(word[lane ^ mask][0]));
}

void load_matrices(std::uint32_t (&out)[4], const void* row, bool transposed) {
  Emulation& e = cooperating();
  Words& word = e.words();
  const int lane = thread->index % kWarp;
  e.require_shared(row, "ldmatrix of an address");
  word[lane][0] = reinterpret_cast<std::uintptr_t>(row);
  e.meet_warp();
  // Element (r, c) of matrix i.
  const auto element = [&](int i, int r, int c) {
    const auto* from = reinterpret_cast<const std::uint16_t*>(word[i * 8 + r][0]);
    return std::uint32_t{from[c]};
  };
  const int first = lane / 4, pair = lane % 4 * 2;
  for (int i = 0; i < 4; ++i)
    out[i] = transposed ? element(i, pair, first) | element(i, pair + 1, first) << 16U
                        : element(i, first, pair) | element(i, first, pair + 1) << 16U;
}

void multiply_matrices(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                       std::uint32_t b1) {
  Emulation& e = cooperating();
  Words& word = e.words();
  const int lane = thread->index % kWarp, group = lane / 4, pair = lane % 4;
  for (int i = 0; i < 4; ++i) word[lane][i] = a[i];
  word[lane][4] = b0;
  word[lane][5] = b1;
  e.meet_warp();
  // The fragments of PTX's mma.m16n8k16: this thread has rows group and group + 8 of the columns
  // 2 pair and 2 pair + 1. Depths 8 half + 2 i and the next lie in thread i of a row or column.
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 4; ++i) {
      const auto& row = word[4 * group + i];
      const auto &left = word[8 * pair + i], &right = word[8 * pair + 4 + i];
      for (unsigned k = 0; k < 2; ++k) {
        const float upper = float_of(row[2 * half], k), lower = float_of(row[2 * half + 1], k);
        const float factors[2] = {float_of(left[4 + half], k), float_of(right[4 + half], k)};
        for (int n = 0; n < 2; ++n) {
          c[n] += upper * factors[n];
          c[2 + n] += lower * factors[n];
        }
      }
    }
}

void copy_async(void* shared, const void* global, bool wanted) {
  cooperating().require_shared(shared, "cp.async to an address");
  if (reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    throw std::logic_error("cp.async from an address not aligned to 16");
  // As late as a kernel allows, or as early: both must be right.
  const Copy copy{shared, global, wanted};
  cooperating().copies_at_once() ? copy.land() : Emulation::self().open.push_back(copy);
}

void commit_copies() {
  cooperating();
  Fiber& fiber = Emulation::self();
  fiber.groups.push_back(std::move(fiber.open));
  fiber.open.clear();
}

void wait_copies(int groups_left) {
  cooperating();
  auto& groups = Emulation::self().groups;
  while (groups.size() > static_cast<std::size_t>(groups_left)) {
    for (const Copy& copy : groups.front()) copy.land();
    groups.erase(groups.begin());
  }
}

}  // namespace brood::cnn::cuda::emulator
