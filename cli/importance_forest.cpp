// Each tree is grown on a bootstrap sample (L. Breiman: "Random forests", 2001) by splits of bins
// that lower the squared error most. A leaf is a box of bins with one value, so the averages over
// all other parameters are sums over leaves.
#include "cli/importance_forest.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/rng.h"

namespace brood {

namespace {

constexpr int kTrees = 16;
constexpr std::size_t kLeafMin = 5;  // samples
constexpr int kDepthMax = 20;

struct Range {
  std::size_t begin = 0, end = 0;  // of bins
};

struct Leaf {
  std::vector<Range> box;  // by parameter
  double value = 0.0;
};

struct Node {
  std::size_t param = 0, below = 0;  // bins below it go to `left`
  int left = -1, right = -1;         // -1: a leaf
  double value = 0.0;
};

struct Split {
  double gain = 0.0;
  std::size_t param = 0, below = 0;
};

class Tree {
 public:
  Tree(const std::vector<BinnedParam>& params, const std::vector<double>& outcomes,
       std::vector<std::size_t> samples)
      : params_(params), outcomes_(outcomes), samples_(std::move(samples)) {
    std::vector<Range> whole;
    for (const BinnedParam& param : params_) whole.push_back({0, param.bins});
    grow(0, samples_.size(), whole, 0);
  }

  const std::vector<Leaf>& leaves() const { return leaves_; }

  double predict(std::size_t sample) const {
    int at = 0;
    while (nodes_[static_cast<std::size_t>(at)].left >= 0) {
      const Node& node = nodes_[static_cast<std::size_t>(at)];
      at = params_[node.param].bin[sample] < node.below ? node.left : node.right;
    }
    return nodes_[static_cast<std::size_t>(at)].value;
  }

 private:
  // Returns the number of the node made of samples_[begin .. end).
  int grow(std::size_t begin, std::size_t end, const std::vector<Range>& box, int depth) {
    const int number = static_cast<int>(nodes_.size());
    Node node;
    double sum = 0.0;
    for (std::size_t i = begin; i < end; ++i) sum += outcomes_[samples_[i]];
    node.value = sum / static_cast<double>(end - begin);
    nodes_.push_back(node);
    const Split best = depth < kDepthMax ? best_split(begin, end, box, sum) : Split{};
    if (best.gain <= 0.0) {
      leaves_.push_back({box, node.value});
      return number;
    }
    const auto& bin = params_[best.param].bin;
    const auto from = samples_.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto middle =
        std::stable_partition(from, samples_.begin() + static_cast<std::ptrdiff_t>(end),
                              [&](std::size_t sample) { return bin[sample] < best.below; });
    const auto cut = static_cast<std::size_t>(middle - samples_.begin());
    std::vector<Range> left = box, right = box;
    left[best.param].end = right[best.param].begin = best.below;
    node.param = best.param;
    node.below = best.below;
    node.left = grow(begin, cut, left, depth + 1);
    node.right = grow(cut, end, right, depth + 1);
    nodes_[static_cast<std::size_t>(number)] = node;
    return number;
  }

  Split best_split(std::size_t begin, std::size_t end, const std::vector<Range>& box, double sum) {
    Split best;
    const auto count = static_cast<double>(end - begin);
    if (end - begin < 2 * kLeafMin) return best;
    for (std::size_t param = 0; param < params_.size(); ++param) {
      const Range range = box[param];
      if (range.end - range.begin < 2) continue;
      if (held_.size() < range.end) held_.resize(range.end);
      for (std::size_t at = range.begin; at < range.end; ++at) held_[at] = Held{};
      const auto& bin = params_[param].bin;
      for (std::size_t i = begin; i < end; ++i) {
        Held& held = held_[bin[samples_[i]]];
        held.sum += outcomes_[samples_[i]];
        ++held.count;
      }
      double left = 0.0;
      std::size_t below = 0;
      for (std::size_t at = range.begin; at + 1 < range.end; ++at) {
        left += held_[at].sum;
        below += held_[at].count;
        if (held_[at].count == 0 || below < kLeafMin || end - begin - below < kLeafMin) continue;
        const auto n = static_cast<double>(below);
        const double gain =
            left * left / n + (sum - left) * (sum - left) / (count - n) - sum * sum / count;
        if (gain > best.gain + 1e-12) best = {gain, param, at + 1};
      }
    }
    return best;
  }

