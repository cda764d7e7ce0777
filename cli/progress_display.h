// How a run shows itself: a live block on a terminal, plain lines anywhere else.
#pragma once

#include <cstdio>
#include <memory>

#include "engine/experiment.h"
#include "engine/progress.h"

namespace brood {

enum class Display { automatic, live, lines, quiet };

// automatic: live when `out` is a terminal, else lines (one per ended trial, a summary every
// 30 s). The spec outlives the observer.
std::unique_ptr<Observer> make_display(const ExperimentSpec& spec, Display display, std::FILE* out);

}  // namespace brood
