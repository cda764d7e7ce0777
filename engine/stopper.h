// How long to keep trying a trial.
#pragma once

#include <cstdint>

#include "engine/trial.h"

namespace brood {

enum class Verdict : std::uint8_t { proceed, stop };

// The scores at one epoch of the trials that a verdict may see: those below k - L + 1 that reached
// this epoch. Smaller ids ended or reached the epoch before this can be asked.
class Peers {
 public:
  virtual ~Peers() = default;
  virtual std::int64_t size() const = 0;
  // Trials whose score is strictly better than this one. NaN is worse than everything.
  virtual std::int64_t better_than(double score) const = 0;
};

// Pure: no state, so a verdict is a function of the trial's own reports and of its peers' scores.
// All values are oriented: greater is better (the controller negates a minimised objective).
class Stopper {
 public:
  virtual ~Stopper() = default;

  // Is a verdict due after this epoch? Never asked for a trial's last epoch.
  virtual bool judges(int epoch) const = 0;

  // What peers see of a trial at this epoch. values[i]: the objective after epoch first + i, up to
  // this epoch, oriented.
  virtual double score(const std::vector<double>& values) const = 0;

  virtual Verdict judge(const std::vector<double>& values, const Peers& peers) const = 0;
};

}  // namespace brood
