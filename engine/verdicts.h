// When a verdict may be given, and what it may see.
//
// The verdict on trial k at epoch e sees the trials below k - L + 1 (L: the verdict lag), each at
// epoch e or ended earlier. Until all of them are there, trial k trains on; its later reports are
// kept aside. So a verdict is a function of the ids and values alone, never of who came first, and
// nobody ever waits for a lost executor. The idea of an order-independent window is Determined's
// and Dakota's replay taken further; the rule itself is brood's.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "engine/prefix_rank.h"
#include "engine/stopper.h"

namespace brood {

class Verdicts {
 public:
  struct Given {
    Verdict verdict = Verdict::proceed;
    TrialId horizon = 0;  // trials below it were seen
  };

  // Without a stopper every question is answered "proceed" at once. The stopper outlives this.
  Verdicts(const Stopper* stopper, int lag);

  bool due(int epoch) const { return stopper_ != nullptr && stopper_->judges(epoch); }

  // The next trial exists; ids come in order.
  void add();

  // Trial k's value at this epoch is official. values: oriented, all epochs up to this one.
  // Returns the score that peers will see.
  double reach(TrialId k, int epoch, const std::vector<double>& values);
  // The same from the record.
  void restore(TrialId k, int epoch, double score);

  // Trial k will reach no further epoch. (A duplicate ends when it is added.)
  void end(TrialId k);

  // nullopt: not yet; k will come out of take_ready() when it can be asked again.
  std::optional<Given> ask(TrialId k, int epoch, const std::vector<double>& values);

  // Trials whose verdict can now be given, in id order; each once.
  std::vector<TrialId> take_ready();

 private:
  struct Rung {
    TrialId frontier = 0;              // every trial below it reached this epoch or has ended
    std::vector<TrialId> ids;          // of those below the frontier that reached it, ascending
    PrefixRank scores;                 // by position in ids
    std::map<TrialId, double> beyond;  // scores of trials at or above the frontier
    std::set<TrialId> waiting;
  };
  void advance(Rung& rung);

  const Stopper* stopper_;
  int lag_;
  std::vector<bool> ended_;  // by trial
  std::map<int, Rung> rungs_;
  std::set<TrialId> ready_;
};

}  // namespace brood
