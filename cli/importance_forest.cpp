// Each tree is grown on a bootstrap sample (L. Breiman: "Random forests", 2001) by splits of bins
// that lower the squared error most. A leaf is a box of bins with one value, so the averages over
// all other parameters are sums over leaves.
#include "cli/importance_forest.h"

#include <algorithm>
#include <bit>
#include <cmath>

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

// Sums by bin of every parameter. Most nodes are small, and have samples in few of many bins.
class Histogram {
 public:
  explicit Histogram(const std::vector<BinnedParam>& params) {
    for (const BinnedParam& param : params) {
      first_.push_back(sums_.size());
      sums_.resize((sums_.size() + param.bins + 63) / 64 * 64);
    }
    first_.push_back(sums_.size());
    filled_.resize(sums_.size() / 64);
  }

  // The place of a parameter's bin.
  std::uint32_t place(std::size_t param, std::size_t bin) const {
    return static_cast<std::uint32_t>(first_[param] + bin);
  }

  void add(std::uint32_t place, double outcome, std::uint32_t times) {
    sums_[place].outcomes += outcome;
    sums_[place].times += times;
    filled_[place / 64] |= std::uint64_t{1} << (place % 64);
  }

  // Calls use(bin, sum of outcomes, how many) for each that holds any, in order, and empties it.
  template <typename Use>
  void drain(std::size_t param, Use use) {
    for (std::size_t word = first_[param] / 64; word < first_[param + 1] / 64; ++word) {
      for (std::uint64_t left = filled_[word]; left != 0; left &= left - 1) {
        const std::size_t at = word * 64 + static_cast<std::size_t>(std::countr_zero(left));
        use(at - first_[param], sums_[at].outcomes, sums_[at].times);
        sums_[at] = Sum{};
      }
      filled_[word] = 0;
    }
  }

 private:
  struct Sum {
    double outcomes = 0.0;
    std::size_t times = 0;
  };
  std::vector<std::size_t> first_;  // by parameter, and the end
  std::vector<Sum> sums_;
  std::vector<std::uint64_t> filled_;  // a bit a place
};

class Tree {
 public:
  // times: how often the tree sees each sample. inverse: of 1, 2, ... up to the sum of these.
  Tree(const std::vector<BinnedParam>& params, const std::vector<double>& outcomes,
       const std::vector<std::uint32_t>& times, const std::vector<double>& inverse)
      : params_(params), inverse_(inverse), histogram_(params) {
    for (std::uint32_t i = 0; i < times.size(); ++i) {
      if (times[i] == 0) continue;
      seen_.push_back(
          {static_cast<std::uint32_t>(places_.size()), times[i], outcomes[i] * times[i]});
      for (std::size_t param = 0; param < params_.size(); ++param)
        places_.push_back(histogram_.place(param, params_[param].bin[i]));
    }
    put_off_.resize(seen_.size());
    std::vector<Range> whole;
    for (const BinnedParam& param : params_) whole.push_back({0, param.bins});
    grow(0, seen_.size(), whole, 0);
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
  struct Seen {
    std::uint32_t first = 0;  // of its places
    std::uint32_t times = 0;
    double outcome = 0.0;  // as often as it is seen
  };

  // Returns the number of the node made of seen_[begin .. end). The box is as it was afterwards.
  int grow(std::size_t begin, std::size_t end, std::vector<Range>& box, int depth) {
    const int number = static_cast<int>(nodes_.size());
    Node node;
    double sum = 0.0;
    std::size_t count = 0;
    for (std::size_t i = begin; i < end; ++i) {
      sum += seen_[i].outcome;
      count += seen_[i].times;
    }
    node.value = sum / static_cast<double>(count);
    nodes_.push_back(node);
    const bool may_split = depth < kDepthMax && count >= 2 * kLeafMin;
    const Split best = may_split ? best_split(begin, end, sum, count) : Split{};
    if (best.gain <= 0.0) {
      leaves_.push_back({box, node.value});
      return number;
    }
    const std::size_t cut = partition(begin, end, best);
    const Range range = box[best.param];
    node.param = best.param;
    node.below = best.below;
    box[best.param] = {range.begin, best.below};
    node.left = grow(begin, cut, box, depth + 1);
    box[best.param] = {best.below, range.end};
    node.right = grow(cut, end, box, depth + 1);
    box[best.param] = range;
    nodes_[static_cast<std::size_t>(number)] = node;
    return number;
  }

  // Those that go left before the others, each in the order they had. Returns where these begin.
  std::size_t partition(std::size_t begin, std::size_t end, const Split& split) {
    const std::uint32_t below = histogram_.place(split.param, split.below);
    std::size_t cut = begin, later = 0;
    for (std::size_t i = begin; i < end; ++i) {
      const Seen one = seen_[i];
      const bool left = places_[one.first + split.param] < below;
      seen_[cut] = one;
      put_off_[later] = one;
      cut += left ? 1 : 0;
      later += left ? 0 : 1;
    }
    std::copy_n(put_off_.begin(), later, seen_.begin() + static_cast<std::ptrdiff_t>(cut));
    return cut;
  }

  Split best_split(std::size_t begin, std::size_t end, double sum, std::size_t count) {
    const std::size_t params = params_.size();
    // All parameters of a sample in turn: sums of one bin wait for each other.
    for (std::size_t i = begin; i < end; ++i) {
      const Seen& one = seen_[i];
      for (std::size_t param = 0; param < params; ++param)
        histogram_.add(places_[one.first + param], one.outcome, one.times);
    }
    Split best;
    const double whole = sum * sum * inverse_[count];
    for (std::size_t param = 0; param < params; ++param) {
      double left = 0.0;
      std::size_t below = 0;
      histogram_.drain(param, [&](std::size_t bin, double outcomes, std::size_t times) {
        left += outcomes;
        below += times;
        if (below < kLeafMin || count - below < kLeafMin) return;
        const double right = sum - left;
        const double gain =
            left * left * inverse_[below] + right * right * inverse_[count - below] - whole;
        if (gain > best.gain + 1e-12) best = {gain, param, bin + 1};
      });
    }
    return best;
  }

  const std::vector<BinnedParam>& params_;
  const std::vector<double>& inverse_;  // of a count: division takes most of the time otherwise
  Histogram histogram_;
  std::vector<std::uint32_t> places_;  // by sample and parameter, in the histogram
  std::vector<Seen> seen_;
  std::vector<Seen> put_off_;  // of partition()
  std::vector<Node> nodes_;
  std::vector<Leaf> leaves_;
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
  void add(const Tree& tree, const std::vector<std::uint32_t>& times) {
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
  std::vector<double> inverse(outcomes.size() + 1, 0.0);
  for (std::size_t i = 1; i < inverse.size(); ++i) inverse[i] = 1.0 / static_cast<double>(i);
  for (std::uint32_t number = 0; number < kTrees; ++number) {
    Rng rng = Rng(seed, 1, Purpose::simulate).split(number);
    std::vector<std::uint32_t> times(outcomes.size(), 0);
    for (std::size_t i = 0; i < times.size(); ++i) ++times[rng.below(times.size())];
    const Tree tree(params, outcomes, times, inverse);
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
