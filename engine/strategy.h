// What to try next.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/rng.h"
#include "engine/trial.h"

namespace brood {

// The points of the trials proposed so far, by id and by content. The controller keeps it; a
// strategy reads it, to avoid what was tried and to see what is still pending.
class PointIndex {
 public:
  TrialId size() const { return static_cast<TrialId>(points_.size()); }
  const ParamSet& operator[](TrialId id) const { return points_[static_cast<std::size_t>(id)]; }
  void add(ParamSet params);                                  // as trial size()
  std::optional<TrialId> find(const ParamSet& params) const;  // the smallest id with this point

 private:
  std::vector<ParamSet> points_;
  std::unordered_multimap<std::uint64_t, TrialId> by_hash_;
};

struct Suggestion {
  Proposal proposal;
  std::vector<TrialId> lineage;  // the trials whose genes it carries
};

// One thread calls, never two. The whole state is a function of what was told, so a run is resumed
// by telling the record; nothing of a strategy is ever saved.
class Strategy {
 public:
  virtual ~Strategy() = default;

  // How many trials, 0 .. horizon(k) - 1, must have been told before proposal k. Nondecreasing in
  // k, at most k, a pure function of k and the config, never of the number of executors.
  virtual TrialId horizon(TrialId k) const = 0;

  // Each trial once, in id order, ended: failures, duplicates (with the original's objective),
  // infeasible ones and initial points included. A missing objective ranks last; ties rank by id.
  virtual void tell(const Trial& trial) = 0;

  // Proposal k, after exactly trials 0 .. horizon(k) - 1 were told; `earlier` holds the points of
  // all trials below k. Changes nothing: the same call gives the same answer. All randomness comes
  // from rng, a stream of trial k alone. nullopt: there is no proposal k, nor any after it.
  virtual std::optional<Suggestion> propose(TrialId k, Rng rng,
                                            const PointIndex& earlier) const = 0;

  // Number of proposals of a search that ends by itself; nullopt: goes on until a budget ends it.
  virtual std::optional<std::int64_t> total() const = 0;
};

}  // namespace brood