  const std::vector<BinnedParam>& params_;
  const std::vector<double>& outcomes_;
  std::vector<std::size_t> samples_;
  std::vector<Node> nodes_;
  std::vector<Leaf> leaves_;
  struct Held {
    double sum = 0.0;
    std::size_t count = 0;
  };
  std::vector<Held> held_;  // by bin, of best_split()
};

// By parameter and bin: the share of the samples below it; one more than there are bins.
using Weights = std::vector<std::vector<double>>;

Weights weights_of(const std::vector<BinnedParam>& params) {
  Weights out;
  for (const BinnedParam& param : params) {
    std::vector<double>& below = out.emplace_back(param.bins + 1, 0.0);
    for (const std::uint16_t bin : param.bin) below[bin + 1U] += 1.0;
    for (std::size_t i = 1; i < below.size(); ++i) below[i] += below[i - 1];
    for (double& share : below) share /= static_cast<double>(param.bin.size());
  }
  return out;
}

double weight(const std::vector<double>& below, Range range) {
  return below[range.end] - below[range.begin];
}

// The variance of the tree's values, and of its averages over all parameters but one: as shares.
std::vector<double> shares_of(const std::vector<Leaf>& leaves, const Weights& weights) {
  const std::size_t params = weights.size();
  std::vector<std::vector<double>> steps;  // of the averages, by parameter, from bin to bin
  for (const auto& below : weights) steps.emplace_back(below.size(), 0.0);
  double mean = 0.0, square = 0.0;
  std::vector<double> before(params + 1, 1.0), after(params + 1, 1.0);
  for (const Leaf& leaf : leaves) {
    for (std::size_t i = 0; i < params; ++i)
      before[i + 1] = before[i] * weight(weights[i], leaf.box[i]);
    for (std::size_t i = params; i-- > 0;)
      after[i] = after[i + 1] * weight(weights[i], leaf.box[i]);
    mean += before[params] * leaf.value;
    square += before[params] * leaf.value * leaf.value;
    for (std::size_t i = 0; i < params; ++i) {
      const double others = before[i] * after[i + 1] * leaf.value;
      steps[i][leaf.box[i].begin] += others;
      steps[i][leaf.box[i].end] -= others;
    }
  }
  const double variance = square - mean * mean;
  std::vector<double> shares(params, 0.0);
  if (variance <= 1e-12 * square) return shares;
  for (std::size_t i = 0; i < params; ++i) {
    double average = 0.0, alone = 0.0;
    for (std::size_t bin = 0; bin + 1 < steps[i].size(); ++bin) {
      average += steps[i][bin];
      alone += weight(weights[i], {bin, bin + 1}) * (average - mean) * (average - mean);
    }
    shares[i] = std::clamp(alone / variance, 0.0, 1.0);
  }
  return shares;
}

// Adds up what trees say of samples that they have not seen.
class Unseen {
 public:
  explicit Unseen(std::size_t samples) : sums_(samples, 0.0), counts_(samples, 0) {}

  // times: how often the tree saw each.
  void add(const Tree& tree, const std::vector<std::size_t>& times) {
    for (std::size_t i = 0; i < times.size(); ++i) {
      if (times[i] > 0) continue;
      sums_[i] += tree.predict(i);
      ++counts_[i];
    }
  }

  double explained(const std::vector<double>& outcomes) const {
    double mean = 0.0, error = 0.0, variance = 0.0;
    for (const double outcome : outcomes) mean += outcome / static_cast<double>(outcomes.size());
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      if (counts_[i] == 0) continue;
      const double off = sums_[i] / counts_[i] - outcomes[i];
      error += off * off;
      variance += (outcomes[i] - mean) * (outcomes[i] - mean);
    }
    return variance > 0.0 ? 1.0 - error / variance : 0.0;
  }

 private:
  std::vector<double> sums_;
  std::vector<int> counts_;
};

}  // namespace

Importance importance_of(const std::vector<BinnedParam>& params,
                         const std::vector<double>& outcomes, std::uint64_t seed) {
  const Weights weights = weights_of(params);
  std::vector<double> sum(params.size(), 0.0), squares(params.size(), 0.0);
  Unseen unseen(outcomes.size());
  for (std::uint32_t number = 0; number < kTrees; ++number) {
    Rng rng = Rng(seed, 1, Purpose::simulate).split(number);
    std::vector<std::size_t> times(outcomes.size(), 0), samples;
    for (std::size_t i = 0; i < times.size(); ++i) ++times[rng.below(times.size())];
    for (std::size_t i = 0; i < times.size(); ++i) samples.insert(samples.end(), times[i], i);
    const Tree tree(params, outcomes, std::move(samples));
    unseen.add(tree, times);
    const std::vector<double> shares = shares_of(tree.leaves(), weights);
    for (std::size_t i = 0; i < params.size(); ++i) {
      sum[i] += shares[i];
      squares[i] += shares[i] * shares[i];
    }
  }
  Importance out;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const double mean = sum[i] / kTrees;
    out.share.push_back(mean);
    out.spread.push_back(std::sqrt(std::max(0.0, squares[i] / kTrees - mean * mean)));
  }
  out.explained = unseen.explained(outcomes);
  return out;
}

}  // namespace brood
