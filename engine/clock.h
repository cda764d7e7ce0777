// Time as the controller sees it, so that the simulation can replace it.
#pragma once

#include <cstdint>

#include "engine/experiment.h"

namespace brood {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Millis now() const = 0;            // monotonic, since any moment
  virtual std::int64_t wall_us() const = 0;  // microseconds since 1970
};

// The machine's own clocks.
class SystemClock final : public Clock {
 public:
  Millis now() const override;
  std::int64_t wall_us() const override;
};

}  // namespace brood
