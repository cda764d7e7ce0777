// Runs CUDA kernels on the CPU: every thread of a block is a fiber, blocks run one after another.
//
// What it finds: a missing barrier (the order of threads changes the result), a barrier that not
// all threads reach, a shared byte that is read before it is written (memory starts poisoned), an
// asynchronous copy that is read before it was waited for (it happens at the wait), or whose place
// is still in use (in reverse order it happens at once); copies and matrices outside of a block's
// shared memory. What it cannot: races inside a warp, bank
// conflicts, anything about time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace brood::cnn::cuda::emulator {

enum class Order : std::uint8_t { forward, reverse, permuted };

struct Fiber;

// What a kernel can ask about itself.
struct Thread {
  int index = 0;
  Fiber* fiber = nullptr;
};

struct Block {
  int x = 0, y = 0, z = 0;
  int threads = 0;
  unsigned char* shared = nullptr;
};

extern thread_local Thread* thread;
extern thread_local Block* block;

struct Grid {
  int x = 1, y = 1, z = 1;
  int threads = 1;  // of a block
  int shared_bytes = 0;
  bool cooperates = true;  // threads of a block meet; false: they run one after another, cheaply
};

// Calls body for every thread. Throws std::logic_error for a barrier that not all threads reach or
// an address that the hardware would refuse.
void run(const Grid& grid, const std::function<void()>& body, Order order);

void sync_threads();

// --- of a warp; all 32 threads call ---
float shuffle_xor(float value, int mask);
// Each thread gives the address of a row of 16 bytes: rows of matrix i by threads 8 i to 8 i + 7.
void load_matrices(std::uint32_t (&out)[4], const void* row, bool transposed);
// c += a * b, m16n8k16, bf16 in pairs.
void multiply_matrices(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                       std::uint32_t b1);

// --- asynchronous copies of 16 bytes; zeros where not wanted ---
void copy_async(void* shared, const void* global, bool wanted);
void commit_copies();
void wait_copies(int groups_left);

}  // namespace brood::cnn::cuda::emulator
