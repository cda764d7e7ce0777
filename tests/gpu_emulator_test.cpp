// Goal: the emulator finds what it promises to find. Method: small kernels with the faults that a
// kernel may have.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <stdexcept>
#include <vector>

#include "trainers/cnn/cuda/device.h"

namespace brood::cnn::cuda {
namespace {

using emulator::Order;

constexpr std::array<Order, 3> kOrders = {Order::forward, Order::reverse, Order::permuted};

// Each thread reads what its neighbour wrote.
std::vector<int> neighbours(bool barrier, Order order) {
  constexpr int kCount = 64;
  std::vector<int> out(kCount);
  emulator::run(
      {.threads = kCount, .shared_bytes = 4 * kCount},
      [&] {
        int* shared = shared_memory<int>();
        shared[thread_index()] = thread_index();
        if (barrier) sync_threads();
        out[static_cast<std::size_t>(thread_index())] = shared[(thread_index() + 1) % kCount];
      },
      order);
  return out;
}

TEST(Emulator, ShowsAMissingBarrier) {
  for (const Order order : kOrders) EXPECT_EQ(neighbours(true, order)[63], 0);
  EXPECT_EQ(neighbours(true, Order::forward), neighbours(true, Order::permuted));
  EXPECT_NE(neighbours(false, Order::forward), neighbours(false, Order::reverse));
}

TEST(Emulator, ReportsABarrierThatNotAllThreadsReach) {
  const auto halves = [] {
    if (thread_index() < 16) {
      sync_threads();
    } else {
      emulator::shuffle_xor(1.0F, 16);  // half of a warp waits for the other half
    }
  };
  EXPECT_THROW(emulator::run({.threads = 32}, halves, Order::forward), std::logic_error);
  // And works on afterwards.
  EXPECT_EQ(neighbours(true, Order::reverse)[0], 1);
}

TEST(Emulator, CountsThreadsThatHaveReturnedAsArrived) {
  int reached = 0;
  emulator::run(
      {.threads = 40},
      [&] {
        if (thread_index() % 3 == 0) return;
        sync_threads();
        ++reached;
      },
      Order::permuted);
  EXPECT_EQ(reached, 26);
}

TEST(Emulator, ReportsABarrierInAKernelListedWithoutThem) {
  EXPECT_THROW(emulator::run(
                   {.threads = 4, .cooperates = false}, [] { sync_threads(); }, Order::forward),
               std::logic_error);
}

TEST(Emulator, CopiesAsynchronouslyAtTheWaitThatCoversThem) {
  alignas(16) const std::array<std::uint32_t, 8> global = {1, 2, 3, 4, 5, 6, 7, 8};
  std::array<std::uint32_t, 4> seen{};
  emulator::run(
      {.threads = 1, .shared_bytes = 48},
      [&] {
        auto* shared = shared_memory<std::uint32_t>();
        emulator::copy_async(shared, global.data(), true);
        emulator::commit_copies();
        emulator::copy_async(shared + 4, global.data() + 4, true);
        emulator::copy_async(shared + 8, global.data(), false);
        emulator::commit_copies();
        seen[0] = shared[0];
        emulator::wait_copies(1);
        seen[1] = shared[0];
        seen[2] = shared[4];
        emulator::wait_copies(0);
        seen[3] = shared[7] + shared[8];
      },
      Order::forward);
  EXPECT_EQ(seen[0], 0xCBCBCBCBU);
  EXPECT_EQ(seen[1], 1U);
  EXPECT_EQ(seen[2], 0xCBCBCBCBU);
  EXPECT_EQ(seen[3], 8U);
}

// Where others still read what a copy overwrites, the order tells.
TEST(Emulator, CopiesAtOnceInReverseOrder) {
  alignas(16) const std::array<std::uint32_t, 4> global = {1, 2, 3, 4};
  for (const Order order : kOrders) {
    std::uint32_t seen = 0;
    emulator::run(
        {.threads = 1, .shared_bytes = 16},
        [&] {
          emulator::copy_async(shared_memory<char>(), global.data(), true);
          seen = shared_memory<std::uint32_t>()[0];
        },
        order);
    EXPECT_EQ(seen, order == Order::reverse ? 1U : 0xCBCBCBCBU);
  }
}

TEST(Emulator, RefusesAddressesThatTheHardwareRefuses) {
  alignas(16) const std::array<unsigned char, 32> global{};
  const auto copies = [&](int to, int from) {
    emulator::run(
        {.threads = 1, .shared_bytes = 48},
        [&] { emulator::copy_async(shared_memory<char>() + to, global.data() + from, true); },
        Order::forward);
  };
  const auto loads = [](int at) {
    emulator::run(
        {.threads = 32, .shared_bytes = 48},
        [&] {
          std::uint32_t out[4];
          emulator::load_matrices(out, shared_memory<char>() + at, false);
        },
        Order::forward);
  };
  EXPECT_NO_THROW(copies(32, 16));
  EXPECT_NO_THROW(loads(32));
  for (const int at : {8, 48, -16}) {
    EXPECT_THROW(copies(at, 0), std::logic_error) << at;
    EXPECT_THROW(loads(at), std::logic_error) << at;
  }
  EXPECT_THROW(copies(0, 8), std::logic_error);
}

// A product of small matrices of whole numbers, by the fragments that kernels use: a by rows, b by
// columns, as in the shared memory of a kernel.
TEST(Emulator, MultipliesMatricesAsTensorCoresDo) {
  alignas(16) std::array<Bf16, 16 * 16> a{};  // [row][k]
  alignas(16) std::array<Bf16, 16 * 16> b{};  // [column][k]; [k][column] for the transposed load
  for (int i = 0; i < 256; ++i) {
    a[static_cast<std::size_t>(i)] = from_float<Bf16>(static_cast<float>(i % 7 - 3));
    b[static_cast<std::size_t>(i)] = from_float<Bf16>(static_cast<float>(i % 5 - 2));
  }
  const auto at = [](const std::array<Bf16, 256>& m, int i, int j) {
    return to_float(m[static_cast<std::size_t>(i * 16 + j)]);
  };
  for (const bool transposed : {false, true}) {
    std::array<float, 16 * 8> c{};
    emulator::run(
        {.threads = 32, .shared_bytes = sizeof a + sizeof b},
        [&] {
          const int lane = thread_index();
          std::uint32_t fa[4], fb[4];
          Bf16 *shared_a = shared_memory<Bf16>(), *shared_b = shared_a + a.size();
          std::copy(a.begin(), a.end(), shared_a);
          std::copy(b.begin(), b.end(), shared_b);
          emulator::load_matrices(fa, shared_a + lane % 16 * 16 + lane / 16 * 8, false);
          const int row = transposed ? lane % 16 : lane % 8 + lane / 16 * 8;
          const int column = transposed ? lane / 16 * 8 : lane / 8 % 2 * 8;
          emulator::load_matrices(fb, shared_b + row * 16 + column, transposed);
          float sum[4] = {};
          emulator::multiply_matrices(sum, fa, fb[0], fb[1]);
          for (int i = 0; i < 4; ++i)
            c[static_cast<std::size_t>((lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2)] = sum[i];
        },
        Order::permuted);
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 8; ++j) {
        float wanted = 0.0F;
        for (int k = 0; k < 16; ++k)
          wanted += at(a, i, k) * (transposed ? at(b, k, j) : at(b, j, k));
        EXPECT_EQ(c[static_cast<std::size_t>(i * 8 + j)], wanted) << i << " " << j;
      }
  }
}

TEST(Emulator, RunsEveryBlockOfAGrid) {
  std::set<std::array<int, 3>> seen;
  for (const Order order : kOrders) {
    seen.clear();
    emulator::run(
        {.x = 3, .y = 2, .z = 4},
        [&] {
          seen.insert({block_x(), block_y(), block_z()});
        },
        order);
    EXPECT_EQ(seen.size(), 24U);
  }
}

// So that fp32 has the bits of a GPU: everything else in it is IEEE's anyway.
TEST(Emulator, RoundsAProductAndASumOnce) {
  const float x = 1.0F + 0x1p-12F;
  EXPECT_EQ(multiply_add(x, x, -(1.0F + 0x1p-11F)), 0x1p-24F);
}

TEST(Emulator, RoundsToBf16LikeTheHardware) {
  EXPECT_EQ(from_float<Bf16>(1.0F).bits, 0x3f80);
  EXPECT_EQ(from_float<Bf16>(bits_as<float>(0x3f808000U)).bits, 0x3f80);  // a tie, to even
  EXPECT_EQ(from_float<Bf16>(bits_as<float>(0x3f818000U)).bits, 0x3f82);
  EXPECT_EQ(from_float<Bf16>(bits_as<float>(0x3f808001U)).bits, 0x3f81);
  EXPECT_TRUE(to_float(from_float<Bf16>(__builtin_nanf(""))) !=
              to_float(from_float<Bf16>(__builtin_nanf(""))));
}

}  // namespace
}  // namespace brood::cnn::cuda
