#include "engine/verdicts.h"

#include <algorithm>
#include <utility>

#include "engine/error.h"

namespace brood {

namespace {

class RungPeers final : public Peers {
 public:
  RungPeers(const PrefixRank& scores, std::int64_t first) : scores_(scores), first_(first) {}
  std::int64_t size() const override { return first_; }
  std::int64_t better_than(double score) const override {
    return scores_.better_than(score, first_);
  }

 private:
  const PrefixRank& scores_;
  std::int64_t first_;
};

}  // namespace

Verdicts::Verdicts(const Stopper* stopper, int lag) : stopper_(stopper), lag_(lag) {
  CHECK(lag >= 1, "a verdict sees earlier trials only");
}

void Verdicts::add() { ended_.push_back(false); }

double Verdicts::reach(TrialId k, int epoch, const std::vector<double>& values) {
  const double score = stopper_->score(values);
  restore(k, epoch, score);
  return score;
}

void Verdicts::restore(TrialId k, int epoch, double score) {
  Rung& rung = rungs_[epoch];
  CHECK(k >= rung.frontier, "a trial reached an epoch after its end");
  rung.beyond.emplace(k, score);
  advance(rung);
}

void Verdicts::end(TrialId k) {
  ended_[static_cast<std::size_t>(k)] = true;
  for (auto& [epoch, rung] : rungs_) {
    rung.waiting.erase(k);
    if (rung.frontier == k) advance(rung);
  }
}

void Verdicts::advance(Rung& rung) {
  const auto count = static_cast<TrialId>(ended_.size());
  for (; rung.frontier < count; ++rung.frontier) {
    const auto here = rung.beyond.find(rung.frontier);
    if (here != rung.beyond.end()) {
      rung.ids.push_back(here->first);
      rung.scores.append(here->second);
      rung.beyond.erase(here);
    } else if (!ended_[static_cast<std::size_t>(rung.frontier)]) {
      break;
    }
  }
  while (!rung.waiting.empty() && *rung.waiting.begin() - lag_ < rung.frontier) {
    ready_.insert(*rung.waiting.begin());
    rung.waiting.erase(rung.waiting.begin());
  }
}

std::optional<Verdicts::Given> Verdicts::ask(TrialId k, int epoch,
                                             const std::vector<double>& values) {
  if (!due(epoch)) return Given{};
  Rung& rung = rungs_[epoch];
  advance(rung);  // trials may have been added or have ended since this rung was last looked at
  const TrialId horizon = std::max<TrialId>(0, k - lag_ + 1);
  if (rung.frontier < horizon) {
    rung.waiting.insert(k);
    return std::nullopt;
  }
  const auto seen = std::lower_bound(rung.ids.begin(), rung.ids.end(), horizon) - rung.ids.begin();
  return Given{stopper_->judge(values, RungPeers(rung.scores, seen)), horizon};
}

std::vector<TrialId> Verdicts::take_ready() {
  std::vector<TrialId> out(ready_.begin(), ready_.end());
  ready_.clear();
  return out;
}

}  // namespace brood
