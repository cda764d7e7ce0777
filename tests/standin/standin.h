// A strict stand-in for CUDA's runtime library, so that cuda_runtime.cpp runs without toolkit and
// GPU.
//
// Work runs in the emulator, as late as CUDA allows: when the host waits for it, and then only what
// it waits for. Refused as by CUDA: what may not be called while a stream captures, objects that
// are destroyed or another device's, memory that is not allocated, launches too large. Noted beside
// that: memory touched by two pieces of work without an order between them (vector clocks over
// streams, events and the host; C. J. Fidge: "Timestamps in message-passing systems that preserve
// the partial ordering", 1988), graphs destroyed under way, anything left at the end. Slots are
// known by what clears them.
#pragma once

#include <cstdint>
#include <string>

#include "trainers/cnn/cuda/emulator.h"

namespace brood::cnn::cuda {

struct StandinOptions {
  int devices = 1;
  std::int64_t bytes = std::int64_t{64} << 20;  // of each
  emulator::Order order = emulator::Order::forward;
  // Numbers of graph launches, counted from 1 as they run; 0: never.
  std::int64_t illegal_address = 0, hang = 0;
};

// A fresh process, as it were.
void reset_standin(const StandinOptions& options = {});

// What was noted, and what is left: objects, memory, work not done. Empty: nothing.
std::string standin_verdict();

}  // namespace brood::cnn::cuda
